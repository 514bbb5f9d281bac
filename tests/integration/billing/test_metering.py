"""A host is billed from the moment it is recorded active until its deletion is accepted, by whatever path its row is written."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.bays.models import Host
from apps.bays.plan import plan_hosts
from apps.bays.services import delete_bay, resize_bay
from apps.billing.models import Interval
from apps.billing.periods import Period
from apps.billing.prices.book import price_book
from apps.billing.usage.measured import used_by
from apps.operations.models import Operation
from apps.operations.states import State
from apps.tenants.models import Tenant
from tests.factories import PLANNED_ON, access_for, make_bay, make_cloud, make_flavor, make_tenant
from tests.integration.billing.clock import at

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    return make_tenant()


def intervals() -> list[tuple[int, int | None, str]]:
    """Each interval as minutes from noon, and why it ended."""
    minute = timedelta(minutes=1)
    rows = Interval.objects.order_by("started_at", "id")
    return [((row.started_at - NOON) // minute, (row.ended_at - NOON) // minute if row.ended_at else None, row.ended_by) for row in rows]


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_bay_that_is_asked_for_costs_nothing_until_its_hosts_are_ready(tenant: Tenant) -> None:
    with at(NOON):
        make_bay(tenant, node_count=2, active=False)
    assert intervals() == []


def test_hosts_are_billed_from_ready_until_the_deletion_is_accepted_not_until_it_is_done(tenant: Tenant) -> None:
    with at(NOON):
        bay = make_bay(tenant, node_count=2)
    with at(after(10)):
        delete_bay(access=access_for(tenant), reference=bay.name)
    with at(after(30)):
        bay.hosts.update(state=Host.State.REMOVED, removed_at=after(30))
    assert intervals() == [(0, 10, "deleted"), (0, 10, "deleted")]


def test_a_smaller_size_is_cheaper_from_when_it_is_accepted(tenant: Tenant) -> None:
    with at(NOON):
        bay = make_bay(tenant, node_count=3)
    with at(after(10)):
        resize_bay(access=access_for(tenant), reference=bay.name, node_count=1)
    assert intervals() == [(0, None, ""), (0, 10, "deleted"), (0, 10, "deleted")]
    with at(after(20)):
        plan_hosts(bay=bay, provider=PLANNED_ON, engine_port=2376)
    assert {(host.index, host.state) for host in bay.hosts.all()} == {(1, "ready"), (2, "draining"), (3, "draining")}
    assert len(intervals()) == 3


def test_wanting_hosts_again_that_were_not_drained_yet_bills_them_again(tenant: Tenant) -> None:
    with at(NOON):
        bay = make_bay(tenant, node_count=3)
    with at(after(10)):
        resize_bay(access=access_for(tenant), reference=bay.name, node_count=1)
        Operation.objects.filter(state__in=["pending"]).update(state=State.FAILED, finished_at=after(11))
    with at(after(20)):
        resize_bay(access=access_for(tenant), reference=bay.name, node_count=2)
    assert intervals() == [(0, None, ""), (0, 10, "deleted"), (0, 10, "deleted"), (20, None, "")]


def test_a_lost_host_is_not_billed_until_it_is_back(tenant: Tenant) -> None:
    with at(NOON):
        bay = make_bay(tenant)
    with at(after(10)):
        bay.hosts.update(state=Host.State.LOST)
    with at(after(15)):
        bay.hosts.update(state=Host.State.PLANNED)
    with at(after(20)):
        bay.hosts.update(state=Host.State.READY)
    assert intervals() == [(0, 10, "lost"), (20, None, "")]


def test_a_clock_that_goes_back_bills_no_second_twice(tenant: Tenant) -> None:
    with at(NOON):
        bay = make_bay(tenant)
    with at(after(10)):
        bay.hosts.update(state=Host.State.LOST)
    with at(after(5)):
        bay.hosts.update(state=Host.State.READY)
    assert intervals() == [(0, 10, "lost"), (10, None, "")]
    with at(after(7)):
        bay.hosts.update(state=Host.State.LOST)
    assert intervals() == [(0, 10, "lost")]


def test_two_intervals_of_one_host_never_overlap(tenant: Tenant) -> None:
    with at(NOON):
        bay = make_bay(tenant)
    with at(after(60)):
        bay.hosts.update(state=Host.State.LOST)
    row = Interval.objects.get()
    with pytest.raises(IntegrityError, match="never_overlap"), transaction.atomic():
        Interval.objects.create(tenant=tenant, host=row.host, started_at=after(30), ended_at=after(90))
    Interval.objects.create(tenant=tenant, host=row.host, started_at=after(60), ended_at=after(90))


def test_usage_is_cut_at_the_period_and_at_the_moment_of_asking(tenant: Tenant) -> None:
    with at(NOON):
        bay = make_bay(tenant, node_count=2)
    with at(after(90)):
        delete_bay(access=access_for(tenant), reference=bay.name)
    hour = Period(start=after(30), end=after(60))
    (used,) = used_by(tenant_id=tenant.id, period=hour, as_of=after(600), book=price_book(currency="USD"))
    assert (used.bay_id, used.seconds) == (bay.id, 2 * 30 * 60)
    (used,) = used_by(tenant_id=tenant.id, period=hour, as_of=after(40), book=price_book(currency="USD"))
    assert used.seconds == 2 * 10 * 60
