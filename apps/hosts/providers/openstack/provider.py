"""The provider `openstack`: the port's methods, each a few calls into this package."""

import threading
from collections.abc import Sequence

from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException
from requests import RequestException

from apps.hosts.contracts import (
    CloudBusy,
    CloudCrowded,
    CloudFacts,
    HostAddress,
    HostPlace,
    HostSpec,
    HostState,
    NetworkSpec,
    Owner,
    Publishing,
)
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.openstack import discovery
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.errors import error_from_library
from apps.hosts.providers.openstack.firewall import SecurityGroups
from apps.hosts.providers.openstack.hosts import Hosts
from apps.hosts.providers.openstack.images import Images
from apps.hosts.providers.openstack.inspection import Inspection
from apps.hosts.providers.openstack.network import Networks, Wire
from apps.hosts.providers.openstack.options import Options
from apps.hosts.providers.openstack.places import Places
from apps.hosts.providers.openstack.servers import Servers, ref_of
from apps.hosts.providers.openstack.session import DISCOVERY, connect
from apps.hosts.providers.openstack.spreading import ServerGroups
from apps.hosts.providers.openstack.volumes import Volumes


class OpenStackProvider:
    """Hosts from Nova, in one Keystone project and one region.

    Settings: `config` and `cacert_pem` (see `session.connect`), `network` or `external_network` and the rest of `options.Options`,
    what `discovery` reads, `timeout` in seconds. Secrets: what the `auth` of a clouds.yaml entry holds.
    """

    publishing = Publishing.ADDRESSES
    reaches_hosts_directly: bool
    own_networks: bool

    def __init__(self, access: CloudAccess) -> None:
        self._access = access
        self._options = options = Options.of(access.settings)
        self._connection = connect(access)
        self._discovering: Connection | None = None
        self._lock = threading.Lock()
        api = Api(connection=self._connection)
        self._servers = Servers(api=api, installation=access.installation, build_seconds=options.build_seconds)
        self._networks = Networks(api=api, options=options)
        self._firewall = SecurityGroups(api=api, options=options)
        self._places = Places(api=api, networks=self._networks, options=options)
        self._groups = ServerGroups(api=api, options=options)
        self._volumes = Volumes(api=api, options=options)
        self._hosts = Hosts(
            api=api,
            servers=self._servers,
            places=self._places,
            groups=self._groups,
            volumes=self._volumes,
            images=Images(api=api),
            options=options,
        )
        self._inspection = Inspection(
            api=api,
            servers=self._servers,
            places=self._places,
            networks=self._networks,
            firewall=self._firewall,
            groups=self._groups,
            volumes=self._volumes,
        )
        self.own_networks = options.own_networks
        self.reaches_hosts_directly = options.reaches_hosts

    def discover(self) -> CloudFacts:
        """Ask the cloud what it is, offers and has left; see `discovery`."""
        try:
            return discovery.discover(portal=self._connection, operator=self._operator(), settings=self._access.settings)
        except (ClientException, SDKException, RequestException) as error:
            raise error_from_library(what="discovery", error=error) from error

    def admit(self) -> None:
        """Compare what Nova builds for this installation with the option `builds_at_once`."""
        building = self._servers.building()
        if building >= self._options.builds_at_once:
            raise CloudCrowded(f"The cloud is starting {building} other hosts.")

    def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the bay's security group, and its own network where bays have one."""
        if self.own_networks or self._networks.shared().port_security:
            self._firewall.ensure(spec.owner)
        if self.own_networks:
            self._networks.ensure(spec)

    def reserve(self, spec: NetworkSpec, places: Sequence[HostPlace]) -> list[HostAddress]:
        """Make the ports of the places, their floating IPs, and the server group of those that spread."""
        wire = self._wire(spec.owner)
        # On a network without port security Neutron refuses ports with groups, and filters nothing.
        group = self._firewall.ensure(spec.owner) if wire.port_security else ""
        if any(place.spread for place in places):
            self._groups.ensure(spec.owner)
        return self._places.reserve(owner=spec.owner, places=places, wire=wire, group=group)

    def ensure_host(self, spec: HostSpec) -> HostState:
        """Make the host exist and started; see `hosts.Hosts.ensure`."""
        return self._hosts.ensure(spec)

    def list_hosts(self, owner: Owner) -> list[HostState]:
        """Every host of the bay, from the list all bays share."""
        return self._hosts.states(owner)

    def remove_host(self, owner: Owner, ref: str, *, keep_place: bool = False) -> bool:
        """Delete the host, its volume and its place; see `hosts.Hosts.remove`."""
        return self._hosts.remove(owner=owner, ref=ref, keep_place=keep_place)

    def remove_network(self, owner: Owner) -> None:
        """Delete everything the bay has, from the outside in and the security group last."""
        if hosts := self._servers.of(owner, age=0):
            raise CloudBusy(f"The bay still has hosts in the cloud: {', '.join(ref_of(server) for server in hosts)}.")
        self._volumes.remove(owner)
        self._places.give_up_all(owner)
        if self.own_networks:
            self._networks.remove(owner)
        self._groups.remove(owner)
        self._firewall.remove(owner)

    def leftovers(self, owner: Owner) -> list[str]:
        """What still carries the bay's mark, in words."""
        return self._inspection.leftovers(owner)

    def owners(self) -> list[Owner]:
        """Whose things are in the project, as far as they are of this installation."""
        return self._inspection.owners(self._access.installation)

    def diagnose(self, owner: Owner, ref: str) -> str:
        """The end of the host's console."""
        return self._inspection.diagnose(owner, ref)

    def close(self) -> None:
        """Give back connections."""
        self._connection.close()
        if self._discovering is not None:
            self._discovering.close()

    def _operator(self) -> Connection:
        """The connection that may see what only operators may, or the portal's own."""
        if not self._access.settings.get(f"{DISCOVERY}config"):
            return self._connection
        with self._lock:
            if self._discovering is None:
                self._discovering = connect(self._access, prefix=DISCOVERY)
        return self._discovering

    def _wire(self, owner: Owner) -> Wire:
        return self._networks.own(owner) if self.own_networks else self._networks.shared()
