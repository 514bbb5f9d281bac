"""Limits under fire: fifty processes at once on PostgreSQL, and random lives of bays with faults, through which no limit is ever passed."""

import multiprocessing
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import connections
from hypothesis import HealthCheck
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pytest_django import Settings

from apps.accounts.models import User
from apps.bays.models import ALIVE, Bay, Host, NodeGroup
from apps.bays.services import create_bay, delete_bay, heal_bay, resize_bay
from apps.bays.spec import parse_spec
from apps.bays.usage import usage_after
from apps.common.errors import CarinaError, Conflict, InvalidInput, LimitReached
from apps.hosts.contracts import CloudRefused, NoCapacity
from apps.hosts.models import Flavor
from apps.operations.models import Operation
from apps.tenants.context import Access
from apps.tenants.limits import LIMITS, set_limits
from apps.tenants.models import QuotaRequest, Tenant
from apps.tenants.quota_requests import request_quota
from tests.chaos.lives import asked, work
from tests.doubles.faults import Crash
from tests.doubles.memory_provider import MemoryCloud
from tests.factories import Api, access_for, make_flavor, make_tenant, token_for

pytestmark = pytest.mark.django_db(transaction=True)
CROWD = 50


def in_processes(work: Callable[[int], str], count: int = CROWD) -> Counter[str]:
    """Run `work` in so many processes, each with a connection of its own, all let go at once; return how often each answer came."""
    connections.close_all()  # a child must not inherit a connection its parent goes on using
    fork = multiprocessing.get_context("fork")
    gate, answers = fork.Barrier(count), fork.SimpleQueue()

    def run(number: int) -> None:
        Tenant.objects.exists()  # connected before the start
        gate.wait(timeout=120)
        try:
            answers.put(work(number))
        except CarinaError as error:
            answers.put(error.code)
        except BaseException as error:  # noqa: BLE001 - whatever it was is an answer the test shows
            answers.put(repr(error))

    processes = [fork.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    found = Counter(answers.get() for _ in processes)
    for process in processes:
        process.join(timeout=60)
    return found


def used(tenant: Tenant) -> dict[str, int]:
    return {each.name: each.used for each in usage_after(tenant=tenant)}


@pytest.mark.parametrize("column", ["max_bays", "max_hosts", "max_vcpus", "max_memory_mib", "max_disk_gib"])
def test_of_fifty_processes_that_create_at_the_limit_minus_one_exactly_one_wins(access: Access, column: str) -> None:
    asked(access, name="first", hosts=1)
    room = {"max_bays": 2, "max_hosts": 2, "max_vcpus": 2, "max_memory_mib": 2 * 1024, "max_disk_gib": 20}
    Tenant.objects.filter(id=access.tenant.id).update(**{column: room[column]})

    def create(number: int) -> str:
        asked(access, name=f"bay-{number}", hosts=1)
        return "accepted"

    assert in_processes(create) == {"accepted": 1, "limit_reached": CROWD - 1}
    assert (used(access.tenant)["bays"], used(access.tenant)["hosts"]) == (2, 2)
    assert Operation.objects.count() == 2


def test_of_fifty_requests_over_the_api_at_the_limit_minus_one_exactly_one_wins(access: Access, settings: Settings) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    asked(access, name="first", hosts=1)
    Tenant.objects.filter(id=access.tenant.id).update(max_hosts=2)
    api, path = Api(token_for(access.tenant)), f"tenants/{access.tenant.slug}/bays"
    assert api.get(path).status_code == 200  # what is loaded with the first request is loaded once, before the processes part

    def create(number: int) -> str:
        answer = api.post(path, {"name": f"bay-{number}", "coe": "swarm", "flavor": "c1.small"})
        return f"{answer.status_code} {answer.json().get('code', '')}".strip()

    assert in_processes(create) == {"201": 1, "409 limit_reached": CROWD - 1}
    assert used(access.tenant)["hosts"] == 2


def test_creates_and_resizes_at_once_share_what_is_left_without_a_host_too_many(access: Access) -> None:
    bays = [asked(access, name=f"old-{number}", hosts=1) for number in range(10)]
    work()
    Tenant.objects.filter(id=access.tenant.id).update(max_bays=100, max_hosts=17)

    def grow(number: int) -> str:
        if number % 2:
            asked(access, name=f"new-{number}", hosts=2)
        else:
            resize_bay(access=access, reference=str(bays[number // 2].id), node_count=3)
        return "accepted"

    assert in_processes(grow, count=20) == {"accepted": 3, "limit_reached": 17}  # each asks for two, seven are left
    assert used(access.tenant)["hosts"] == 16


def test_lowering_a_limit_while_fifty_create_never_leaves_more_than_was_allowed_at_that_moment(access: Access) -> None:
    Tenant.objects.filter(id=access.tenant.id).update(max_bays=100, max_hosts=30)
    operator = User.objects.create_superuser("operator@example.com")

    def act(number: int) -> str:
        if number == 0:
            set_limits(by=operator, tenant=access.tenant, limits={"max_hosts": 5})
            return f"lowered at {used(access.tenant)['hosts']}"
        asked(access, name=f"bay-{number}", hosts=1)
        return "accepted"

    found = in_processes(act)
    (lowered,) = [answer for answer in found if answer.startswith("lowered")]
    assert found["accepted"] + found["limit_reached"] == CROWD - 1
    assert used(access.tenant)["hosts"] == found["accepted"] <= max(5, int(lowered.split()[-1]))


@pytest.mark.parametrize(
    ("bays", "state", "others"), [(20, "approved", "quota_nothing_more"), (21, "open", "quota_request_open")], ids=["small", "large"]
)
def test_of_fifty_requests_for_more_at_once_one_is_taken(access: Access, bays: int, state: str, others: str) -> None:
    def ask(number: int) -> str:
        return str(request_quota(access=access, wanted={"max_bays": bays}, reason="more").state)

    assert in_processes(ask) == {state: 1, others: CROWD - 1}
    assert list(QuotaRequest.objects.values_list("state", flat=True)) == [state]


# --- random lives -----------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["ant", "bee", "cat"])
COUNTS = st.integers(min_value=1, max_value=6)
FLAVORS = st.sampled_from(["c1.small", "c1.large"])
ALLOWED = {"max_bays": 3, "max_hosts": 9, "max_vcpus": 18, "max_memory_mib": 17 * 1024, "max_disk_gib": 175}


def machine_of(*, world: MemoryCloud) -> type[RuleBasedStateMachine]:  # noqa: C901 - one small function each
    """Return random sequences of what people and workers do, on one cloud in memory."""

    class Lives(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.tenant = make_tenant()
            Tenant.objects.filter(id=self.tenant.id).update(**ALLOWED)
            self.access = access_for(self.tenant)
            for name in ("ant", "bee"):  # most of what can go wrong needs a bay that stands
                asked(self.access, name=name, hosts=4)
            work()
            self.before = used(self.tenant)

        def attempt(self, act: Callable[[], object]) -> None:
            """Do what a person asks for: it may raise what is used by exactly what was asked, or be refused and change nothing."""
            self.before = used(self.tenant)
            try:
                act()
            except LimitReached:
                assert used(self.tenant) == self.before
            except (Conflict, InvalidInput):
                assert used(self.tenant) == self.before
            else:
                self.before = used(self.tenant)

        def named(self, name: str) -> bool:
            return self.tenant.bays.filter(ALIVE, name=name).exists()

        @rule(name=NAMES, flavor=FLAVORS, count=COUNTS)
        def create(self, name: str, flavor: str, count: int) -> None:
            spec = parse_spec(data={"name": name, "coe": "swarm", "flavor": flavor, "node_count": count})
            before, existed = used(self.tenant), self.named(name)
            self.attempt(lambda: create_bay(access=self.access, spec=spec))
            if not existed and self.named(name):
                size = {"vcpus": spec.flavor.vcpus, "memory_mib": spec.flavor.memory_mib, "disk_gib": spec.flavor.disk_gib}
                more = {"bays": 1, "hosts": count, **{each: count * of_one for each, of_one in size.items()}}
                assert used(self.tenant) == {each: before[each] + more[each] for each in before}

        @rule(name=NAMES, count=COUNTS)
        def resize(self, name: str, count: int) -> None:
            if self.named(name):
                self.attempt(lambda: resize_bay(access=self.access, reference=name, node_count=count))

        @rule(name=NAMES)
        def heal(self, name: str) -> None:
            if self.named(name):
                self.attempt(lambda: heal_bay(access=self.access, reference=name))

        @rule(name=NAMES)
        def delete(self, name: str) -> None:
            if self.named(name):
                self.attempt(lambda: delete_bay(access=self.access, reference=name))

        @rule(step=st.sampled_from(["reserve", "ensure_host.create", "ensure_host.start", "remove_host"]), nth=st.integers(1, 4))
        def worker_dies_sometime(self, step: str, nth: int) -> None:
            world.fail(at=step, nth=nth, error=Crash(), after=nth % 2 == 0)

        @rule(error=st.sampled_from([NoCapacity("full"), CloudRefused("no")]), step=st.sampled_from(["ensure_host.create", "reserve"]))
        def cloud_refuses_sometime(self, error: Exception, step: str) -> None:
            world.fail(at=step, error=error)

        @rule()
        def workers_work(self) -> None:
            work()

        @rule()
        def a_worker_host_is_lost(self) -> None:
            ready = Host.objects.filter(bay__tenant=self.tenant, state=Host.State.READY, group__role="worker")
            if (host := ready.order_by("created_at", "index").first()) is not None:
                world.vanish(ref=host.ref)
                Host.objects.filter(id=host.id).update(state=Host.State.LOST)

        @invariant()
        def no_limit_is_passed(self) -> None:
            for each in usage_after(tenant=self.tenant):
                assert 0 <= each.used <= ALLOWED[f"max_{each.name}"], each

        @invariant()
        def nothing_but_people_raises_what_is_used(self) -> None:
            for name, number in used(self.tenant).items():
                assert number <= self.before[name], name
            self.before = used(self.tenant)

        @invariant()
        def what_there_is_in_the_cloud_is_within_what_is_used(self) -> None:
            mine = [host for host in world.hosts.values() if host.owner is not None and host.owner.tenant == self.tenant.id.hex]
            now = used(self.tenant)
            assert len(mine) <= now["hosts"]
            assert sum(host.spec.size.vcpus for host in mine) <= now["vcpus"]
            assert Host.objects.filter(bay__tenant=self.tenant).exclude(state=Host.State.REMOVED).count() <= now["hosts"]

        @invariant()
        def what_is_wanted_is_used(self) -> None:
            wanted = NodeGroup.objects.filter(bay__tenant=self.tenant, bay__deleted_at=None).values_list("count", "flavor__disk_gib")
            assert sum(count * disk for count, disk in wanted) <= used(self.tenant)["disk_gib"]

        def teardown(self) -> None:
            """In the end all is deleted, and all of it is free again."""
            for bay in Bay.objects.filter(ALIVE, tenant=self.tenant, delete_requested_at=None):
                delete_bay(access=self.access, reference=str(bay.id))
            world.forget_faults()
            work()
            assert set(used(self.tenant).values()) == {0}

    return Lives


def test_no_limit_is_passed_through_random_lives_and_all_is_free_in_the_end(world: MemoryCloud, access: Access) -> None:
    make_flavor("c1.large", vcpus=4)
    assert {flavor.name for flavor in Flavor.objects.all()} == {"c1.small", "c1.large"}
    assert set(ALLOWED) == set(LIMITS)
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine_of(world=world),
        settings=effort(max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=checks),
    )
