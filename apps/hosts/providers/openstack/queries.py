"""Reading lists and documents of OpenStack's APIs as JSON: all pages of them, and None for what we may not see."""

from collections.abc import Mapping
from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.exceptions import EndpointNotFound
from openstack.exceptions import raise_from_response

FORBIDDEN, MISSING = 403, 404


def every(service: Adapter, path: str, *, key: str, microversion: str | None = None, **query: Any) -> list[dict[str, Any]]:
    """Every item of a list, page after page; raises what openstacksdk raises for an answer that is an error."""
    found = allowed(service, path, key=key, microversion=microversion, may_be_refused=False, **query)
    return found or []


def allowed(
    service: Adapter, path: str, *, key: str, microversion: str | None = None, may_be_refused: bool = True, **query: Any
) -> list[dict[str, Any]] | None:
    """As `every`, but None where we are not allowed to look."""
    items: list[dict[str, Any]] = []
    while True:
        page = answer(service, path, microversion=microversion, may_be_refused=may_be_refused, **query)
        if page is None:
            return None
        items += page[key]
        marker = str(page[key][-1]["id"]) if page[key] else ""
        if not marker or not _has_more(page, key):
            return items
        query = {**query, "marker": marker}


def _has_more(page: Mapping[str, Any], key: str) -> bool:
    """Nova and Neutron say so in `<key>_links`, Glance in `next`."""
    return bool(page.get("next")) or any(link.get("rel") == "next" for link in page.get(f"{key}_links") or [])


def answer(
    service: Adapter, path: str, *, microversion: str | None = None, may_be_refused: bool = True, **query: Any
) -> dict[str, Any] | None:
    """The JSON of one GET; None where it is forbidden or not there, unless that is an error too."""
    try:
        response = service.get(path, params=query, microversion=microversion, raise_exc=False)
    except EndpointNotFound:
        if may_be_refused:
            return None
        raise
    if may_be_refused and response.status_code in {FORBIDDEN, MISSING}:
        return None
    raise_from_response(response)
    answer: dict[str, Any] = response.json()
    return answer
