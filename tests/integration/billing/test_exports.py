"""Files of usage say the same as the page and the invoice, exactly, to whatever reads them."""

import csv
import io
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest

from apps.bays.models import Bay
from apps.billing.models import Account, Plan, Subscription
from apps.billing.terms.accounts import account_of, default_issuer
from apps.billing.usage import exports, spend
from apps.billing.usage.date_ranges import DateRange
from apps.billing.usage.exports import as_csv, as_json, cell, decimal_text
from apps.billing.usage.focus import COLUMNS, as_focus_csv
from apps.billing.usage.rollups import roll_account
from apps.billing.usage.spend import spend_of
from apps.common.clock import now
from apps.tenants.models import Tenant
from tests.factories import make_cloud, make_flavor, make_price, make_tenant, owner_of
from tests.integration.billing.clock import at
from tests.integration.billing.usage_rows import bay_of, ran, unpriced

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WHOLE_MARCH = DateRange(first=date(2026, 3, 1), end=date(2026, 4, 1), zone="UTC")
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName",
    "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName",
}  # fmt: skip
"""Of FOCUS 1.2: https://focus.finops.org/focus-specification/v1-2/"""
NOT_NULL = MANDATORY - {"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    return make_tenant("harbour")


@pytest.fixture
def account(tenant: Tenant) -> Account:
    return account_of(tenant=tenant)


@pytest.fixture
def bay(tenant: Tenant) -> Bay:
    return bay_of(tenant, "web", moment=MARCH)


def table(pieces: Iterable[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(pieces))))


def test_there_is_a_row_for_each_day_bay_flavor_and_price_with_exact_amounts(account: Account, bay: Bay) -> None:
    with at(MARCH):
        make_price(bay.flavor, "0.030", starts_at=MARCH + 30 * HOUR)
    ran(bay, (MARCH + 23 * HOUR, MARCH + 30 * HOUR + timedelta(seconds=1)))
    rows = table(as_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + 5 * DAY))
    assert [(row["day"], row["host_seconds"], row["host_hours"], row["price_per_hour"], row["amount"]) for row in rows] == [
        ("2026-03-01", "3600", "1.00000000", "0.01000000", "0.01000000"),
        ("2026-03-02", "21600", "6.00000000", "0.01000000", "0.06000000"),
        ("2026-03-02", "1", "0.00027778", "0.03000000", "0.00000833"),
    ]
    assert {name: rows[0][name] for name in ("bay", "bay_id", "created_by", "cloud", "flavor", "currency", "tags")} == {
        "bay": "web", "bay_id": str(bay.id), "created_by": owner_of(bay.tenant).email, "cloud": "local", "flavor": "c1.small",
        "currency": "USD", "tags": "{}",
    }  # fmt: skip


def test_json_says_the_same_as_csv(account: Account, bay: Bay) -> None:
    ran(bay, (MARCH, MARCH + 60 * HOUR))
    moment = MARCH + 5 * DAY
    rows = json.loads("".join(as_json(account=account, days=WHOLE_MARCH, as_of=moment)))
    told = [{name: json.dumps(value) if name == "tags" else str(value) for name, value in row.items()} for row in rows]
    assert told == table(as_csv(account=account, days=WHOLE_MARCH, as_of=moment))
    assert isinstance(rows[0]["host_seconds"], int)
    assert isinstance(rows[0]["amount"], str)


def test_files_of_nothing_are_still_files(account: Account) -> None:
    assert table(as_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + DAY)) == []
    assert json.loads("".join(as_json(account=account, days=WHOLE_MARCH, as_of=MARCH + DAY))) == []
    assert "".join(as_focus_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + DAY)).strip() == ",".join(COLUMNS)


def test_summed_days_give_the_same_file_as_intervals(account: Account, tenant: Tenant) -> None:
    for hours in (5, 50, 500):
        ran(bay_of(tenant, moment=MARCH), (MARCH + hours * HOUR, MARCH + 2 * hours * HOUR), (MARCH + 3 * hours * HOUR, None))
    before = table(as_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + 29 * DAY))
    roll_account(tenant_id=tenant.id, at=MARCH + 29 * DAY)
    account.refresh_from_db()
    after = table(as_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + 29 * DAY))
    assert sorted(map(str, after)) == sorted(map(str, before))
    assert len(after) > 40


def test_days_are_of_the_organisations_calendar_also_where_clocks_change(account: Account, bay: Bay) -> None:
    account.time_zone = "Europe/Berlin"
    ran(bay, (MARCH, MARCH + 40 * DAY))
    days = DateRange(first=date(2026, 3, 28), end=date(2026, 3, 31), zone="Europe/Berlin")
    rows = table(as_csv(account=account, days=days, as_of=MARCH + 50 * DAY))
    assert [(row["day"], row["host_hours"]) for row in rows] == [
        ("2026-03-28", "24.00000000"), ("2026-03-29", "23.00000000"), ("2026-03-30", "24.00000000"),
    ]  # fmt: skip


def test_tiers_are_spread_over_the_month_and_rows_add_up_to_the_bill(account: Account, bay: Bay) -> None:
    with at(MARCH):
        make_price(bay.flavor, "0.010", starts_at=MARCH, tiers=[{"from_hours": 100, "per_hour": "0.004"}])
    ran(bay, (MARCH, MARCH + 300 * HOUR))
    rows = table(as_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + 20 * DAY))
    assert {row["price_per_hour"] for row in rows} == {"0.00600000"}
    assert sum(Decimal(row["amount"]) for row in rows) == spend_of(account=account, period=WHOLE_MARCH.period, as_of=MARCH + 20 * DAY).net


def test_usage_without_a_price_has_no_amount(account: Account, bay: Bay) -> None:
    ran(bay, (MARCH, MARCH + HOUR), flavor=unpriced(bay.flavor))
    (row,) = table(as_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + DAY))
    assert (row["price_per_hour"], row["amount"], row["host_seconds"]) == ("", "", "3600")
    (row,) = table(as_focus_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + DAY))
    assert Decimal(row["BilledCost"]) == 0
    assert row["SkuPriceId"] == ""


def test_what_a_spreadsheet_would_run_is_made_text(account: Account, bay: Bay) -> None:
    Bay.objects.update(created_by="=cmd|calc", name="@SUM(A1)")
    ran(bay, (MARCH, MARCH + HOUR))
    (row,) = table(as_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + DAY))
    assert row["created_by"] == "'=cmd|calc"
    assert row["bay"] == "'@SUM(A1)"
    (row,) = table(as_focus_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + DAY))
    assert row["ResourceName"] == "'@SUM(A1)"
    (told,) = json.loads("".join(as_json(account=account, days=WHOLE_MARCH, as_of=MARCH + DAY)))
    assert told["created_by"] == "=cmd|calc"


@pytest.mark.parametrize(
    ("value", "text"), [("+1", "'+1"), ("-1", "'-1"), (Decimal("-1.50"), "-1.50"), (-3, "-3"), (None, ""), ("\t=1", "'\t=1")]
)
def test_numbers_stay_numbers(value: Any, text: str) -> None:
    assert cell(value=value) == text


@pytest.mark.parametrize(
    ("exact", "text"), [(Decimal("0.000000005"), "0.00000001"), (Decimal("0.0000000049"), "0.00000000"), (-1, "-1.00000000")]
)
def test_decimals_are_rounded_halves_up(exact: Any, text: str) -> None:
    assert decimal_text(exact=exact) == text


def test_a_file_reads_a_few_days_at_a_time(account: Account, bay: Bay) -> None:
    ran(bay, (MARCH, None))
    asked = []
    real = spend.usage_by_day

    def watched(**arguments: Any) -> Any:
        asked.append(arguments["period"].seconds)
        return real(**arguments)

    with patch.object(exports, "usage_by_day", watched):
        pieces = as_csv(account=account, days=DateRange(first=date(2026, 1, 1), end=date(2027, 1, 1), zone="UTC"), as_of=MARCH + 300 * DAY)
        next(pieces)
        assert asked == []
        next(pieces)
        assert len(asked) < 20
        rest = list(pieces)
    assert len(rest) == 300 - 1
    assert max(asked) <= 4 * 86400


def test_focus_has_every_mandatory_column_filled(account: Account, bay: Bay) -> None:
    ran(bay, (MARCH + 20 * HOUR, MARCH + 30 * HOUR))
    rows = table(as_focus_csv(account=account, days=WHOLE_MARCH, as_of=MARCH + 5 * DAY))
    assert MANDATORY - set(COLUMNS) == set()
    assert len(rows) == 2
    for row in rows:
        assert all(row[name] for name in NOT_NULL), row
    first = rows[0]
    assert {name: first[name] for name in COLUMNS if name not in {"SkuPriceId", "SkuPriceDetails"}} == {
        "BilledCost": "0.040000000000", "BillingAccountId": str(account.tenant_id), "BillingAccountName": "Harbour",
        "BillingCurrency": "USD",
        "BillingPeriodEnd": "2026-04-01T00:00:00Z", "BillingPeriodStart": "2026-03-01T00:00:00Z", "ChargeCategory": "Usage",
        "ChargeClass": "", "ChargeDescription": "Hosts c1.small of bay web on local", "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": "2026-03-02T00:00:00Z", "ChargePeriodStart": "2026-03-01T00:00:00Z", "ConsumedQuantity": "14400",
        "ConsumedUnit": "Seconds", "ContractedCost": "0.040000000000", "ContractedUnitPrice": "0.010000000000",
        "EffectiveCost": "0.040000000000", "InvoiceIssuerName": default_issuer().legal_name, "ListCost": "0.040000000000",
        "ListUnitPrice": "0.010000000000", "PricingCategory": "Standard", "PricingQuantity": "4.000000000000", "PricingUnit": "Hours",
        "ProviderName": default_issuer().legal_name, "PublisherName": default_issuer().legal_name, "RegionId": "local",
        "RegionName": "Local",
        "ResourceId": str(bay.id), "ResourceName": "web", "ResourceType": "Bay", "ServiceCategory": "Compute",
        "ServiceName": "Container hosts",
        "ServiceSubcategory": "Containers", "SkuId": str(bay.flavor.id), "SkuMeter": "Compute Usage", "Tags": "{}",
    }  # fmt: skip
    assert json.loads(first["SkuPriceDetails"])["CoreCount"] == 1
    assert list(COLUMNS) == sorted(COLUMNS)


def test_focus_has_the_plans_discount_in_every_row_and_allowance_and_commitment_in_their_own(account: Account, bay: Bay) -> None:
    terms = {"discount_percent": Decimal(10), "allowance": Decimal("0.50"), "commitment": Decimal(3)}
    plan = Plan.objects.create(code="deal", title="Deal", kind=Plan.Kind.COMMITTED, currency="USD", created_at=now(), **terms)
    Subscription.objects.create(tenant=bay.tenant, plan=plan, starts_at=MARCH, created_by="tests", created_at=now())
    ran(bay, (MARCH, MARCH + 100 * HOUR))
    moment = MARCH + 40 * DAY
    rows = table(as_focus_csv(account=account, days=WHOLE_MARCH, as_of=moment))
    usage = [row for row in rows if row["ChargeCategory"] == "Usage"]
    assert Decimal(usage[0]["ContractedUnitPrice"]) == Decimal("0.009")
    assert Decimal(usage[0]["ListCost"]) == Decimal("0.24")
    for row in usage:
        assert Decimal(row["ContractedUnitPrice"]) * Decimal(row["PricingQuantity"]) == Decimal(row["ContractedCost"])
    others = [
        (row["ChargeCategory"], row["ChargeDescription"], row["BilledCost"], row["PricingQuantity"]) for row in rows if row not in usage
    ]
    assert others == [
        ("Credit", "Deal: monthly allowance", "-0.50", ""), ("Adjustment", "Deal: up to the monthly commitment", "2.60", ""),
    ]  # fmt: skip
    assert sum(Decimal(row["BilledCost"]) for row in rows) == spend_of(account=account, period=WHOLE_MARCH.period, as_of=moment).net


def test_focus_of_a_part_of_a_month_has_no_rows_of_the_whole(account: Account, bay: Bay) -> None:
    plan = Plan.objects.create(code="free", title="Free", kind=Plan.Kind.FREE, currency="USD", created_at=now(), allowance=Decimal(1))
    Subscription.objects.create(tenant=bay.tenant, plan=plan, starts_at=MARCH, created_by="tests", created_at=now())
    ran(bay, (MARCH, MARCH + 100 * HOUR))
    part = DateRange(first=date(2026, 3, 2), end=date(2026, 3, 4), zone="UTC")
    rows = table(as_focus_csv(account=account, days=part, as_of=MARCH + 40 * DAY))
    assert [row["ChargeCategory"] for row in rows] == ["Usage", "Usage"]
