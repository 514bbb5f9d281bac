"""What a month costs so far, and what it will have cost, by the same rules as its invoice."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.bays.models import Bay
from apps.billing.models import Account, Plan, Subscription
from apps.billing.periods import Period, month_of
from apps.billing.prices.book import price_book
from apps.billing.terms.accounts import account_of
from apps.billing.usage.breakdowns import breakdown, parse_group, rated_months
from apps.billing.usage.rollups import roll_account
from apps.billing.usage.spend import month_so_far, month_to_bill, spend_of, usage_of
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput
from apps.tenants.models import Tenant
from tests.factories import make_cloud, make_flavor, make_price, make_tenant
from tests.integration.billing.clock import at
from tests.integration.billing.usage_rows import bay_of, ran

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    return make_tenant()


@pytest.fixture
def account(tenant: Tenant) -> Account:
    account = account_of(tenant=tenant)
    account.billed_until = MARCH
    account.save()
    return account


@pytest.fixture
def bay(tenant: Tenant) -> Bay:
    return bay_of(tenant, "web", moment=MARCH)


def give_plan(tenant: Tenant, *, starts_at: datetime = MARCH, **terms: Any) -> None:
    plan = Plan.objects.create(code="special", title="Special", kind=Plan.Kind.COMMITTED, created_at=now(), **{"currency": "USD", **terms})
    Subscription.objects.create(tenant=tenant, plan=plan, starts_at=starts_at, created_by="tests", created_at=now())


def test_what_runs_is_spent_by_the_second_and_forecast_until_the_months_end(account: Account, bay: Bay) -> None:
    ran(bay, (MARCH, MARCH + 100 * HOUR))
    ran(bay, (MARCH + 200 * HOUR, None))
    spend = month_so_far(account=account, at=MARCH + 300 * HOUR)
    assert (spend.spent, spend.forecast, spend.currency) == (Decimal("2.00"), Decimal("6.44"), "USD")
    assert spend.period == Period(start=MARCH, end=APRIL)


def test_a_forecast_counts_tiers_over_the_whole_month(account: Account, bay: Bay) -> None:
    flavor = bay.flavor
    with at(MARCH):
        make_price(flavor, "0.010", starts_at=MARCH, tiers=[{"from_hours": 100, "per_hour": "0.001"}])
    ran(bay, (MARCH, None))
    spend = month_so_far(account=account, at=MARCH + 50 * HOUR)
    # 50 hours, and 100 at 1 cent and 644 at a tenth of it
    assert (spend.spent, spend.forecast) == (Decimal("0.50"), Decimal("1.64"))


def test_a_forecast_knows_prices_that_begin_later_this_month(account: Account, bay: Bay) -> None:
    with at(MARCH):
        make_price(bay.flavor, "0.100", starts_at=MARCH + 30 * DAY)
    ran(bay, (MARCH, None))
    assert month_so_far(account=account, at=MARCH + DAY).forecast == Decimal("9.60")


def test_allowance_and_commitment_are_in_the_forecast_and_the_commitment_is_not_spent_before_the_month_is_over(
    account: Account, bay: Bay, tenant: Tenant
) -> None:
    give_plan(tenant, allowance=Decimal(1), commitment=Decimal(50), discount_percent=Decimal(10))
    ran(bay, (MARCH, None))
    spend = month_so_far(account=account, at=MARCH + 400 * HOUR)
    assert (spend.spent, spend.forecast) == (Decimal("2.60"), Decimal("50.00"))
    assert spend_of(account=account, period=month_of(day=MARCH.date(), zone="UTC"), as_of=APRIL).net == Decimal("50.00")


def test_the_plan_is_the_one_in_force_when_the_month_began(account: Account, bay: Bay, tenant: Tenant) -> None:
    give_plan(tenant, discount_percent=Decimal(50), starts_at=MARCH + DAY)
    ran(bay, (MARCH, MARCH + 100 * HOUR))
    assert month_so_far(account=account, at=MARCH + 5 * DAY).spent == Decimal("1.00")


def test_a_plan_in_another_currency_is_refused_and_not_guessed(account: Account, bay: Bay, tenant: Tenant) -> None:
    give_plan(tenant, commitment=Decimal(50), currency="EUR")
    with pytest.raises(Conflict, match="EUR"):
        month_so_far(account=account, at=MARCH + DAY)


def test_what_was_invoiced_with_the_month_before_is_not_spent_again(account: Account, bay: Bay) -> None:
    account.time_zone, account.billed_until = "Asia/Tokyo", MARCH
    ran(bay, (MARCH - 5 * HOUR, MARCH + 5 * HOUR))
    assert month_to_bill(account=account, at=MARCH + DAY).start == MARCH
    assert month_so_far(account=account, at=MARCH + DAY).spent == Decimal("0.05")


def test_usage_until_a_moment_in_the_past_leaves_out_what_was_summed_later(account: Account, bay: Bay) -> None:
    ran(bay, (MARCH, None))
    roll_account(tenant_id=account.tenant_id, at=MARCH + 10 * DAY)
    account.refresh_from_db()
    (used,) = usage_of(account=account, period=Period(start=MARCH, end=APRIL), as_of=MARCH + 36 * HOUR)
    assert used.seconds == 36 * 3600


def test_the_parts_of_any_breakdown_add_up_to_the_bill(account: Account, tenant: Tenant) -> None:
    for number in range(1, 8):
        bay = bay_of(tenant, moment=MARCH)
        ran(bay, (MARCH + number * 7 * HOUR, MARCH + number * 31 * HOUR + timedelta(seconds=number)))
    moment = MARCH + 12 * DAY
    spend = month_so_far(account=account, at=moment)
    for group in ("day", "bay", "flavor", "cloud", "member", "tag:team"):
        months = rated_months(account=account, period=spend.period, as_of=moment, book=price_book(currency="USD"))
        found = breakdown(account=account, months=months, group=group)
        assert found.total == spend.bill.usage
        assert found.seconds == sum(charge.used.seconds for charge in spend.bill.charges)
        assert sum(part.exact for part in found.parts) == sum(charge.exact for charge in spend.bill.charges)


def test_a_part_of_a_month_is_rated_by_the_tiers_of_the_whole_month(account: Account, bay: Bay) -> None:
    with at(MARCH):
        make_price(bay.flavor, "0.010", starts_at=MARCH, tiers=[{"from_hours": 100, "per_hour": "0"}])
    ran(bay, (MARCH, MARCH + 200 * HOUR))
    days = Period(start=MARCH, end=MARCH + 2 * DAY)
    months = rated_months(account=account, period=days, as_of=MARCH + 20 * DAY, book=price_book(currency="USD"))
    # 48 of 200 hours that cost a dollar together
    assert breakdown(account=account, months=months, group="day").total == Decimal("0.24")


def test_months_are_rated_each_by_itself(account: Account, bay: Bay) -> None:
    with at(MARCH):
        make_price(bay.flavor, "0.010", starts_at=MARCH, tiers=[{"from_hours": 24, "per_hour": "0"}])
    ran(bay, (APRIL - 2 * DAY, APRIL + 2 * DAY))
    period = Period(start=MARCH, end=APRIL + 30 * DAY)
    months = rated_months(account=account, period=period, as_of=APRIL + 5 * DAY, book=price_book(currency="USD"))
    found = breakdown(account=account, months=months, group="bay")
    assert [(part.label, part.amount, part.seconds) for part in found.parts] == [("web", Decimal("0.48"), 4 * 86400)]


@pytest.mark.parametrize("text", ["", "colour", "tag", "tag:", "Day", "tag:\n", "tag:" + "x" * 64])
def test_what_is_no_group_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="group_by"):
        parse_group(text=text)
