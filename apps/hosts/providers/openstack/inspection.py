"""What of ours is in the cloud, kind by kind, seen afresh: for the proof that nothing is left, and for the sweep of what nobody owns."""

from collections.abc import Callable
from typing import Any

from apps.hosts.contracts import Owner, ProviderError
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.firewall import SecurityGroups
from apps.hosts.providers.openstack.naming import REF, metadata_owner, owner_in
from apps.hosts.providers.openstack.network import Networks
from apps.hosts.providers.openstack.places import Places
from apps.hosts.providers.openstack.servers import Servers
from apps.hosts.providers.openstack.spreading import ServerGroups
from apps.hosts.providers.openstack.volumes import Volumes

LOG_LINES = 60
Json = dict[str, Any]


class Inspection:
    """Looks that change nothing."""

    def __init__(
        self,
        *,
        api: Api,
        servers: Servers,
        places: Places,
        networks: Networks,
        firewall: SecurityGroups,
        groups: ServerGroups,
        volumes: Volumes,
    ) -> None:
        self._api = api
        self._servers = servers
        self._kinds: dict[str, tuple[Callable[[], list[Json]], Callable[[Json], Owner | None]]] = {
            "server": (lambda: servers.view.look(age=0), lambda thing: metadata_owner(thing["metadata"])),
            "volume": (volumes.everywhere, lambda thing: metadata_owner(thing["metadata"])),
            "floating IP": (places.floating_everywhere, _described),
            "port": (places.ports_everywhere, _described),
            "router": (lambda: networks.everywhere("routers"), _described),
            "subnet": (lambda: networks.everywhere("subnets"), _described),
            "network": (networks.everywhere, _described),
            "security group": (firewall.everywhere, _described),
            "server group": (groups.everywhere, lambda thing: owner_in(thing["name"])),
        }

    def leftovers(self, owner: Owner) -> list[str]:
        """What carries the bay's mark, in words."""
        return [
            f"{kind} {_name(thing)}"
            for kind, (everywhere, owner_of) in self._kinds.items()
            for thing in everywhere()
            if owner_of(thing) == owner
        ]

    def owners(self, installation: str) -> list[Owner]:
        """Everybody of the installation with at least one thing."""
        found = {owner_of(thing) for everywhere, owner_of in self._kinds.values() for thing in everywhere()}
        ours = [owner for owner in found if owner is not None and owner.installation == installation]
        return sorted(ours, key=lambda owner: (owner.tenant, owner.bay))

    def diagnose(self, owner: Owner, ref: str) -> str:
        """The end of the host's console, and what Nova notes about a failure; empty if the cloud cannot tell."""
        try:
            servers = self._servers.named(owner, ref)
        except ProviderError:
            return ""
        return "\n".join(part for server in servers for part in (self._servers.state(server).detail, self._console(server)) if part)

    def _console(self, server: Json) -> str:
        try:
            answer = self._api.post("compute", f"/servers/{server['id']}/action", {"os-getConsoleOutput": {"length": LOG_LINES}})
        except ProviderError:
            return ""  # a server without a console, or not yet
        return str(answer.get("output") or "")


def _described(thing: Json) -> Owner | None:
    return owner_in(thing.get("description"))


def _name(thing: Json) -> str:
    return str(thing.get("floating_ip_address") or thing.get("metadata", {}).get(REF) or thing.get("name") or thing["id"])
