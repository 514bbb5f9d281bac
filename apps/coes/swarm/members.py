"""The members of a swarm as its managers list them, and the few changes made to one of them.

Everything here is one or two requests to a manager. Managers change a member only if the caller knows its newest version number, so two
callers never overwrite each other: the loser reads again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from apps.coes.contracts import EngineNotReady, Node, NodeHealth, NodeState, QuorumLost, Role
from apps.coes.docker_api import DockerApi, EngineSaid

POLL_SECONDS = 0.05
_OUT_OF_SEQUENCE = "out of sequence"
_HEALTH = {"ready": NodeHealth.READY, "down": NodeHealth.LOST, "disconnected": NodeHealth.LOST}
_STILL_RUNNING = frozenset({"assigned", "accepted", "preparing", "ready", "starting", "running"})


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry of `GET /nodes`. A manager that does not vote is only about to become one, or was taken out by hand."""

    id: str
    version: int
    hostname: str
    address: str
    role: Role
    health: NodeHealth
    leader: bool
    votes: bool
    reachable: bool
    detail: str
    spec: Mapping[str, Any] = field(repr=False)

    @property
    def working(self) -> bool:
        """Whether the member does what its role says: a manager must also take part in decisions."""
        return self.health is NodeHealth.READY and (self.role is Role.WORKER or self.reachable)

    def state(self) -> NodeState:
        """Return what the outside is told."""
        return NodeState(
            node_id=self.id,
            hostname=self.hostname,
            address=self.address,
            role=self.role,
            health=self.health,
            leader=self.leader,
            detail=self.detail,
        )


def list_members(*, api: DockerApi, manager: Node) -> list[Member]:
    """Return every member of the swarm that `manager` belongs to. Raises EngineNotReady, QuorumLost."""
    return [_member(entry) for entry in api.get(node=manager, path="/nodes", timeout=5.0)]


def best_by_hostname(members: Sequence[Member]) -> dict[str, Member]:
    """Return one member per host name: where a replaced host left its old entry behind, the one that works."""
    return {
        member.hostname: member
        for member in sorted(members, key=lambda member: (member.working, member.health is NodeHealth.READY, member.version))
    }


def change_spec(*, api: DockerApi, manager: Node, member: Member, change: Mapping[str, str]) -> None:
    """Set `Role` or `Availability` of a member. Raises EngineNotReady when it was changed meanwhile: list again."""
    try:
        api.post(node=manager, path=f"/nodes/{member.id}/update", params={"version": str(member.version)}, body={**member.spec, **change})
    except EngineSaid as error:
        if _OUT_OF_SEQUENCE in error.said:
            raise EngineNotReady(f"{member.hostname} was changed by somebody else at the same moment.") from None
        raise


def check_quorum_without(*, members: Sequence[Member], leaving: Member) -> None:
    """Raise QuorumLost unless the managers that stay could still decide by themselves once `leaving` is none of them."""
    if not leaving.votes:
        return
    staying = [member for member in members if member.votes and member.id != leaving.id]
    able = sum(member.reachable for member in staying)
    if not staying:
        raise QuorumLost(f"{leaving.hostname} is the only manager of the bay and cannot leave it.")
    if able < len(staying) // 2 + 1:
        raise QuorumLost(f"Without {leaving.hostname} only {able} of {len(staying)} managers would answer, too few to run the bay.")


def forget(*, api: DockerApi, manager: Node, node_id: str, deadline: float, alive: Callable[[], None]) -> None:
    """Remove the member `node_id` for good, demoting it first; one that is not there is success.

    Raises EngineNotReady when the managers have not let it go by `deadline` (`time.monotonic()`), QuorumLost when they cannot.
    """
    while True:
        members = list_members(api=api, manager=manager)
        member = next((member for member in members if member.id == node_id), None)
        if member is None:
            return
        try:
            if member.role is Role.MANAGER:
                if member.spec.get("Role") != Role.WORKER:
                    check_quorum_without(members=members, leaving=member)
                    alive()
                    change_spec(api=api, manager=manager, member=member, change={"Role": Role.WORKER.value})
            else:
                alive()
                api.delete(node=manager, path=f"/nodes/{node_id}", params={"force": "true"})
                return
        except EngineSaid as error:
            # The list already calls a demoted manager a worker while the managers are still taking it out of their number.
            if "demoted" not in error.said and "raft" not in error.said:
                raise
        except EngineNotReady:
            if monotonic() > deadline:
                raise
        if monotonic() > deadline:
            raise EngineNotReady(f"The managers have not yet let {member.hostname} go.")
        sleep(POLL_SECONDS)


def replace_join_tokens(*, api: DockerApi, manager: Node) -> None:
    """Make the join tokens of the manager's swarm worthless. Raises EngineNotReady when the swarm was changed meanwhile, QuorumLost."""
    swarm = api.get(node=manager, path="/swarm")
    params = {"version": str(swarm["Version"]["Index"]), "rotateWorkerToken": "true", "rotateManagerToken": "true"}
    try:
        api.post(node=manager, path="/swarm/update", params=params, body=swarm["Spec"])
    except EngineSaid as error:
        if _OUT_OF_SEQUENCE in error.said:
            raise EngineNotReady("The swarm was changed by somebody else at the same moment.") from None
        raise


def running_tasks(*, api: DockerApi, manager: Node, node_id: str) -> int:
    """Return how many containers of services still run, or are about to, on a member."""
    tasks = api.get(node=manager, path="/tasks", params={"filters": f'{{"node":{{"{node_id}":true}}}}'})
    return sum(task.get("Status", {}).get("State") in _STILL_RUNNING for task in tasks)


def _member(entry: Mapping[str, Any]) -> Member:
    description, status = entry.get("Description") or {}, entry.get("Status") or {}
    manager: Mapping[str, Any] | None = entry.get("ManagerStatus")
    spec = entry.get("Spec") or {}
    role = Role.MANAGER if manager is not None or spec.get("Role") == Role.MANAGER else Role.WORKER
    reachability = (manager or {}).get("Reachability", "")
    health = _HEALTH.get(status.get("State", ""), NodeHealth.UNKNOWN)
    detail = status.get("Message") or ""
    if reachability == "unreachable":
        health, detail = NodeHealth.LOST, detail or "The other managers do not reach it."
    address = status.get("Addr") or ""
    if address in {"", "0.0.0.0"} and manager:  # noqa: S104  # what an engine reports, not where anything listens
        address = str(manager.get("Addr") or "").rpartition(":")[0]
    return Member(
        id=entry["ID"],
        version=entry["Version"]["Index"],
        hostname=description.get("Hostname") or "",
        address=address,
        role=role,
        health=health,
        leader=bool((manager or {}).get("Leader")),
        votes=manager is not None,
        reachable=reachability == "reachable",
        detail=detail,
        spec=spec,
    )
