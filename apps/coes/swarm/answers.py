"""Finding out where an engine stands: not there yet, alone, in this swarm, or in another one."""

import contextlib
import socket
from dataclasses import dataclass
from enum import StrEnum
from threading import Event
from typing import Any

from apps.coes.contracts import EngineNotReady, Node
from apps.coes.docker_api import DockerApi

_POLL_SECONDS = 0.05
_CONNECT_SECONDS = 1.0
_INFO_SECONDS = 3.0


class Standing(StrEnum):
    """What an engine says of its membership."""

    ALONE = "alone"
    WORKER = "worker"
    MANAGER = "manager"
    LEADERLESS = "leaderless"
    UNSETTLED = "unsettled"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one engine said. `cluster` and `created` (RFC 3339) are known to managers only.

    `manages` tells whether it is a manager by its own knowledge, able to act or not.
    """

    node: Node
    standing: Standing
    node_id: str = ""
    cluster: str = ""
    created: str = ""
    manages: bool = False


def first_answer(*, api: DockerApi, node: Node, stop: Event, delay: float = 0.0) -> Answer | None:
    """Ask again and again until the engine answers; None once `stop` is set. Raises EngineRefused for certificates that do not match.

    A plain TCP connect, cheap enough for many hosts at once, finds the moment from which on TLS is worth trying.
    """
    if delay:
        stop.wait(delay)
    while not stop.is_set():
        with contextlib.suppress(OSError, EngineNotReady):
            socket.create_connection(node.reach, timeout=_CONNECT_SECONDS).close()
            return ask(api=api, node=node)
        stop.wait(_POLL_SECONDS)
    return None


def ask(*, api: DockerApi, node: Node) -> Answer:
    """Ask one engine where it stands. Raises EngineNotReady, EngineRefused."""
    pong = api.ping(node=node)
    if pong.swarm == "inactive":
        return Answer(node=node, standing=Standing.ALONE)
    try:
        swarm: dict[str, Any] = api.get(node=node, path="/info", timeout=_INFO_SECONDS)["Swarm"]
    except EngineNotReady:
        if pong.swarm != "active/manager":
            raise
        # A manager looks for its leader for 20 seconds before it admits that there is none.
        return Answer(node=node, standing=Standing.LEADERLESS, manages=True)
    cluster: dict[str, Any] = swarm.get("Cluster") or {}
    node_id: str = swarm.get("NodeID") or ""
    managers = [manager.get("NodeID") for manager in swarm.get("RemoteManagers") or []]
    return Answer(
        node=node,
        standing=_standing(swarm=swarm, manages=node_id in managers),
        node_id=node_id,
        cluster=cluster.get("ID") or "",
        created=cluster.get("CreatedAt") or "",
        manages=node_id in managers,
    )


def _standing(*, swarm: dict[str, Any], manages: bool) -> Standing:
    state = swarm.get("LocalNodeState")
    if state == "inactive":
        return Standing.ALONE
    if state != "active":
        return Standing.UNSETTLED
    if swarm.get("ControlAvailable"):
        return Standing.MANAGER if (swarm.get("Cluster") or {}).get("ID") else Standing.LEADERLESS
    # A manager that is still starting calls itself active before it can be asked for anything.
    return Standing.UNSETTLED if manages else Standing.WORKER
