"""Clouds that take their time, have too little room, or deliver late what was asked long ago."""

from datetime import timedelta

import pytest

from apps.bays.leftovers import release, sweep_cloud
from apps.bays.models import Bay, Condition
from apps.bays.selectors import promised_hosts
from apps.bays.services import create_bay, delete_bay, heal_bay, resize_bay
from apps.bays.spec import parse_spec
from apps.common.clock import now
from apps.hosts.contracts import CloudUnreachable, HostKind, NoCapacity, Owner
from apps.hosts.models import Cloud
from apps.operations import engine
from apps.operations.models import Event, Operation
from apps.operations.states import State
from apps.tenants.context import Access
from tests.chaos.lives import asked, assert_as_asked, assert_nothing_left, work
from tests.doubles.memory_provider import MemoryCloud, MemoryHost, network_name, project_name
from tests.factories import make_cloud, make_flavor

pytestmark = pytest.mark.django_db(transaction=True)


def run_once(bay: Bay, *, kind: str) -> Operation:
    operation = Operation.objects.get(subject_id=bay.id, kind=kind)
    Operation.objects.filter(id=operation.id).update(due_at=operation.created_at)
    engine.run_operation(operation_id=operation.id)
    operation.refresh_from_db()
    return operation


def test_a_cloud_that_is_still_starting_hosts_holds_no_worker_and_is_asked_only_for_them(world: MemoryCloud, access: Access) -> None:
    world.slow_starts = 3
    bay = asked(access, hosts=3)
    operation = run_once(bay, kind="bay.create")
    assert (operation.state, operation.code) == (State.WAITING, "")
    assert operation.message == "The cloud is still starting web-1, web-2, web-3."
    before = dict(world.reached)
    assert run_once(bay, kind="bay.create").state == State.WAITING
    after = dict(world.reached)
    assert {step: after[step] - before.get(step, 0) for step in after if after[step] != before.get(step, 0)} == {"list_hosts": 1}
    assert not Event.objects.filter(subject_id=bay.id, level="warning").exists(), "that a cloud takes its time is no trouble"
    work()
    assert_as_asked(world, bay.id, hosts=3)


def test_a_bay_waits_for_its_turn_while_the_cloud_starts_as_many_hosts_as_it_shall_and_its_time_with_it(
    world: MemoryCloud, access: Access
) -> None:
    world.slow_starts, world.builds_at_once = 2, 2
    first, second = asked(access, name="first", hosts=2), asked(access, name="second", hosts=1)
    run_once(first, kind="bay.create")
    before = Operation.objects.get(subject_id=second.id)
    waiting = run_once(second, kind="bay.create")
    assert (waiting.state, waiting.code, waiting.message) == (State.WAITING, "cloud_crowded", "The cloud is starting 2 other hosts.")
    assert len(world.networks) == 1, "nothing is made for a bay whose turn has not come"
    assert not Event.objects.filter(subject_id=second.id, level="warning").exists(), "a queue is no trouble"
    assert waiting.deadline_at
    assert before.deadline_at
    assert waiting.deadline_at - before.deadline_at >= timedelta(seconds=engine.QUEUE_SECONDS)
    work()
    assert_as_asked(world, first.id, hosts=2)
    assert_as_asked(world, second.id, hosts=1)


def test_a_bay_that_has_begun_needs_no_second_turn(world: MemoryCloud, access: Access) -> None:
    bay = asked(access, hosts=2)
    work()
    world.vanish(ref=bay.hosts.get(index=2).ref)
    world.builds_at_once = 0
    heal_bay(access=access, reference="web")
    work()
    assert_as_asked(world, bay.id, hosts=2)


def test_who_waits_long_for_hosts_looks_at_the_network_ever_less_often(
    world: MemoryCloud, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slow_starts = 1000
    bay = asked(access, hosts=1)
    begun, looks = now(), []
    for seconds in range(0, 601, 10):
        monkeypatch.setattr("django.utils.timezone.now", lambda at=begun + timedelta(seconds=seconds): at)
        before = world.reached["ensure_network"]
        assert run_once(bay, kind="bay.create").state == State.WAITING
        looks += [seconds] * (world.reached["ensure_network"] - before)
    assert looks == [0, 30, 60, 120, 240, 480]


def test_a_network_that_vanished_while_hosts_were_starting_is_made_again(world: MemoryCloud, access: Access) -> None:
    world.slow_starts = 1
    bay = asked(access, hosts=2)
    run_once(bay, kind="bay.create")
    world.networks.clear()
    world.hosts.clear()
    work()
    assert_as_asked(world, bay.id, hosts=2)


def test_a_host_that_is_slowly_deleted_is_waited_for(world: MemoryCloud, access: Access) -> None:
    bay = asked(access, hosts=3)
    work()
    world.slow_starts = 2
    resize_bay(access=access, reference="web", node_count=2)
    operation = run_once(bay, kind="bay.resize")
    assert (operation.state, operation.message) == (State.WAITING, "The cloud is still deleting web-3.")
    work()
    assert_as_asked(world, bay.id, hosts=2)
    delete_bay(access=access, reference="web")
    assert run_once(bay, kind="bay.delete").message == "The cloud is still deleting 2 of 2 hosts."
    work()
    assert_nothing_left(world)


def test_a_create_without_room_leaves_nothing_in_the_cloud_and_asks_for_no_more_room(world: MemoryCloud, access: Access) -> None:
    world.slow_starts = 1
    world.fail(at="ensure_host.create", nth=3, error=NoCapacity("No valid host was found."))
    bay = asked(access, hosts=3)
    work()
    assert Bay.objects.get(id=bay.id).reason_code == "no_capacity"
    assert promised_hosts() == []
    assert [release(bay_id=bay.id) for _ in range(3)][-1]
    assert_nothing_left(world)
    heal_bay(access=access, reference="web")
    assert sorted(promise.count for promise in promised_hosts()) == [1, 2]
    work()
    assert_as_asked(world, bay.id, hosts=3)


def test_a_bay_that_works_is_never_released_even_if_it_could_not_grow(world: MemoryCloud, access: Access) -> None:
    bay = asked(access, hosts=2)
    work()
    world.fail(at="ensure_host.create", error=NoCapacity("No valid host was found."))
    resize_bay(access=access, reference="web", node_count=3)
    work()
    assert Bay.objects.get(id=bay.id).condition == Condition.ERROR
    assert not release(bay_id=bay.id)
    assert len(world.hosts) == 2


def arrive_late(world: MemoryCloud, owner: Owner) -> None:
    """What a request that was accepted long ago makes when it is carried out at last."""
    template = next(iter(world.hosts.values()))
    world.hosts[project_name(owner), "late"] = MemoryHost(spec=template.spec, owner=owner)
    world.networks[network_name(owner)] = (owner, "10.64.0.0/24")


def test_what_arrives_after_its_bay_was_deleted_is_found_and_deleted(world: MemoryCloud, access: Access) -> None:
    stays, goes = asked(access, name="stays", hosts=1), asked(access, name="goes", hosts=1)
    work()
    owner = next(host.owner for host in world.hosts.values() if host.owner and host.owner.bay == goes.id.hex)
    delete_bay(access=access, reference="goes")
    work()
    arrive_late(world, owner)
    cloud = Cloud.objects.get()
    world.fail(at="remove_host", error=CloudUnreachable("504"))
    assert sweep_cloud(cloud=cloud) == 1
    assert sweep_cloud(cloud=cloud) == 1
    assert sweep_cloud(cloud=cloud) == 0
    assert_as_asked(world, stays.id, hosts=1)
    assert {host.owner.bay for host in world.hosts.values() if host.owner} == {stays.id.hex}


def test_things_of_a_bay_nobody_knows_are_named_and_never_touched(world: MemoryCloud, access: Access) -> None:
    asked(access, hosts=1)
    work()
    known = next(host.owner for host in world.hosts.values() if host.owner)
    unknown = Owner(installation=known.installation, tenant="f" * 32, bay="e" * 32)
    arrive_late(world, unknown)
    cloud = Cloud.objects.get()
    assert sweep_cloud(cloud=cloud) == 0
    cloud.refresh_from_db()
    assert cloud.strays == [f"{'e' * 32} of tenant {'f' * 32}"]
    assert (project_name(unknown), "late") in world.hosts


def test_whole_servers_may_take_longer_than_hosts_that_boot_in_seconds(world: MemoryCloud, access: Access) -> None:
    make_cloud("metal", kind=HostKind.BAREMETAL)
    make_flavor("m1", kind=HostKind.BAREMETAL)
    data = {"name": "metal", "coe": "swarm", "flavor": "m1", "node_count": 1}
    bays = [asked(access, hosts=1), create_bay(access=access, spec=parse_spec(data=data))]
    minutes = []
    for bay in bays:
        operation = Operation.objects.get(subject_id=bay.id)
        assert operation.deadline_at is not None
        minutes.append((operation.deadline_at - operation.created_at).total_seconds() / 60)
    assert minutes == [15, 90]
