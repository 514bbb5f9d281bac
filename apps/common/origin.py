"""The network address a request comes from: one rule for limits, tokens and the audit log."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from django.conf import settings


def address_in(meta: Mapping[str, Any]) -> str | None:
    """Return the client's address from a request's META; None for a socket without one.

    Behind a proxy of the operator's (CARINA_BEHIND_PROXY) it is the last one of X-Forwarded-For: the proxy wrote that one, the client
    may have written those before it.
    """
    given = str(meta.get("REMOTE_ADDR") or "")
    if settings.BEHIND_PROXY and (forwarded := meta.get("HTTP_X_FORWARDED_FOR")):
        given = str(forwarded).rpartition(",")[2].strip()
    try:
        return str(ip_address(given.partition("%")[0]))
    except ValueError:
        return None
