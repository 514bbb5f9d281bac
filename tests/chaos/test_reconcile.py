"""Crashes and faults at every call of a bay's life, on a cloud and engines in memory: thousands of ways to die, all of which end as asked.

A crash is a BaseException in the middle of a call: nothing of ours catches it, as nothing survives kill -9. The dead worker's lease then
runs out and the next one starts from the top.
"""

import random

import pytest
from django.test import override_settings

from apps.bays.models import Bay, Condition, Host
from apps.bays.observe import observe_bay
from apps.bays.services import delete_bay, heal_bay, resize_bay
from apps.bays.upkeep import keep_network
from apps.coes.contracts import EngineNotReady, EngineRefused
from apps.hosts.contracts import CloudCredentialsRejected, CloudRefused, CloudUnreachable, NoCapacity
from apps.operations import engine
from apps.operations.models import Event, Operation
from apps.operations.states import State
from apps.tenants.context import Access
from tests.chaos.lives import asked, assert_as_asked, assert_nothing_left, look, settle, work
from tests.doubles.faults import Crash
from tests.doubles.memory_coe import Engines, engines
from tests.doubles.memory_provider import MemoryCloud

pytestmark = pytest.mark.django_db(transaction=True)


STEPS = ("ensure_network", "reserve", "ensure_host.create", "ensure_host.push", "ensure_host.start", "list_hosts")
ENGINE_STEPS = ("init", "join", "observe")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [*STEPS, *ENGINE_STEPS])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_create_survives_a_crash_around_every_call(world: MemoryCloud, access: Access, step: str, nth: int, after: bool) -> None:
    (world if step in STEPS else engines).fail(at=step, nth=nth, error=Crash(), after=after)
    bay = asked(access)
    crashes = work()
    assert crashes <= 1
    assert_as_asked(world, bay.id, hosts=3)


@pytest.mark.parametrize("error", [CloudUnreachable("504 after the request was accepted"), EngineNotReady("connection reset")])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_lost_answer_never_makes_a_second_host(world: MemoryCloud, access: Access, error: Exception, after: bool) -> None:
    for step in STEPS if isinstance(error, CloudUnreachable) else ENGINE_STEPS:
        (world if step in STEPS else engines).fail(at=step, error=error, after=after)
    bay = asked(access)
    work()
    assert_as_asked(world, bay.id, hosts=3)


@pytest.mark.parametrize("seed", range(25))
def test_whole_lives_under_random_faults_and_crashes_end_as_asked(world: MemoryCloud, access: Access, seed: int) -> None:
    """Create, grow, shrink, lose a host, heal, delete; every call may fail before or after its effect, and workers die."""
    dice = random.Random(seed)
    world.fail_at_random(seed=seed, rate=0.08)
    engines.fail_at_random(seed=seed + 1, rate=0.08)
    world.slow_starts = dice.choice([0, 2])

    def die_sometime() -> None:
        targets: list[tuple[MemoryCloud | Engines, tuple[str, ...]]] = [(world, STEPS), (engines, ENGINE_STEPS)]
        target, steps = dice.choice(targets)
        target.fail(at=dice.choice(steps), nth=dice.randint(1, 4), error=Crash(), after=dice.random() < 0.5)

    managers = dice.choice([1, 3])
    bay = asked(access, hosts=dice.randint(managers, 5), managers=managers)
    die_sometime()
    settle(access, bay.id)
    for count in (dice.randint(managers, 7), dice.randint(managers, 7)):
        die_sometime()
        resize_bay(access=access, reference=str(bay.id), node_count=count)
        settle(access, bay.id)
        assert_as_asked(world, bay.id, hosts=count)
    victim = dice.choice(Bay.objects.get(id=bay.id).live_hosts)
    world.vanish(ref=victim.ref)
    look(bay.id)
    assert Host.objects.get(id=victim.id).state == Host.State.LOST
    die_sometime()
    heal_bay(access=access, reference=str(bay.id))
    settle(access, bay.id)
    assert_as_asked(world, bay.id, hosts=count)
    assert Host.objects.get(id=victim.id).address == victim.address
    world.fail_at_random(seed=seed + 2, rate=0.2)
    delete_bay(access=access, reference=str(bay.id))
    work()
    assert Bay.objects.get(id=bay.id).condition == Condition.DELETED
    assert_nothing_left(world)


@pytest.mark.parametrize("step", [*STEPS, "init", "join"])
def test_a_delete_during_a_create_wins_and_leaves_nothing(world: MemoryCloud, access: Access, step: str) -> None:
    bay = asked(access)
    (world if step in STEPS else engines).fail(at=step, error=Crash(), after=True)
    for operation in Operation.objects.filter(subject_id=bay.id):
        with pytest.raises(Crash):
            engine.run_operation(operation_id=operation.id)
    delete_bay(access=access, reference=str(bay.id))
    work()
    assert Bay.objects.get(id=bay.id).condition == Condition.DELETED
    assert Operation.objects.get(subject_id=bay.id, kind="bay.create").state == State.CANCELLED
    assert_nothing_left(world)


@pytest.mark.parametrize("step", ["list_hosts", "remove_host", "remove_network", "leftovers"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_delete_survives_a_crash_around_every_call(world: MemoryCloud, access: Access, step: str, after: bool) -> None:
    bay = asked(access, hosts=2)
    work()
    world.fail(at=step, error=Crash(), after=after)
    delete_bay(access=access, reference=str(bay.id))
    assert work() == 1
    assert Bay.objects.get(id=bay.id).condition == Condition.DELETED
    assert_nothing_left(world)


def test_a_delete_of_what_is_already_gone_succeeds(world: MemoryCloud, access: Access) -> None:
    bay = asked(access)
    work()
    world.hosts.clear()
    world.networks.clear()
    delete_bay(access=access, reference=str(bay.id))
    work()
    assert Bay.objects.get(id=bay.id).condition == Condition.DELETED


def test_a_delete_with_rejected_credentials_waits_says_why_and_ends_once_they_are_right(world: MemoryCloud, access: Access) -> None:
    bay = asked(access)
    work()
    delete_bay(access=access, reference=str(bay.id))
    world.fail(at="list_hosts", error=CloudCredentialsRejected("The certificate is not trusted."))
    operation = Operation.objects.get(subject_id=bay.id, kind="bay.delete")
    engine.run_operation(operation_id=operation.id)
    waiting = Bay.objects.get(id=bay.id)
    assert waiting.status == "deleting"
    assert waiting.reason == ("cloud_credentials", "The certificate is not trusted.")
    work()
    assert_nothing_left(world)


@pytest.mark.parametrize(
    ("step", "error", "code"),
    [
        ("ensure_host.create", NoCapacity("No server has 1 GiB left."), "no_capacity"),
        ("ensure_network", CloudRefused("The option ipv4.dhcp is not allowed."), "cloud_refused"),
        ("init", EngineRefused("swarm init: bad request"), "engine_refused"),
    ],
)
def test_a_refusal_ends_as_an_error_with_code_and_reason_and_try_again_mends_it(
    world: MemoryCloud, access: Access, step: str, error: Exception, code: str
) -> None:
    (engines if step in ENGINE_STEPS else world).fail(at=step, error=error)
    bay = asked(access)
    work()
    failed = Bay.objects.get(id=bay.id)
    assert (failed.condition, failed.reason_code, failed.reason_message) == (Condition.ERROR, code, str(error))
    assert Event.objects.filter(subject_id=bay.id, level="error").exists()
    heal_bay(access=access, reference=str(bay.id))
    work()
    assert_as_asked(world, bay.id, hosts=3)


def test_a_failed_create_can_be_deleted(world: MemoryCloud, access: Access) -> None:
    world.fail(at="ensure_host.create", nth=3, error=NoCapacity("No server has 1 GiB left."))
    bay = asked(access)
    work()
    delete_bay(access=access, reference=str(bay.id))
    work()
    assert_nothing_left(world)


def test_a_name_can_be_used_again_as_soon_as_its_bay_is_gone(world: MemoryCloud, access: Access) -> None:
    first = asked(access, hosts=1)
    work()
    delete_bay(access=access, reference="web")
    work()
    second = asked(access, hosts=2)
    work()
    assert first.id != second.id
    assert_as_asked(world, second.id, hosts=2)


def test_heal_starts_a_stopped_host_without_replacing_it(world: MemoryCloud, access: Access) -> None:
    bay = asked(access, hosts=2)
    work()
    victim = Bay.objects.get(id=bay.id).live_hosts[1]
    world.stop(ref=victim.ref)
    before = next(host for (_, ref), host in world.hosts.items() if ref == victim.ref)
    observe_bay(bay_id=bay.id)
    seen = Bay.objects.get(id=bay.id)
    assert (seen.health, seen.reason_code) == ("degraded", "host_lost")
    assert Host.objects.get(id=victim.id).detail == "The host is stopped."
    heal_bay(access=access, reference="web")
    work()
    assert_as_asked(world, bay.id, hosts=2)
    assert next(host for (_, ref), host in world.hosts.items() if ref == victim.ref) is before


def test_a_silent_cluster_is_unreachable_and_healthy_again_with_one_event_each(world: MemoryCloud, access: Access) -> None:
    bay = asked(access, hosts=1)
    work()
    engines.silent.add(Bay.objects.get(id=bay.id).live_hosts[0].ref)
    for _ in range(3):
        observe_bay(bay_id=bay.id)
    assert Bay.objects.get(id=bay.id).health == "unreachable"
    engines.silent.clear()
    for _ in range(3):
        observe_bay(bay_id=bay.id)
    assert Bay.objects.get(id=bay.id).health == "healthy"
    codes = [event.code for event in Event.objects.filter(subject_id=bay.id, code__startswith="health.").order_by("at")]
    assert codes == ["health.unreachable", "health.healthy"]


def test_an_observation_made_before_a_resize_does_not_overwrite_it(world: MemoryCloud, access: Access) -> None:
    bay = asked(access, hosts=1)
    work()
    world.stop(ref=Bay.objects.get(id=bay.id).live_hosts[0].ref)
    resize_bay(access=access, reference="web", node_count=2)
    observe_bay(bay_id=bay.id)
    assert Bay.objects.get(id=bay.id).health == "healthy", "an unfinished operation owns the observed columns"


@override_settings(BAY_NETWORKS="10.200.0.0/23")
def test_without_a_free_address_range_a_bay_waits_with_the_reason_until_one_is_freed(world: MemoryCloud, access: Access) -> None:
    first, second, third = (asked(access, name=name, hosts=1) for name in ("one", "two", "three"))
    for bay in (first, second, third):
        engine.run_operation(operation_id=Operation.objects.get(subject_id=bay.id).id)
    waiting = Bay.objects.get(id=third.id)
    assert waiting.reason[0] == "no_network_left"
    delete_bay(access=access, reference="one")
    work()
    assert_as_asked(world, third.id, hosts=1)


def test_a_network_that_was_lost_comes_back_by_itself_but_never_that_of_a_bay_that_is_to_go(world: MemoryCloud, access: Access) -> None:
    bay, leaving = asked(access, name="stays", hosts=1), asked(access, name="goes", hosts=1)
    work()
    delete_bay(access=access, reference="goes")
    world.networks.clear()
    for bay_id in (bay.id, leaving.id):
        keep_network(bay_id=bay_id)
    assert [owner.bay for owner, _ in world.networks.values() if owner is not None] == [bay.id.hex]
    world.reachable = False
    keep_network(bay_id=bay.id)
    assert Bay.objects.get(id=bay.id).condition == Condition.ACTIVE


def test_two_bays_never_share_an_address_range(world: MemoryCloud, access: Access) -> None:
    bays = [asked(access, name=f"bay{number}", hosts=1) for number in range(8)]
    work()
    cidrs = {Bay.objects.get(id=bay.id).cidr for bay in bays}
    assert len(cidrs) == len(bays)
