"""Reading OpenStack's APIs as JSON: all pages of a list, None for what we may not see, and which versions there are."""

from collections.abc import Mapping
from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.exceptions import EndpointNotFound
from openstack.connection import Connection
from openstack.exceptions import raise_from_response

from apps.hosts.contracts import CloudUnreachable

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


def highest_microversion(connection: Connection) -> tuple[int, int]:
    """The newest microversion that Nova offers; raises CloudUnreachable where it does not say."""
    data = connection.compute.get_endpoint_data()
    # keystoneauth hides that Nova did not answer the question for its versions: it then knows none.
    if data is None or data.max_microversion is None:
        raise CloudUnreachable("OpenStack's Nova did not say which microversions of its API it has.")
    return int(data.max_microversion[0] or 0), int(data.max_microversion[1] or 0)
