"""What of ours is in the cloud, kind by kind, seen afresh: for the proof that nothing is left, and for the sweep of what nobody owns."""

from collections.abc import Callable
from typing import Any, NamedTuple

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


class Kind(NamedTuple):
    """How one kind of thing is looked at afresh.

    `of` asks only for those of one bay, so that a hundred bays that are deleted at once do not each have the whole project listed;
    servers and server groups, which Nova cannot look for that way, are taken from a list that all who ask at that moment share.
    """

    everywhere: Callable[[], list[Json]]
    of: Callable[[Owner], list[Json]]
    owner_of: Callable[[Json], Owner | None]


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
        self._kinds = {
            "server": Kind(lambda: servers.view.look(age=0), lambda owner: servers.of(owner, age=0), _in_metadata),
            "volume": Kind(volumes.everywhere, volumes.of, _in_metadata),
            "floating IP": Kind(places.floating_everywhere, places.floating_of, _described),
            "port": Kind(places.ports_everywhere, places.ports_of, _described),
            "router": Kind(lambda: networks.everywhere("routers"), lambda owner: networks.of(owner, "routers"), _described),
            "subnet": Kind(lambda: networks.everywhere("subnets"), lambda owner: networks.of(owner, "subnets"), _described),
            "network": Kind(networks.everywhere, networks.of, _described),
            "security group": Kind(firewall.everywhere, firewall.of, _described),
            "server group": Kind(groups.everywhere, groups.of, lambda thing: owner_in(thing["name"])),
        }

    def leftovers(self, owner: Owner) -> list[str]:
        """What carries the bay's mark, in words."""
        return [f"{name} {_name(thing)}" for name, kind in self._kinds.items() for thing in kind.of(owner)]

    def owners(self, installation: str) -> list[Owner]:
        """Everybody of the installation with at least one thing."""
        found = {kind.owner_of(thing) for kind in self._kinds.values() for thing in kind.everywhere()}
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


def _in_metadata(thing: Json) -> Owner | None:
    return metadata_owner(thing["metadata"])


def _described(thing: Json) -> Owner | None:
    return owner_in(thing.get("description"))


def _name(thing: Json) -> str:
    return str(thing.get("floating_ip_address") or thing.get("metadata", {}).get(REF) or thing.get("name") or thing["id"])
