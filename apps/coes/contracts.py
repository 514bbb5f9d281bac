"""What crosses the border to a cluster engine: frozen dataclasses and errors, no models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a host does in its cluster. A manager keeps the cluster's state and, in Swarm, also runs containers."""

    MANAGER = "manager"
    WORKER = "worker"


class NodeHealth(StrEnum):
    """What the cluster engine itself says of a node."""

    READY = "ready"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ClientIdentity:
    """With what the portal speaks to one bay's engines: PEM texts of the bay's CA, and of a client certificate with its key.

    While the authority is being replaced, `ca_pem` holds both: engines may serve with certificates of either.
    """

    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Node:
    """One host as its cluster engine is reached: `address` inside the bay; `reach` is host:port from where the portal stands."""

    ref: str
    hostname: str
    role: Role
    address: str
    reach: tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """What the engine knows of a member. `ref` is matched by hostname; `node_id` is the engine's own."""

    node_id: str
    hostname: str
    address: str
    role: Role
    health: NodeHealth
    leader: bool = False
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class ServerIdentity:
    """The certificate a host's engine serves with, issued by the bay's CA for all its addresses.

    `ca_pem` holds the authorities whose clients it lets in: one, or two while the bay's authority is being replaced.
    """

    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class FormCluster:
    """The order to a COE: these nodes, and only these, are one cluster.

    `on_progress(done, total, sentence)` is called as nodes join; `alive()` raises when the caller has lost the right to act.
    """

    bay: str
    nodes: Sequence[Node]
    identity: ClientIdentity
    patience: float
    on_progress: Callable[[int, int, str], None]
    alive: Callable[[], None]


class EngineError(Exception):
    """A cluster engine did not do what was asked; `code` is a key of `operations.codes`."""

    code = "engine_error"
    transient = True


class EngineNotReady(EngineError):
    """The engine does not answer yet: look again soon."""

    code = "engine_not_ready"


class EngineRefused(EngineError):
    """The engine answered with an error that repeating will not change."""

    code = "engine_refused"
    transient = False


class QuorumLost(EngineError):
    """Too few managers answer for the cluster to change anything."""

    code = "quorum_lost"
