"""What the COE contract suite needs besides a COE: hosts with engines on them, whose certificates come from an authority of the test."""

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import IPv4Network, ip_network
from uuid import uuid4

from apps.coes.base import Coe
from apps.coes.contracts import ClientIdentity, FormCluster, Node, NodeState, Role, ServerIdentity
from apps.common.clock import now
from apps.credentials.pki import AuthorityPem, Issued, Signer, new_authority
from apps.hosts.contracts import HostKind, HostSize, HostSpec, NetworkSpec, Owner, TenantLimits
from apps.hosts.providers.base import Provider
from tests.contracts.clouds import Cloud

SIZE = HostSize(vcpus=1, memory_mib=768, disk_gib=3, processes=2000)
PATIENCE = 60.0
"""Seconds a real engine may take to boot beside other tests; nothing waits longer than it must."""


class Authority:
    """A bay's authority, as `credentials` makes one."""

    def __init__(self) -> None:
        self.pem: AuthorityPem = new_authority(name="test", now=now(), lifetime=timedelta(days=2))
        self.signer = Signer(certificate_pem=self.pem.certificate_pem, key_pem=self.pem.key_pem)

    def client(self, *, trusts: "Authority | None" = None, expired: bool = False) -> ClientIdentity:
        at = now() - timedelta(days=1) if expired else now()
        issued = self.signer.issue_client(common_name="test", organisation="carina:admins", now=at, lifetime=timedelta(hours=1))
        return identity(ca=trusts or self, issued=issued)

    def server(self, *, hostname: str, address: str) -> ServerIdentity:
        issued = self.signer.issue_server(hostname=hostname, dns_names=[], addresses=[address], now=now())
        assert issued.key_pem is not None
        return ServerIdentity(ca_pem=self.pem.certificate_pem, certificate_pem=issued.certificate_pem, key_pem=issued.key_pem)


def identity(*, ca: Authority, issued: Issued) -> ClientIdentity:
    assert issued.key_pem is not None
    return ClientIdentity(ca_pem=ca.pem.certificate_pem, certificate_pem=issued.certificate_pem, key_pem=issued.key_pem)


@dataclass(kw_only=True)
class SwarmBay:
    """Hosts of one bay on a cloud, and the COE under test."""

    cloud: Cloud
    provider: Provider
    coe: Coe
    image: str
    authority: Authority = field(default_factory=Authority)
    specs: dict[str, HostSpec] = field(default_factory=dict)
    progress: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        owner = Owner(installation="c0de", tenant=uuid4().hex, bay=uuid4().hex)
        taken = [ip_network(cidr, strict=False) for cidr in self.provider.discover().used_cidrs]
        while True:
            cidr = IPv4Network(f"10.{64 + secrets.randbelow(64)}.{secrets.randbelow(256)}.0/24")
            if not any(cidr.overlaps(other) for other in taken):
                break
        self.network = NetworkSpec(owner=owner, cidr=str(cidr), limits=TenantLimits(hosts=10, vcpus=20, memory_mib=16384, processes=40000))
        self.provider.ensure_network(self.network)

    def node(self, number: int, role: Role) -> Node:
        address = str(IPv4Network(self.network.cidr)[10 + number])
        return Node(
            ref=f"web-{number}-{self.network.owner.bay[:6]}", hostname=f"web-{number}", role=role, address=address, reach=(address, 2376)
        )

    def boot(self, nodes: Sequence[Node]) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.provider.ensure_host, [self._spec(node) for node in nodes]))

    def replace(self, node: Node) -> None:
        self.remove(node)
        self.boot([node])

    def remove(self, node: Node) -> None:
        self.provider.remove_host(self.network.owner, node.ref)

    def power_off(self, node: Node) -> None:
        self.cloud.power_off(self.specs[node.ref])

    def form(self, nodes: Sequence[Node], *, identity: ClientIdentity | None = None, patience: float = PATIENCE) -> list[NodeState]:
        return self.coe.form_cluster(self.order(nodes, identity=identity, patience=patience))

    def order(self, nodes: Sequence[Node], *, identity: ClientIdentity | None = None, patience: float = PATIENCE) -> FormCluster:
        return FormCluster(
            bay="web",
            nodes=nodes,
            identity=identity or self.authority.client(),
            patience=patience,
            on_progress=lambda done, total, _sentence: self.progress.append((done, total)),
            alive=lambda: None,
        )

    def observe(self, nodes: Sequence[Node]) -> dict[str, NodeState]:
        managers = [node for node in nodes if node.role is Role.MANAGER]
        return {state.hostname: state for state in self.coe.observe(managers=managers, identity=self.authority.client())}

    def observe_as(self, nodes: Sequence[Node], identity: ClientIdentity) -> list[NodeState]:
        return self.coe.observe(managers=[node for node in nodes if node.role is Role.MANAGER], identity=identity)

    def renew(self, node: Node, *, issuer: Authority, trusts: bytes, identity: ClientIdentity, cut: bool = False) -> None:
        server = replace(issuer.server(hostname=node.hostname, address=node.address), ca_pem=trusts)
        self.coe.replace_certificate(node=node, identity=identity, server=server, cut=cut, patience=20.0)

    def retire(self, node: Node, nodes: Sequence[Node], *, patience: float = 20.0) -> None:
        managers = [other for other in nodes if other.role is Role.MANAGER]
        self.coe.retire_node(node=node, managers=managers, identity=self.authority.client(), patience=patience)

    def close(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda ref: self.provider.remove_host(self.network.owner, ref), self.specs))
        self.provider.remove_network(self.network.owner)

    def _spec(self, node: Node) -> HostSpec:
        server = self.authority.server(hostname=node.hostname, address=node.address)
        self.specs[node.ref] = HostSpec(
            owner=self.network.owner,
            ref=node.ref,
            hostname=node.hostname,
            kind=HostKind.CONTAINER,
            image=self.image,
            size=SIZE,
            cidr=self.network.cidr,
            address=node.address,
            files=self.coe.host_files(hostname=node.hostname, role=node.role, identity=server),
        )
        return self.specs[node.ref]
