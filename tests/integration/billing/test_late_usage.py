"""What was used in a month that was invoiced already, and is not what its invoice said, comes with the next invoice, which says so."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.billing.invoices.closing import issue_period, run_month
from apps.billing.invoices.drafts import draft_of
from apps.billing.models import Account, BilledPeriod, CreditGrant, Interval, Invoice, Issuer, TaxRate
from apps.billing.receivables.owed import owed
from apps.hosts.models import Flavor
from apps.tenants.models import Tenant
from tests.factories import make_cloud, make_flavor, make_price, make_tenant
from tests.integration.billing.clock import at
from tests.integration.billing.months import APRIL, JUNE, MARCH, MAY, make_account, make_plan, use

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
JULY = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    tenant = make_tenant()
    make_account(tenant)
    return tenant


def closed(tenant: Tenant, moment: datetime) -> Invoice | None:
    return issue_period(tenant_id=tenant.id, at=moment + HOUR)


def lines(invoice: Invoice | None) -> list[tuple[str, str, Decimal]]:
    assert invoice is not None
    return [(line.kind, line.text, line.amount) for line in invoice.lines.order_by("position")]


def net_of_all() -> Decimal:
    return sum((invoice.net for invoice in Invoice.objects.all()), Decimal(0))


def test_use_that_is_recorded_after_the_invoice_is_on_the_next_one_by_name_of_its_month(tenant: Tenant) -> None:
    use(tenant, MARCH, MARCH + 100 * HOUR)
    closed(tenant, APRIL)
    use(tenant, APRIL, APRIL + 50 * HOUR)
    use(tenant, MARCH, MARCH + 10 * HOUR, bay="db")
    draft = draft_of(account=Account.objects.select_related("tenant").get(), at=APRIL + 60 * HOUR)
    invoice = closed(tenant, MAY)
    assert lines(invoice) == [
        ("usage", "web: 50.00 host-hours of c1.small on local", Decimal("0.50")),
        ("late", "Late usage of March 2026: db: 10.00 host-hours of c1.small on local", Decimal("0.10")),
    ]
    assert [(line.kind, line.text, line.amount) for line in draft.lines] == lines(invoice)
    assert Account.objects.get().late_from is None
    assert closed(tenant, JUNE) is None


def test_use_that_was_too_much_is_given_back(tenant: Tenant) -> None:
    (row,) = use(tenant, MARCH, MARCH + 100 * HOUR)
    closed(tenant, APRIL)
    use(tenant, APRIL, APRIL + 90 * HOUR)
    Interval.objects.filter(id=row.id).update(ended_at=MARCH + 40 * HOUR)
    assert lines(closed(tenant, MAY))[1] == (
        "late",
        "Late usage of March 2026: web: −60.00 host-hours of c1.small on local",
        Decimal("-0.60"),
    )


def test_what_is_given_back_beyond_what_was_used_becomes_prepaid_credit(tenant: Tenant) -> None:
    (row,) = use(tenant, MARCH, MARCH + 100 * HOUR)
    closed(tenant, APRIL)
    row.delete()
    invoice = closed(tenant, MAY)
    assert invoice is not None
    assert (invoice.gross, owed(invoice=invoice), invoice.state) == (Decimal(-1), Decimal(0), "paid")
    grant = CreditGrant.objects.get()
    assert (grant.kind, grant.amount, grant.reason) == ("prepaid", Decimal(1), f"In your favour from invoice {invoice.number}")


def test_late_use_of_a_month_that_had_no_invoice_is_billed_as_well(tenant: Tenant) -> None:
    run_month(at=MAY + HOUR)
    use(tenant, MARCH + HOUR, APRIL + HOUR)
    assert [text for _, text, _ in lines(closed(tenant, JUNE))] == [
        "Late usage of March 2026: web: 743.00 host-hours of c1.small on local",
        "Late usage of April 2026: web: 1.00 host-hours of c1.small on local",
    ]


def test_late_use_is_billed_by_the_price_of_its_time(tenant: Tenant) -> None:
    with at(MARCH):
        make_price(Flavor.objects.get(), "0.020", starts_at=APRIL)
    closed(tenant, APRIL)
    use(tenant, APRIL - 10 * HOUR, APRIL + 10 * HOUR)
    assert [(kind, amount) for kind, _, amount in lines(closed(tenant, MAY))] == [("usage", Decimal("0.20")), ("late", Decimal("0.10"))]


def test_only_what_is_new_is_billed_however_often_it_changes(tenant: Tenant) -> None:
    use(tenant, MARCH, MARCH + HOUR)
    closed(tenant, APRIL)
    for moment in (MAY, JUNE, JULY):
        use(tenant, MARCH, MARCH + HOUR)
        assert [amount for _, _, amount in lines(closed(tenant, moment))] == [Decimal("0.01")]
    assert net_of_all() == Decimal("0.04")


def test_all_invoices_about_a_month_sum_to_its_rounded_cost(tenant: Tenant) -> None:
    """Twenty minutes cost a third of a cent: alone each rounds to nothing, together they are two cents."""
    part = timedelta(minutes=20)
    moments = [datetime(2026, month, 1, tzinfo=UTC) for month in range(4, 10)]
    for number, moment in enumerate(moments):
        use(tenant, MARCH, MARCH + part, bay=f"bay-{number % 2}")
        closed(tenant, moment)
    assert net_of_all() == Decimal("0.02")
    assert closed(tenant, datetime(2026, 10, 1, tzinfo=UTC)) is None


def test_use_that_turns_out_to_be_another_bays_moves_there(tenant: Tenant) -> None:
    (row,) = use(tenant, MARCH, MARCH + 100 * HOUR)
    closed(tenant, APRIL)
    row.delete()
    use(tenant, MARCH, MARCH + 100 * HOUR, bay="db")
    invoice = closed(tenant, MAY)
    assert [(text.split(": ")[1], amount) for _, text, amount in lines(invoice)] == [("db", Decimal(1)), ("web", Decimal(-1))]
    assert invoice is not None
    assert invoice.net == 0


def test_late_use_counts_in_the_tiers_and_terms_of_its_own_month(tenant: Tenant) -> None:
    with at(MARCH - HOUR):
        make_price(Flavor.objects.get(), "0.10", starts_at=MARCH, tiers=[{"from_hours": 100, "per_hour": "0.05"}])
    make_plan(tenant, title="Saver", discount_percent=Decimal(10), allowance=Decimal(2))
    make_plan(tenant, title="Plain", starts_at=APRIL)
    use(tenant, MARCH, MARCH + 90 * HOUR)
    assert lines(closed(tenant, APRIL))[1:] == [
        ("discount", "Saver: 10 % discount", Decimal("-0.90")),
        ("allowance", "Saver: monthly allowance", Decimal("-2.00")),
    ]
    use(tenant, MARCH, MARCH + 30 * HOUR, bay="db")  # ten hours at ten cents, twenty at five
    assert lines(closed(tenant, MAY)) == [
        ("late", "Late usage of March 2026: db: 30.00 host-hours of c1.small on local, by tiers", Decimal("2.00")),
        ("late", "Late usage of March 2026: Saver: 10 % discount", Decimal("-0.20")),
    ]


def test_late_use_within_a_commitment_costs_nothing_more(tenant: Tenant) -> None:
    make_plan(tenant, commitment=Decimal(50))
    make_plan(tenant, title="Plain", starts_at=APRIL)
    closed(tenant, APRIL)
    use(tenant, MARCH, MARCH + 100 * HOUR)
    invoice = closed(tenant, MAY)
    assert [amount for _, _, amount in lines(invoice)] == [Decimal(1), Decimal(-1)]
    assert invoice is not None
    assert invoice.gross == 0


def test_late_use_after_a_move_to_another_time_zone_is_still_that_of_the_periods_as_they_were_closed(tenant: Tenant) -> None:
    use(tenant, MARCH, APRIL)
    closed(tenant, APRIL)
    Account.objects.update(time_zone="Pacific/Auckland")
    run_month(at=JUNE)
    use(tenant, MARCH, MAY, bay="db")
    run_month(at=JULY)
    late = [line for invoice in Invoice.objects.all() for line in invoice.lines.filter(kind="late")]
    april = BilledPeriod.objects.get(start=APRIL)
    assert april.end == datetime(2026, 4, 30, 12, tzinfo=UTC)
    assert sum(line.seconds or 0 for line in late) == (MAY - MARCH).total_seconds()
    assert {line.used_from for line in late} == {MARCH, APRIL, april.end}


def test_a_change_within_what_was_not_invoiced_yet_is_not_late(tenant: Tenant) -> None:
    closed(tenant, APRIL)
    use(tenant, APRIL, APRIL + HOUR)
    assert Account.objects.get().late_from is None


def test_late_use_is_taxed_as_the_invoice_it_is_on(tenant: Tenant) -> None:
    TaxRate.objects.create(country="DE", percent=Decimal(19), starts_on=APRIL.date())
    closed(tenant, APRIL)
    Account.objects.update(country="DE")
    Issuer.objects.update_or_create(code="main", defaults={"legal_name": "Seller", "country": "DE", "is_default": True})
    use(tenant, MARCH, MARCH + 100 * HOUR)
    invoice = closed(tenant, MAY)
    assert invoice is not None
    assert (invoice.net, invoice.tax, invoice.gross) == (Decimal(1), Decimal("0.19"), Decimal("1.19"))
