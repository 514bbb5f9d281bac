"""A bay in the words of clouds and engines: the only place where our rows become the frozen dataclasses of the two ports."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from apps.bays.models import Bay, Host
from apps.coes.base import Coe, load_coe
from apps.coes.contracts import ClientIdentity, Node, Role, ServerIdentity
from apps.credentials.models import CertificateAuthority
from apps.credentials.services import issue_server_certificate, portal_identity
from apps.hosts.clouds import provider_of
from apps.hosts.contracts import HostKind, HostPlace, HostSpec, NetworkSpec, Owner, Publication, Publishing, TenantLimits
from apps.hosts.matching import cloud_flavor_of
from apps.hosts.providers.base import Provider
from apps.tenants.models import Tenant

CEILING_VCPUS_PER_HOST, CEILING_MIB_PER_HOST, CEILING_PROCESSES_PER_HOST = 64, 256 * 1024, 32768


@dataclass(frozen=True, kw_only=True)
class World:
    """The two ports of one bay, and who we are to the cloud."""

    bay: Bay
    provider: Provider
    coe: Coe
    owner: Owner

    @property
    def authority(self) -> CertificateAuthority:
        """The bay's certificate authority, which planning has made."""
        if self.bay.authority is None:
            raise RuntimeError("The bay was not planned yet: it has no certificate authority.")
        return self.bay.authority

    @property
    def next_authority(self) -> CertificateAuthority:
        """The authority that hosts get certificates of: the one that shall replace the bay's, if there is one."""
        return self.bay.next_authority or self.authority

    @property
    def trusted_pem(self) -> bytes:
        """The certificates of the authorities that hosts and the portal trust now."""
        next_one = self.bay.next_authority
        return self.authority.certificate + (next_one.certificate if next_one else b"")

    def network(self) -> NetworkSpec:
        """The bay's network as it shall be."""
        return NetworkSpec(owner=self.owner, cidr=self.bay.cidr or "", limits=ceiling_of(tenant=self.bay.tenant))

    def place(self, host: Host) -> HostPlace:
        """What is set aside for a host before it is made. Managers decide together, so that losing a server must not lose several."""
        by_address = self.provider.publishing == Publishing.ADDRESSES
        return HostPlace(
            ref=host.ref,
            hostname=host.hostname,
            address=host.address or "",
            public=by_address and host.published_port is not None,
            spread=self._spreads(host),
        )

    def host(self, host: Host) -> HostSpec:
        """A host as it shall be made, with a fresh certificate for its engine; `hostname` and addresses are those of the row.

        Raises FlavorMissing where the cloud no longer has a flavor for it.
        """
        publication = self._publication(host)
        return HostSpec(
            owner=self.owner,
            ref=host.ref,
            hostname=host.hostname,
            kind=HostKind(host.group.flavor.host_kind),
            image=self.coe.image,
            size=host.group.flavor.size,
            cidr=self.bay.cidr or "",
            address=address_of(host),
            publication=publication,
            aggregate=self.bay.aggregate,
            flavor=cloud_flavor_of(cloud=self.bay.cloud, flavor=host.group.flavor, aggregate=self.bay.aggregate),
            spread=self._spreads(host),
            files=self.coe.host_files(hostname=host.hostname, role=host.role, identity=self.server(host)),
        )

    def server(self, host: Host) -> ServerIdentity:
        """A fresh certificate for a host's engine, good for every address it is reached by, and whom it shall let in."""
        publication = self._publication(host)
        issued = issue_server_certificate(
            authority=self.next_authority,
            hostname=host.hostname,
            dns_names=("localhost",),
            addresses=[address_of(host), "127.0.0.1", *([publication.address] if publication else [])],
        )
        return ServerIdentity(ca_pem=self.trusted_pem, certificate_pem=issued.certificate_pem, key_pem=issued.key_pem)

    def node(self, host: Host) -> Node:
        """A host as its engine is reached from here."""
        if self.provider.reaches_hosts_directly or host.published_port is None:
            reach = (address_of(host), self.coe.engine_port)
        else:
            reach = (host.published_address, host.published_port)
        return Node(ref=host.ref, hostname=host.hostname, role=host.role, address=address_of(host), reach=reach)

    def nodes(self, hosts: Sequence[Host]) -> list[Node]:
        """The same for several."""
        return [self.node(host) for host in hosts]

    def identity(self) -> ClientIdentity:
        """With what the portal speaks to the bay's engines for the next hour."""
        issued = portal_identity(authority=self.authority)
        return ClientIdentity(ca_pem=self.trusted_pem, certificate_pem=issued.certificate_pem, key_pem=issued.key_pem)

    def endpoint(self, hosts: Sequence[Host]) -> str:
        """Where users' clients connect: the published port where there is one, else the first manager's own address."""
        for host in hosts:
            if host.published_port is not None:
                return f"tcp://{host.published_address}:{host.published_port}"
        return f"tcp://{hosts[0].address}:{self.coe.engine_port}" if hosts else ""

    def _spreads(self, host: Host) -> bool:
        return host.role == Role.MANAGER and host.group.count > 1

    def _publication(self, host: Host) -> Publication | None:
        if host.published_port is None:
            return None
        return Publication(address=host.published_address, port=host.published_port, host_port=self.coe.engine_port)


def address_of(host: Host) -> str:
    """Return the host's address inside the bay, which planning or the cloud has chosen before anything is asked of it."""
    if host.address is None:
        raise RuntimeError(f"The host {host.hostname} has no address yet.")
    return host.address


def world_of(*, bay: Bay) -> World:
    """Open the bay's world: its cloud's provider and its COE."""
    return World(bay=bay, provider=provider_of(cloud=bay.cloud), coe=load_coe(name=bay.coe), owner=owner_of(bay=bay))


def owner_of(*, bay: Bay) -> Owner:
    """Return the tags of everything outside that is this bay's."""
    return Owner(installation=settings.INSTALLATION, tenant=bay.tenant_id.hex, bay=bay.id.hex)


def ceiling_of(*, tenant: Tenant) -> TenantLimits:
    """Return what the cloud lets the tenant have at the most: a second line far above our own limits, which are exact."""
    hosts = tenant.max_hosts + settings.MAX_HOSTS_PER_BAY
    return TenantLimits(
        hosts=hosts,
        vcpus=hosts * CEILING_VCPUS_PER_HOST,
        memory_mib=hosts * CEILING_MIB_PER_HOST,
        processes=hosts * CEILING_PROCESSES_PER_HOST,
    )
