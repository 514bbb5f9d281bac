"""What our things are called in OpenStack, and the mark that makes them ours.

Nova takes metadata and tags with the request that makes a server. Neutron takes tags only afterwards, but a name and a description
at once, so the description holds the whole mark; Nova's server groups have nothing but a name. A thing is a bay's only if its mark
is complete and equal: names alone prove nothing, since OpenStack lets any number of things have the same one.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from apps.hosts.contracts import Owner

INSTALLATION, TENANT, BAY, REF, ADDRESS = "carina_installation", "carina_tenant", "carina_bay", "carina_ref", "carina_address"
CONTESTED = "carina_contested"
"""On a server that shared its port with a surplus one, until it is known whose the port is."""
MARK = re.compile(r"carina:(?P<installation>[^:]+):(?P<tenant>[^:]+):(?P<bay>[^:]+)")


def mark(owner: Owner) -> str:
    """The whole mark in one word: description of Neutron's things, name of server groups."""
    return f"carina:{owner.installation}:{owner.tenant}:{owner.bay}"


def owner_in(text: str | None) -> Owner | None:
    """Whose the thing of that description or name is; None if the text is not a mark."""
    found = MARK.fullmatch(text or "")
    return Owner(**found.groupdict()) if found else None


def things_of(owner: Owner, things: Iterable[dict[str, Any]], *, marked: str = "description") -> list[dict[str, Any]]:
    """Return those of `things` whose field `marked` is the owner's mark, the oldest first."""
    mine = (thing for thing in things if owner_in(thing.get(marked)) == owner)
    return sorted(mine, key=lambda thing: (thing.get("created_at") or "", str(thing["id"])))


def bay_name(owner: Owner) -> str:
    """The name of the bay's security group, network, subnet and router: for people only."""
    return f"carina-{owner.bay[:12]}"


def installation_tag(installation: str) -> str:
    """What all servers of one portal carry, so that one request lists them."""
    return f"carina-{installation}"


def tags(owner: Owner) -> list[str]:
    """What everything that can have tags carries."""
    return [installation_tag(owner.installation), f"carina-bay-{owner.bay}"]


def bay_metadata(owner: Owner) -> dict[str, str]:
    """What servers and volumes carry as metadata."""
    return {INSTALLATION: owner.installation, TENANT: owner.tenant, BAY: owner.bay}


def metadata_owner(metadata: Mapping[str, Any] | None) -> Owner | None:
    """Whose a server or volume with that metadata is; None if the mark is not complete."""
    values = [(metadata or {}).get(key) for key in (INSTALLATION, TENANT, BAY)]
    if not all(isinstance(value, str) and value for value in values):
        return None
    return Owner(installation=str(values[0]), tenant=str(values[1]), bay=str(values[2]))
