"""What our things are called in Incus, the tags they carry, and the words in which Incus and LXD differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.hosts.contracts import Owner

INSTALLATION, TENANT, BAY = "user.carina.installation", "user.carina.tenant", "user.carina.bay"
ADDRESS = "user.carina.address"
NAMESERVERS = "user.carina.nameservers"
MEMBER = "user.carina.member"
PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """LXD and Incus share their API but for a few names."""

    header_prefix: str
    guest_api: str

    def file_headers(self, *, kind: str, mode: str) -> dict[str, str]:
        """The headers that give a pushed file its type, mode and owner (root)."""
        return {f"{self.header_prefix}-{name}": value for name, value in (("type", kind), ("mode", mode), ("uid", "0"), ("gid", "0"))}


INCUS = Dialect(header_prefix="X-Incus", guest_api="security.guestapi")
LXD = Dialect(header_prefix="X-LXD", guest_api="security.devlxd")


def dialect_of(server: Mapping[str, Any]) -> Dialect:
    """Choose by what `GET /1.0` says of the server."""
    return LXD if server["environment"].get("server") == "lxd" else INCUS


def project_name(owner: Owner) -> str:
    """The tenant's project: its hosts, its limits."""
    return f"carina-{owner.installation}-{owner.tenant[:12]}"


def bridge_name(owner: Owner) -> str:
    """The bay's bridge and network ACL. Linux allows 15 characters for an interface; twelve hex digits of a random id are enough."""
    return f"cb{owner.bay[:12]}"


def tenant_tags(owner: Owner) -> dict[str, str]:
    """What a project carries."""
    return {INSTALLATION: owner.installation, TENANT: owner.tenant}


def bay_tags(owner: Owner) -> dict[str, str]:
    """What networks, ACLs and instances carry."""
    return {**tenant_tags(owner), BAY: owner.bay}


def carries(config: Mapping[str, str], tags: Mapping[str, str]) -> bool:
    """Whether an object was made by us for just this owner."""
    return all(config.get(key) == value for key, value in tags.items())
