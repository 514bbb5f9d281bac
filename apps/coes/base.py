"""The port to container orchestration engines.

Every COE passes `tests/contracts/test_coe.py`; adding one is copying a neighbour and a line in `COES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import ClassVar, Protocol

from apps.coes.contracts import ClientIdentity, FormCluster, Node, NodeState, Role, ServerIdentity
from apps.hosts.contracts import HostFile


@dataclass(frozen=True, kw_only=True)
class CoeVersion:
    """A version a bay can be created with. `deprecated` is a sentence, or empty."""

    name: str
    default: bool = False
    deprecated: str = ""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A fact the user of a bay must know on this cloud, with what to do instead. Shown on the bay's page and in the bundle's README."""

    code: str
    title: str
    text: str
    instead: str


class Coe(Protocol):
    """One orchestrator, stateless: everything it needs is in the arguments."""

    name: ClassVar[str]
    title: ClassVar[str]
    sentence: ClassVar[str]
    image: ClassVar[str]
    os_types: ClassVar[tuple[str, ...]]
    """Operating systems of aggregates (their metadata `os_type`; `linux` where they have none) that it can use."""
    engine_port: ClassVar[int]
    manager_counts: ClassVar[tuple[int, ...]]
    versions: ClassVar[tuple[CoeVersion, ...]]

    def host_files(self, *, hostname: str, role: Role, identity: ServerIdentity) -> tuple[HostFile, ...]:
        """The files a host needs before it boots. Secrets among them have mode 0600 and are what this host alone needs."""
        ...

    def form_cluster(self, order: FormCluster) -> list[NodeState]:
        """Make the nodes one cluster: initialise it if no manager has one, let the others join in parallel, forget members that are gone.

        Returns the members, every asked node among them and ready. Raises EngineNotReady when that is not so after `patience`
        seconds: call again. A node that belongs to another (dead) cluster leaves it first.
        """
        ...

    def retire_node(self, *, node: Node, managers: Sequence[Node], identity: ClientIdentity, patience: float) -> None:
        """Drain the node, let it leave, and forget it; a node that is already gone is success.

        Raises EngineNotReady while its containers are still moving (call again), QuorumLost when managers do not agree.
        """
        ...

    def observe(self, *, managers: Sequence[Node], identity: ClientIdentity) -> list[NodeState]:
        """Ask the cluster itself for its members, of the first manager that answers. Raises EngineNotReady or QuorumLost."""
        ...

    def accepts(self, *, node: Node, identity: ClientIdentity) -> bool:
        """Whether the node's engine both serves with a certificate of the identity's authorities and lets the identity's own in.

        Asked over a new connection. Raises EngineNotReady while it does not answer.
        """
        ...

    def replace_certificate(self, *, node: Node, identity: ClientIdentity, server: ServerIdentity, cut: bool, patience: float) -> None:
        """Have the running host serve with `server` and let in clients of its authorities alone. What runs on the host is not touched.

        `identity` is one it lets in now. `cut` also ends the connections there are. Returns once an engine that lets
        `identity` in has taken the files and a connection shows it; raises EngineNotReady when that is not so after `patience`
        seconds (call again), EngineRefused where the host cannot do it.
        """
        ...

    def replace_secrets(self, *, managers: Sequence[Node], identity: ClientIdentity) -> None:
        """Make worthless what lets new members into the cluster. Raises EngineNotReady, QuorumLost."""
        ...

    def notices(self, *, limitations: Sequence[str]) -> list[Notice]:
        """What users must know on a cloud with these limitations."""
        ...

    def bundle_files(
        self, *, bay: str, endpoint: str, version: str, notices: Sequence[Notice], expires_at: datetime | None = None
    ) -> dict[str, str]:
        """Texts of the credential zip beside the pem files, by file name: env scripts for every shell and README.md."""
        ...


COES: dict[str, str] = {
    "swarm": "apps.coes.swarm.Swarm",
}


def load_coe(*, name: str) -> Coe:
    """Return the COE `name`; raises KeyError for a name that is not in `COES`."""
    module, _, attribute = COES[name].rpartition(".")
    coe: Coe = getattr(import_module(module), attribute)()
    return coe


def all_coes() -> list[Coe]:
    """Every COE of this portal, in the order of the registry."""
    return [load_coe(name=name) for name in COES]
