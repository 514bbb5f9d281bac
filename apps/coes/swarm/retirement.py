"""Taking one host out of a swarm without losing what runs on it."""

import contextlib
from collections.abc import Sequence
from time import monotonic, sleep

from apps.coes.contracts import EngineError, EngineNotReady, Node, NodeHealth, QuorumLost, Role
from apps.coes.docker_api import DockerApi
from apps.coes.swarm.members import POLL_SECONDS, Member, change_spec, check_quorum_without, forget, list_members, running_tasks

_LEAVE_SECONDS = 2.0
"""An engine may take seven seconds to tidy up its networks when it leaves; nobody waits for that, since the managers forget it anyway."""

_LEAST_SECONDS = 3.0
"""What the managers get, however small the patience, to let go of a host that was already emptied."""


def retire(*, api: DockerApi, node: Node, managers: Sequence[Node], patience: float) -> None:
    """Drain, demote, let leave, and forget every member with the node's host name; none is success.

    A member that is lost is forgotten without waiting for it. Raises EngineNotReady while containers are still moving after `patience`
    seconds, QuorumLost when too few managers would be left or answer now.
    """
    deadline = monotonic() + patience
    others = [manager for manager in managers if manager.ref != node.ref]
    manager, members = _ask_any(api=api, managers=others or list(managers))
    former = [member for member in members if member.hostname == node.hostname]
    for member in former:
        if member.role is Role.MANAGER:
            check_quorum_without(members=members, leaving=member)
    for member in former:
        if member.health is NodeHealth.READY:
            _drain(api=api, manager=manager, member_id=member.id, deadline=deadline)
            _leave(api=api, manager=manager, node=node, member=member, deadline=deadline)
        forget(api=api, manager=manager, node_id=member.id, deadline=max(deadline, monotonic() + _LEAST_SECONDS), alive=_nobody_to_ask)


def _ask_any(*, api: DockerApi, managers: Sequence[Node]) -> tuple[Node, list[Member]]:
    errors: list[EngineError] = []
    for manager in managers:
        try:
            return manager, list_members(api=api, manager=manager)
        except (EngineNotReady, QuorumLost) as error:
            errors.append(error)
    lost = [error for error in errors if isinstance(error, QuorumLost)]
    if lost:
        raise lost[0]
    raise errors[0] if errors else EngineNotReady("The bay has no manager that could let a host go.")


def _drain(*, api: DockerApi, manager: Node, member_id: str, deadline: float) -> None:
    """Let no service run on the member any more, and wait until none does."""
    while True:
        member = next((member for member in list_members(api=api, manager=manager) if member.id == member_id), None)
        if member is None or member.health is not NodeHealth.READY:
            return
        if member.spec.get("Availability") != "drain":
            with contextlib.suppress(EngineNotReady):  # changed by somebody else at once: read again
                change_spec(api=api, manager=manager, member=member, change={"Availability": "drain"})
            continue
        count = running_tasks(api=api, manager=manager, node_id=member_id)
        if not count:
            return
        if monotonic() > deadline:
            raise EngineNotReady(f"{count} container{'' if count == 1 else 's'} still moving off {member.hostname}.")
        sleep(POLL_SECONDS)


def _leave(*, api: DockerApi, manager: Node, node: Node, member: Member, deadline: float) -> None:
    """Demote the member if it is a manager, then tell its engine to leave; an engine that does not listen is forgotten all the same."""
    if member.role is Role.MANAGER:
        _demote(api=api, manager=manager, member_id=member.id, deadline=max(deadline, monotonic() + _LEAST_SECONDS))
    with contextlib.suppress(EngineError):
        api.post(node=node, path="/swarm/leave", params={"force": "true"}, timeout=_LEAVE_SECONDS)


def _demote(*, api: DockerApi, manager: Node, member_id: str, deadline: float) -> None:
    while True:
        members = list_members(api=api, manager=manager)
        member = next((member for member in members if member.id == member_id), None)
        if member is None or member.role is Role.WORKER:
            return
        if member.spec.get("Role") != Role.WORKER:
            check_quorum_without(members=members, leaving=member)
            with contextlib.suppress(EngineNotReady):
                change_spec(api=api, manager=manager, member=member, change={"Role": Role.WORKER.value})
        if monotonic() > deadline:
            raise EngineNotReady(f"The managers have not yet released {member.hostname} from their number.")
        sleep(POLL_SECONDS)


def _nobody_to_ask() -> None:
    """`retire_node` has no lease of its own to check."""
