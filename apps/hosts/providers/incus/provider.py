"""The provider `incus`: the port's methods, each a few calls into this package."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, ip_interface
from pathlib import Path
from typing import Any

from apps.hosts.contracts import (
    CloudCredentialsRejected,
    CloudFacts,
    CloudRefused,
    HostAddress,
    HostKind,
    HostPlace,
    HostSpec,
    HostState,
    NetworkSpec,
    Owner,
    Publishing,
)
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.incus import capacity, firewall, inspection, network
from apps.hosts.providers.incus.client import IncusClient
from apps.hosts.providers.incus.egress import Surroundings, gateway_of, local_nameservers, local_routes, own_addresses, server_addresses
from apps.hosts.providers.incus.errors import NotThere
from apps.hosts.providers.incus.instances import Hosts
from apps.hosts.providers.incus.naming import dialect_of

NO_QEMU = "Incus on this server runs system containers only; it has no QEMU for virtual machines."
CONTAINERS_ONLY = "Hosts from Incus are system containers here; virtual machines come from an OpenStack cloud."
NO_BAREMETAL = "Incus divides a machine into hosts and cannot hand out whole machines; those come from an OpenStack cloud with Ironic."


class IncusProvider:
    """Hosts from one Incus server or cluster.

    Settings: `socket` (path) or `url` (https); `pool`; optionally `cpu_ratio`, `memory_ratio`, `disk_ratio`, `reserved_memory_mib`,
    `nameservers` (what hosts ask for names, else the machine's own resolvers or Incus itself), `limitations` (codes, for a remote server)
    and `reaches_hosts` ("true" where the portal has a route to a remote server's bridges).
    Secrets for a url: `client_certificate`, `client_key` (PEM); `server_certificate` (PEM, pinned) is a setting.
    """

    reaches_hosts_directly: bool
    own_networks = True
    publishing = Publishing.PORTS

    def __init__(self, access: CloudAccess) -> None:
        self._settings = access.settings
        self._installation = access.installation
        self._local = bool(access.settings.get("socket"))
        self._client = _connect(access)
        self._pool = access.settings.get("pool", "default")
        self._hosts = Hosts(client=self._client, pool=self._pool)
        self._server: Mapping[str, Any] | None = None
        self.reaches_hosts_directly = self._local or access.settings.get("reaches_hosts") == "true"

    def discover(self) -> CloudFacts:
        """Ask the server for its version, capacity, images and networks; raises CloudCredentialsRejected if it does not trust us."""
        server = self._client.get("")
        if server.get("auth") != "trusted":
            raise CloudCredentialsRejected(
                "The Incus server does not trust this portal's client certificate: run `incus config trust` there."
            )
        environment = server["environment"]
        name = "LXD" if environment.get("server") == "lxd" else "Incus"
        return CloudFacts(
            version=f"{name} {environment['server_version']}",
            aggregates=capacity.aggregates(client=self._client, server=server, pool=self._pool, ratios=capacity.Ratios.of(self._settings)),
            images=capacity.images(client=self._client),
            unavailable={
                HostKind.VM: CONTAINERS_ONLY if "qemu" in environment.get("driver", "") else NO_QEMU,
                HostKind.BAREMETAL: NO_BAREMETAL,
            },
            limitations=self._limitations(),
            used_cidrs=self._used_cidrs(),
        )

    def admit(self) -> None:
        """Return at once: Incus carries out as many requests as it is sent, each while its worker waits."""

    def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the tenant's project, the bay's ACL and bridge, and its passage through the machine's firewall."""
        surroundings = self._surroundings()
        network.ensure_project(client=self._client, owner=spec.owner, limits=spec.limits)
        network.ensure_acl(client=self._client, spec=spec, surroundings=surroundings)
        own_resolver = not surroundings.nameservers
        network.ensure_bridge(client=self._client, spec=spec, own_resolver=own_resolver, members=self._members())
        if self._local:
            firewall.ensure_guard(owner=spec.owner, gateway=gateway_of(spec.cidr), own_resolver=own_resolver)
            firewall.ensure_passage(owner=spec.owner)

    def reserve(self, spec: NetworkSpec, places: Sequence[HostPlace]) -> list[HostAddress]:
        """Return the addresses that were wanted: the network is the bay's alone, and Incus gives what it is told to."""
        del spec
        return [HostAddress(ref=place.ref, address=place.address) for place in places]

    def ensure_host(self, spec: HostSpec) -> HostState:
        """Make the host run with its files in place; see `instances.Hosts.ensure`."""
        server = self._about()
        target = ""
        if server["environment"].get("server_clustered"):
            target = network.pinned_member(client=self._client, owner=spec.owner, group=spec.aggregate)
        return self._hosts.ensure(spec=spec, dialect=dialect_of(server), nameservers=self._nameservers(), target=target)

    def list_hosts(self, owner: Owner) -> list[HostState]:
        """Every host of the bay, in one request."""
        return self._hosts.of(owner)

    def remove_host(self, owner: Owner, ref: str, *, keep_place: bool = False) -> bool:
        """Stop and delete the host; one that is not there, or is not the bay's, is success. Its place is a number, and stays free."""
        del keep_place
        self._hosts.remove(owner=owner, ref=ref)
        return True

    def remove_network(self, owner: Owner) -> None:
        """Delete what `ensure_network` made, the project with the tenant's last bay."""
        network.remove_network_and_acl(client=self._client, owner=owner)
        network.leave_project(client=self._client, owner=owner)
        if self._local:
            firewall.remove_rules(owner=owner)

    def leftovers(self, owner: Owner) -> list[str]:
        """What still carries the bay's tags, in words."""
        return inspection.leftovers(client=self._client, pool=self._pool, owner=owner, local=self._local)

    def owners(self) -> list[Owner]:
        """Everybody of this installation who has something here."""
        return inspection.owners(client=self._client, installation=self._installation)

    def diagnose(self, owner: Owner, ref: str) -> str:
        """The end of the engine's journal on the host, or of its console."""
        return inspection.diagnose(client=self._client, owner=owner, ref=ref)

    def close(self) -> None:
        """Give back connections."""
        self._client.close()

    def _about(self) -> Mapping[str, Any]:
        # What kind of server this is does not change while it is talked to.
        if self._server is None:
            self._server = self._client.get("")
        return self._server

    def _members(self) -> list[str]:
        if not self._about()["environment"].get("server_clustered"):
            return []
        return [member["server_name"] for member in self._client.get("cluster/members", recursion="1")]

    def _nameservers(self) -> tuple[IPv4Address, ...]:
        given = self._settings.get("nameservers", "")
        if given:
            try:
                return tuple(IPv4Address(server.strip()) for server in given.split(",") if server.strip())
            except ValueError as error:
                raise CloudRefused(f"The cloud's setting nameservers must be IPv4 addresses, separated by commas: {error}.") from None
        return local_nameservers() if self._local else ()

    def _surroundings(self) -> Surroundings:
        addresses = own_addresses() if self._local else server_addresses(states=self._network_states())
        return Surroundings(addresses=addresses, nameservers=self._nameservers())

    def _network_states(self) -> list[dict[str, Any]]:
        states = []
        for item in self._client.get("networks", recursion="1"):
            try:
                states.append(self._client.get(f"networks/{item['name']}/state"))
            except NotThere:  # another bay's, deleted since
                continue
        return states

    def _limitations(self) -> tuple[str, ...]:
        codes = [code.strip() for code in self._settings.get("limitations", "").split(",") if code.strip()]
        if self._local and not Path("/proc/net/ip_vs").exists():
            codes.append("no_ip_vs")
        pool = self._client.find(f"storage-pools/{self._pool}")
        if pool is not None and pool.body["driver"] == "dir":
            codes.append("no_disk_quota")
        return tuple(dict.fromkeys(codes))

    def _used_cidrs(self) -> tuple[str, ...]:
        networks = self._client.get("networks", recursion="1")
        gateways = [(item.get("config") or {}).get("ipv4.address", "") for item in networks]
        cidrs = {str(ip_interface(gateway).network) for gateway in gateways if "/" in gateway}
        return tuple(sorted(cidrs | set(local_routes() if self._local else [])))


def _connect(access: CloudAccess) -> IncusClient:
    settings, secrets = access.settings, access.secrets
    if settings.get("socket"):
        return IncusClient.local(path=settings["socket"])
    if settings.get("url"):
        return IncusClient.remote(
            url=settings["url"],
            certificate=secrets.get("client_certificate", ""),
            key=secrets.get("client_key", ""),
            server_certificate=settings.get("server_certificate", ""),
        )
    raise CloudRefused("An Incus cloud needs the setting `socket` (a path on this machine) or `url` (https://…).")
