"""Sums by day say what intervals say, to the second, whatever happened when, and whenever they were made."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Event, Thread
from unittest.mock import patch

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from apps.bays.models import Bay
from apps.billing.models import Account, DailyUsage, Interval
from apps.billing.periods import Period, month_of
from apps.billing.prices.book import price_book
from apps.billing.tasks import roll_up
from apps.billing.terms.accounts import account_of
from apps.billing.usage import measured, rollups
from apps.billing.usage.measured import used_by
from apps.billing.usage.rollups import forget_rollups, roll_account, roll_due
from apps.billing.usage.spend import summed_part, usage_of
from apps.common.scope import carried
from apps.hosts.models import Flavor
from apps.tenants.models import Tenant
from tests.factories import make_cloud, make_flavor, make_price, make_tenant
from tests.integration.billing.clock import at
from tests.integration.billing.usage_rows import bay_of, ran, unpriced

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    return make_tenant()


@pytest.fixture
def account(tenant: Tenant) -> Account:
    return account_of(tenant=tenant)


def sums(tenant: Tenant) -> list[tuple[date, int]]:
    """Each day's seconds, over everything."""
    return [(row.day, row.seconds) for row in DailyUsage.objects.filter(tenant=tenant).order_by("day", "bay_id")]


def test_a_day_is_summed_once_it_has_been_over_for_an_hour(tenant: Tenant, account: Account) -> None:
    ran(bay_of(tenant, moment=START), (START + 22 * HOUR, START + 26 * HOUR))
    assert roll_account(tenant_id=tenant.id, at=START + DAY + HOUR - timedelta(seconds=1)) == 0
    assert roll_account(tenant_id=tenant.id, at=START + DAY + HOUR) == 1
    assert sums(tenant) == [(date(2026, 3, 1), 7200)]
    assert roll_account(tenant_id=tenant.id, at=START + DAY + HOUR) == 0
    assert roll_account(tenant_id=tenant.id, at=START + 5 * DAY) == 3
    assert sums(tenant) == [(date(2026, 3, 1), 7200), (date(2026, 3, 2), 7200)]
    account.refresh_from_db()
    assert account.rolled_until == START + 4 * DAY


def test_days_are_those_of_the_accounts_time_zone_also_where_they_have_23_hours(tenant: Tenant, account: Account) -> None:
    Account.objects.update(time_zone="Europe/Berlin")
    ran(bay_of(tenant, moment=START), (datetime(2026, 3, 28, 12, tzinfo=UTC), None))
    roll_account(tenant_id=tenant.id, at=datetime(2026, 3, 31, 1, tzinfo=UTC))
    assert sums(tenant) == [(date(2026, 3, 28), 11 * 3600), (date(2026, 3, 29), 23 * 3600), (date(2026, 3, 30), 24 * 3600)]


def test_many_months_are_summed_in_several_transactions_and_are_all_there(tenant: Tenant) -> None:
    account_of(tenant=tenant)
    ran(bay_of(tenant, moment=START), (START, None))
    assert roll_account(tenant_id=tenant.id, at=START + 100 * DAY + HOUR) == 100
    assert sums(tenant) == [((START + number * DAY).date(), 86400) for number in range(100)]


def test_usage_that_comes_late_makes_its_day_and_all_after_it_be_summed_anew(tenant: Tenant, account: Account) -> None:
    bay = bay_of(tenant, moment=START)
    ran(bay, (START, START + 3 * DAY))
    roll_account(tenant_id=tenant.id, at=START + 4 * DAY)
    ran(bay, (START + DAY + 5 * HOUR, START + DAY + 6 * HOUR))
    account.refresh_from_db()
    assert account.rolled_until == START + DAY + 5 * HOUR
    part = summed_part(account=account, period=Period(start=START, end=START + 3 * DAY), as_of=START + 4 * DAY)
    assert part is not None
    assert part.end == date(2026, 3, 2)
    assert roll_account(tenant_id=tenant.id, at=START + 4 * DAY) == 2
    assert sums(tenant) == [(date(2026, 3, 1), 86400), (date(2026, 3, 2), 90000), (date(2026, 3, 3), 86400)]


def test_usage_that_is_taken_back_is_taken_out_of_the_sums(tenant: Tenant) -> None:
    account_of(tenant=tenant)
    ran(bay_of(tenant, moment=START), (START, START + DAY))
    roll_account(tenant_id=tenant.id, at=START + 2 * DAY)
    Interval.objects.all().delete()
    roll_account(tenant_id=tenant.id, at=START + 2 * DAY)
    assert sums(tenant) == []


def test_late_usage_of_a_tenant_that_was_never_summed_leaves_nothing_out(tenant: Tenant, account: Account) -> None:
    Account.objects.update(billed_until=START + 20 * DAY)
    bay = bay_of(tenant, moment=START)
    ran(bay, (START, START + HOUR))
    ran(bay, (START + 5 * DAY, START + 5 * DAY + HOUR))
    account.refresh_from_db()
    assert account.rolled_until is None
    assert account.late_from == START
    roll_account(tenant_id=tenant.id, at=START + 7 * DAY)
    assert sums(tenant) == [(date(2026, 3, 1), 3600), (date(2026, 3, 6), 3600)]


def test_another_time_zone_makes_all_days_anew_and_forgets_those_of_the_other_calendar(tenant: Tenant, account: Account) -> None:
    ran(bay_of(tenant, moment=START), (START - 2 * HOUR, START - HOUR), (START + 30 * HOUR, START + 31 * HOUR))
    roll_account(tenant_id=tenant.id, at=START + 3 * DAY)
    assert sums(tenant) == [(date(2026, 2, 28), 3600), (date(2026, 3, 2), 3600)]
    account.refresh_from_db()
    account.time_zone = "Asia/Tokyo"
    account.save()
    forget_rollups(account=account)
    assert roll_account(tenant_id=tenant.id, at=START + 3 * DAY) == 3
    assert sums(tenant) == [(date(2026, 3, 1), 3600), (date(2026, 3, 2), 3600)]


def test_usage_without_a_price_is_summed_too_and_each_price_by_itself(tenant: Tenant) -> None:
    account_of(tenant=tenant)
    bay = bay_of(tenant, moment=START)
    with at(START):
        later = make_price(bay.flavor, "0.020", starts_at=START + 6 * HOUR)
    free = unpriced(bay.flavor)
    ran(bay, (START, START + DAY))
    ran(bay, (START, START + DAY), flavor=free)
    roll_account(tenant_id=tenant.id, at=START + 2 * DAY)
    rows = DailyUsage.objects.order_by("seconds").values_list("flavor__name", "price_id", "seconds")
    first = later.flavor.prices.exclude(id=later.id).get()
    assert list(rows) == [("c1.small", first.id, 6 * 3600), ("c1.small", later.id, 18 * 3600), (free.name, None, 86400)]


def test_the_task_rolls_everybody_who_is_due_and_nobody_else(tenant: Tenant) -> None:
    other, idle = make_tenant(), make_tenant()
    for each in (tenant, other, idle):
        account_of(tenant=each)
    for each in (tenant, other):
        ran(bay_of(each, moment=START), (START, START + HOUR))
    with at(START + 2 * DAY):
        roll_up()
    assert sums(tenant) == sums(other) == [(date(2026, 3, 1), 3600)]
    with patch.object(rollups, "roll_account") as again:
        assert roll_due(at=START + 2 * DAY).accounts == 0
    again.assert_not_called()


def test_one_broken_account_does_not_stop_the_others(tenant: Tenant) -> None:
    other = make_tenant()
    for each in (tenant, other):
        account_of(tenant=each)
        ran(bay_of(each, moment=START), (START, START + HOUR))
    Account.objects.filter(tenant=tenant).update(currency="EUR")
    real = measured.parameters

    def broken(**arguments: object) -> dict[str, object]:
        if arguments["tenant_id"] == tenant.id:
            raise RuntimeError("broken")
        return real(**arguments)  # type: ignore[arg-type]

    with patch.object(rollups, "parameters", broken):
        done = roll_due(at=START + 2 * DAY)
    assert done.failed == [tenant.id]
    assert sums(other) == [(date(2026, 3, 1), 3600)]
    assert sums(tenant) == []
    assert Account.objects.get(tenant=tenant).rolled_until is None


@pytest.mark.django_db(transaction=True)
def test_usage_written_while_sums_are_made_is_not_lost_between_them(tenant: Tenant) -> None:
    account_of(tenant=tenant)
    bay = bay_of(tenant, moment=START)
    ran(bay, (START, START + HOUR))
    read, written = Event(), Event()
    real = rollups._sum

    def slowly(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        if not read.is_set():
            read.set()
            # The other one waits for our lock by now; it cannot be done before we are.
            assert not written.wait(timeout=0.5)

    @carried
    def late() -> None:
        assert read.wait(timeout=10)
        ran(bay, (START + 2 * HOUR, START + 3 * HOUR))
        written.set()
        connection.close()

    thread = Thread(target=late)
    thread.start()
    with patch.object(rollups, "_sum", slowly):
        roll_account(tenant_id=tenant.id, at=START + 2 * DAY)
    thread.join(timeout=10)
    assert written.is_set()
    roll_account(tenant_id=tenant.id, at=START + 2 * DAY)
    assert sums(tenant) == [(date(2026, 3, 1), 7200)]


@pytest.mark.django_db(transaction=True)
def test_an_account_somebody_else_is_at_is_passed_over(tenant: Tenant) -> None:
    account_of(tenant=tenant)
    ran(bay_of(tenant, moment=START), (START, START + HOUR))
    locked, free = Event(), Event()

    @carried
    def hold() -> None:
        with transaction.atomic():
            Account.objects.select_for_update().get(tenant=tenant)
            locked.set()
            free.wait(timeout=10)
        connection.close()

    thread = Thread(target=hold)
    thread.start()
    assert locked.wait(timeout=10)
    assert roll_due(at=START + 2 * DAY).days == 0
    free.set()
    thread.join(timeout=10)
    assert roll_due(at=START + 2 * DAY).days == 1


ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Auckland", "America/Sao_Paulo", "Pacific/Kiritimati"]
CLOCKS = [datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 10, 20, tzinfo=UTC), datetime(2028, 2, 20, tzinfo=UTC)]
seconds = st.integers(min_value=0, max_value=20 * 86400)


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that happens to usage, with whatever it needs of the rest."""

    what: str
    second: int
    length: int
    bay: int
    flavor: int


acts = st.lists(
    st.builds(
        Act,
        what=st.sampled_from(["ran", "ran", "ran", "roll", "roll", "end", "zone", "undo"]),
        second=seconds,
        length=st.one_of(st.just(0), st.integers(min_value=1, max_value=9 * 86400)),
        bay=st.integers(0, 1),
        flavor=st.integers(0, 1),
    ),
    min_size=3,
    max_size=14,
)


@contextmanager
def undone() -> Iterator[None]:
    """Take back afterwards what is done inside."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@effort(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    zone=st.sampled_from(ZONES), begin=st.sampled_from(CLOCKS), price_at=seconds, asked=st.lists(seconds, min_size=3, max_size=3), acts=acts
)
def test_sums_and_intervals_together_always_equal_intervals_alone(
    tenant: Tenant, account: Account, zone: str, begin: datetime, price_at: int, asked: list[int], acts: list[Act]
) -> None:
    with undone():
        Account.objects.update(time_zone=zone)
        bays = [bay_of(tenant, moment=begin), bay_of(tenant, moment=begin)]
        flavors = [bays[0].flavor, unpriced(bays[0].flavor)]
        with at(begin):
            make_price(flavors[0], "0.020", starts_at=begin + timedelta(seconds=price_at))
            make_price(flavors[0], "0.001", starts_at=begin + timedelta(seconds=price_at // 2), cloud=bays[0].cloud)
        book = price_book(currency="USD")
        first, second, as_of = (begin + timedelta(seconds=moment) for moment in asked)
        for act in acts:
            perform(act, begin=begin, bays=bays, flavors=flavors)
            account.refresh_from_db()
            for period in (
                Period(start=min(first, second), end=max(first, second)),
                month_of(day=first.date(), zone=account.time_zone),
                Period(start=begin - 40 * DAY, end=begin + 40 * DAY),
            ):
                for moment in (as_of, begin + 60 * DAY):
                    raw = used_by(tenant_id=tenant.id, period=period, as_of=moment, book=book)
                    assert usage_of(account=account, period=period, as_of=moment, book=book) == raw


def perform(act: Act, *, begin: datetime, bays: list[Bay], flavors: list[Flavor]) -> None:
    """Do one of the things that may happen to usage and its sums."""
    moment = begin + timedelta(seconds=act.second)
    if act.what == "ran":
        end = moment + timedelta(seconds=act.length) if act.length else None
        ran(bays[act.bay], (moment, end), flavor=flavors[act.flavor])
    elif act.what == "roll":
        roll_account(tenant_id=bays[0].tenant_id, at=moment + HOUR)
    elif act.what == "zone":
        Account.objects.update(time_zone=ZONES[act.second % len(ZONES)])
        forget_rollups(account=Account.objects.get())
    elif act.what == "end":
        Interval.objects.filter(ended_at=None, started_at__lt=moment).update(ended_at=moment, ended_by="lost")
    else:
        Interval.objects.filter(started_at__gte=moment).delete()
