"""Living a bay's life step by step, in the test's own thread: what workers, beat and people do."""

import contextlib
from datetime import timedelta
from uuid import UUID

from apps.bays.models import Bay, Condition, Health, Host
from apps.bays.observe import observe_bay
from apps.bays.services import create_bay, heal_bay
from apps.bays.spec import parse_spec
from apps.common.clock import now
from apps.hosts.contracts import PowerState
from apps.operations import engine
from apps.operations.models import Operation
from apps.operations.states import UNFINISHED, State
from apps.tenants.context import Access
from tests.doubles.faults import Crash
from tests.doubles.memory_provider import MemoryCloud


def asked(access: Access, *, name: str = "web", hosts: int = 3, managers: int = 1) -> Bay:
    data = {"name": name, "coe": "swarm", "flavor": "c1.small", "node_count": hosts, "manager_count": managers}
    return create_bay(access=access, spec=parse_spec(data=data))


def work(*, rounds: int = 200) -> int:
    """Be the workers until nothing is unfinished, with every due time come and every dead worker's lease run out; return the crashes."""
    crashes = 0
    for _ in range(rounds):
        unfinished = list(Operation.objects.filter(state__in=UNFINISHED).order_by("-preempts", "created_at").values_list("id", flat=True))
        if not unfinished:
            return crashes
        past = now() - timedelta(seconds=1)
        Operation.objects.filter(id__in=unfinished).update(due_at=past)
        Operation.objects.filter(id__in=unfinished, state=State.RUNNING).update(lease_expires_at=past)
        for operation_id in unfinished:
            try:
                engine.run_operation(operation_id=operation_id)
            except Crash:
                crashes += 1
    raise AssertionError(f"still unfinished after {rounds} rounds: {list(Operation.objects.filter(state__in=UNFINISHED).values())}")


def assert_as_asked(world: MemoryCloud, bay_id: UUID, *, hosts: int) -> None:
    bay = Bay.objects.get(id=bay_id)
    assert (bay.condition, bay.reason_code) == (Condition.ACTIVE, "")
    assert sorted(host.state for host in bay.live_hosts) == [Host.State.READY] * hosts
    instances = {ref: host for (_, ref), host in world.hosts.items() if host.owner is not None and host.owner.bay == bay.id.hex}
    assert sorted(instances) == sorted(host.ref for host in bay.live_hosts)
    assert all(host.power is PowerState.RUNNING for host in instances.values())
    assert len({host.address for host in bay.live_hosts}) == hosts
    assert sum(owner is not None and owner.bay == bay.id.hex for owner, _ in world.networks.values()) == 1
    assert bay.endpoint


def assert_nothing_left(world: MemoryCloud) -> None:
    assert (world.hosts, world.networks, world.limits) == ({}, {}, {})


def look(bay_id: UUID) -> None:
    """Ask the bay how it is, as often as it takes to be told: this may die or be left without an answer, too."""
    for _ in range(20):
        with contextlib.suppress(Crash):
            observe_bay(bay_id=bay_id)
        bay = Bay.objects.get(id=bay_id)
        if bay.health == Health.DEGRADED or all(host.state != Host.State.READY for host in bay.live_hosts):
            return


def settle(access: Access, bay_id: UUID) -> None:
    """Work until done; faults by chance may also exhaust the deadline or fail: then do what the page offers, try again."""
    work()
    for _ in range(20):
        if Bay.objects.get(id=bay_id).condition == Condition.ACTIVE:
            return
        heal_bay(access=access, reference=str(bay_id))
        work()
    raise AssertionError(Bay.objects.values("condition", "reason_code", "reason_message").get(id=bay_id))
