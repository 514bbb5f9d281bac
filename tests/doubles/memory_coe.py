"""Container engines in memory that fail on command, on the hosts of `memory_provider`: for tests of what stands above a COE.

An engine answers while its `MemoryHost` runs; a host made anew is an engine that knows nothing. Nothing ever sleeps.

    engines.fail(at="join", error=EngineNotReady("gone"), after=True)   # the next join works, its answer is lost
    engines.fail(at="init", nth=2, error=Crash())                       # the process dies at the second init
    engines.fail_at_random(seed=7, rate=0.1)                            # one step in ten fails, before or after its effect
    engines.moving["web-3"] = 2                                         # two calls of retire_node find containers still moving
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID
from typing_extensions import override

from apps.coes.contracts import (
    ClientIdentity,
    EngineNotReady,
    EngineRefused,
    FormCluster,
    Node,
    NodeHealth,
    NodeState,
    QuorumLost,
    Role,
    ServerIdentity,
)
from apps.coes.swarm import Swarm
from apps.common.clock import now
from apps.hosts.contracts import PowerState
from tests.doubles import memory_provider
from tests.doubles.faults import Failing
from tests.doubles.memory_provider import MemoryHost

STEPS = ("init", "join", "leave", "role", "forget", "drain", "observe", "accepts", "certificate", "secrets")


@dataclass(kw_only=True, eq=False)
class Member:
    """An entry of a swarm. Its engine may be long gone."""

    node_id: str
    hostname: str
    address: str
    role: Role
    engine: "Engine"

    @property
    def health(self) -> NodeHealth:
        return NodeHealth.READY if self.engine.runs and self.engine.member is self else NodeHealth.LOST


@dataclass(kw_only=True, eq=False)
class Cluster:
    """A swarm; the lower its number, the older."""

    number: int
    members: list[Member] = field(default_factory=list)

    def can_decide(self, *, without: Member | None = None) -> bool:
        managers = [member for member in self.members if member.role is Role.MANAGER and member is not without]
        return sum(member.health is NodeHealth.READY for member in managers) > len(managers) // 2


@dataclass(kw_only=True, eq=False)
class Engine:
    """The engine of one incarnation of a host."""

    host: MemoryHost
    cluster: Cluster | None = None
    member: Member | None = None

    @property
    def runs(self) -> bool:
        return self.host.power is PowerState.RUNNING and self.host in running_hosts(ref=self.host.spec.ref)


class Engines(Failing):
    """Every engine there is. Fields may be read and written by tests, under `lock` where threads run."""

    def __init__(self) -> None:
        super().__init__(steps=STEPS, by_chance=lambda _, at: EngineNotReady(f"{at} failed by chance."))
        self.clear()

    def clear(self) -> None:
        """Forget all engines and faults."""
        self.moving: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.secrets: Counter[int] = Counter()
        self._by_host: dict[int, Engine] = {}
        self._numbers = itertools.count(1)
        self.forget_faults()

    def of(self, *, node: Node, identity: ClientIdentity) -> Engine:
        """The engine that answers for `node`. Raises EngineNotReady where none does, EngineRefused for a certificate it does not accept."""
        host = next(iter(running_hosts(ref=node.ref)), None)
        if host is None or node.ref in self.silent:
            raise EngineNotReady(f"The engine of {node.hostname} does not answer yet.")
        check_identity(identity=identity, files=host.files)
        return self._by_host.setdefault(id(host), Engine(host=host))

    def new_cluster(self) -> Cluster:
        return Cluster(number=next(self._numbers))

    def new_id(self) -> str:
        return f"node{next(self._numbers)}"


engines = Engines()


def running_hosts(*, ref: str) -> list[MemoryHost]:
    """The hosts of that name that run, over all clouds in memory."""
    with memory_provider._clouds_lock:
        clouds = list(memory_provider._clouds.values())
    return [host for cloud in clouds for (_, name), host in list(cloud.hosts.items()) if name == ref and host.power is PowerState.RUNNING]


def issued_by(*, certificate: x509.Certificate, authorities_pem: bytes) -> bool:
    """Whether one of the authorities signed the certificate."""
    for authority in x509.load_pem_x509_certificates(authorities_pem):
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, InvalidSignature):
            continue
        return True
    return False


def check_identity(*, identity: ClientIdentity, files: Mapping[str, bytes]) -> None:
    """Raise EngineRefused unless each was certified by an authority the other trusts, and the client for clients, and validly now."""
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem)
    if not issued_by(certificate=certificate, authorities_pem=files["/etc/docker/tls/ca.pem"]):
        raise EngineRefused("The engine does not accept the certificate shown to it (unknown ca).") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value:
        raise EngineRefused("The engine does not accept the certificate shown to it (bad certificate).")
    if not certificate.not_valid_before_utc <= now() <= certificate.not_valid_after_utc:
        raise EngineRefused("The engine does not accept the certificate shown to it (certificate expired).")
    served = x509.load_pem_x509_certificate(files["/etc/docker/tls/server.pem"])
    if not issued_by(certificate=served, authorities_pem=identity.ca_pem):
        raise EngineRefused("The engine shows a certificate that this bay's authority did not issue.")


class MemoryCoe(Swarm):
    """Swarm's texts and files over engines in memory."""

    image: ClassVar[str] = "node-swarm"
    os_types: ClassVar[tuple[str, ...]] = ("linux",)

    @override
    def form_cluster(self, order: FormCluster) -> list[NodeState]:
        with engines.lock:
            found = {node.ref: engines.of(node=node, identity=order.identity) for node in order.nodes}
            cluster = self._cluster_of(order, found)
            for node in order.nodes:
                self._bring_in(order, node, found[node.ref], cluster)
                joined = sum(engine.cluster is cluster for engine in found.values())
                order.on_progress(joined, len(order.nodes), f"{node.hostname} is in the swarm")
            for wanted in (Role.MANAGER, Role.WORKER):
                for node in order.nodes:
                    self._correct_role(order, node, found[node.ref], cluster, wanted)
            names = {node.hostname for node in order.nodes}
            for member in [member for member in cluster.members if member.hostname not in names and member.health is NodeHealth.LOST]:
                self._forget(order, cluster, member)
            return states(cluster)

    @override
    def retire_node(self, *, node: Node, managers: Sequence[Node], identity: ClientIdentity, patience: float) -> None:
        with engines.lock:
            cluster = self._first_cluster([manager for manager in managers if manager.ref != node.ref] or managers, identity)
            former = [member for member in cluster.members if member.hostname == node.hostname]
            for member in former:
                if member.role is Role.MANAGER and not cluster.can_decide(without=member):
                    raise QuorumLost(f"Without {node.hostname} too few managers would answer to run the bay.")
                if member.health is NodeHealth.READY:
                    with engines.step("drain"):
                        if engines.moving[node.hostname] > 0:
                            engines.moving[node.hostname] -= 1
                            raise EngineNotReady(f"1 container still moving off {node.hostname}.")
                    with engines.step("leave"):
                        member.engine.cluster = member.engine.member = None
                with engines.step("forget"):
                    cluster.members.remove(member)

    @override
    def observe(self, *, managers: Sequence[Node], identity: ClientIdentity) -> list[NodeState]:
        with engines.step("observe"):
            return states(self._first_cluster(managers, identity))

    @override
    def accepts(self, *, node: Node, identity: ClientIdentity) -> bool:
        with engines.lock, engines.step("accepts"):
            try:
                engines.of(node=node, identity=identity)
            except EngineRefused:
                return False
            return True

    @override
    def replace_certificate(self, *, node: Node, identity: ClientIdentity, server: ServerIdentity, cut: bool, patience: float) -> None:
        with engines.lock:
            host = engines.of(node=node, identity=identity).host
            with engines.step("certificate"):
                files = self.host_files(hostname=node.hostname, role=node.role, identity=server)
                host.files.update({file.path: file.content for file in files})

    @override
    def replace_secrets(self, *, managers: Sequence[Node], identity: ClientIdentity) -> None:
        with engines.lock:
            cluster = self._first_cluster(managers, identity)
            with engines.step("secrets"):
                engines.secrets[cluster.number] += 1

    def _cluster_of(self, order: FormCluster, found: dict[str, Engine]) -> Cluster:
        managers = [node for node in order.nodes if node.role is Role.MANAGER]
        if not managers:
            raise EngineNotReady("A bay needs at least one manager.")
        held = {engine.cluster for node in managers if (engine := found[node.ref]).member and engine.member.role is Role.MANAGER}
        clusters = sorted((cluster for cluster in held if cluster is not None), key=lambda cluster: cluster.number)
        for cluster in clusters:
            if cluster.can_decide():
                return cluster
        if clusters:
            raise QuorumLost(f"Too few managers of {order.bay} answer.")
        order.alive()
        with engines.step("init"):
            cluster = engines.new_cluster()
            self._enter(managers[0], found[managers[0].ref], cluster)
        return cluster

    def _bring_in(self, order: FormCluster, node: Node, engine: Engine, cluster: Cluster) -> None:
        if engine.cluster is cluster and engine.member in cluster.members:
            return
        for member in [member for member in cluster.members if member.hostname == node.hostname]:
            self._forget(order, cluster, member)
        order.alive()
        with engines.step("join"):
            self._enter(node, engine, cluster)

    def _correct_role(self, order: FormCluster, node: Node, engine: Engine, cluster: Cluster, wanted: Role) -> None:
        member = engine.member
        if member is None or node.role is not wanted or member.role is wanted:
            return
        if wanted is Role.WORKER and not cluster.can_decide(without=member):
            raise QuorumLost(f"Without {node.hostname} too few managers would answer to run the bay.")
        order.alive()
        with engines.step("role"):
            member.role = wanted

    def _forget(self, order: FormCluster, cluster: Cluster, member: Member) -> None:
        order.alive()
        with engines.step("forget"):
            cluster.members.remove(member)

    @staticmethod
    def _enter(node: Node, engine: Engine, cluster: Cluster) -> None:
        member = Member(node_id=engines.new_id(), hostname=node.hostname, address=node.address, role=node.role, engine=engine)
        engine.cluster, engine.member = cluster, member
        cluster.members.append(member)

    @staticmethod
    def _first_cluster(managers: Sequence[Node], identity: ClientIdentity) -> Cluster:
        error: EngineNotReady | QuorumLost = EngineNotReady("The bay has no manager to ask.")
        for manager in managers:
            try:
                cluster = engines.of(node=manager, identity=identity).cluster
            except EngineNotReady as silent:
                error = silent
                continue
            if cluster is not None and cluster.can_decide():
                return cluster
            if cluster is not None:
                error = QuorumLost(f"Too few managers of the bay answer ({manager.hostname}).")
        raise error


def states(cluster: Cluster) -> list[NodeState]:
    """What the managers say of everybody; the first manager that works leads."""
    leader = next((member for member in cluster.members if member.role is Role.MANAGER and member.health is NodeHealth.READY), None)
    return [
        NodeState(
            node_id=member.node_id,
            hostname=member.hostname,
            address=member.address,
            role=member.role,
            health=member.health,
            leader=member is leader,
        )
        for member in cluster.members
    ]
