"""The network address a request comes from, known to whatever is written into the audit log while it is served."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from apps.common.origin import address_in

_address: ContextVar[str | None] = ContextVar("carina_audit_address", default=None)


def address() -> str | None:
    """Return the address of the request being served; None in tasks, in commands and where a socket has none."""
    return _address.get()


def begin(*, environ: Mapping[str, Any] | None = None, **_: Any) -> None:
    """Note where a request comes from; receives Django's `request_started`."""
    _address.set(address_in(environ or {}))


def end(**_: Any) -> None:
    """Forget it; receives Django's `request_finished`."""
    _address.set(None)
