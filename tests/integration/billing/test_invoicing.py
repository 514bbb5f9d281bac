"""A month becomes an invoice once: the draft that was shown all along, with a number."""

import itertools
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.audit.models import AuditEvent
from apps.audit.services import Actor
from apps.billing.credit.grants import grant_credit
from apps.billing.invoices.closing import issue_period, run_month
from apps.billing.invoices.drafts import Draft, draft_of
from apps.billing.models import Account, BilledPeriod, CreditUse, Invoice, InvoiceSeries, Issuer, Plan, Subscription, TaxRate
from apps.billing.receivables.owed import owed
from apps.common.clock import now
from apps.common.scope import in_tenant
from apps.hosts.models import Flavor
from apps.tenants.models import Tenant
from tests.factories import make_cloud, make_flavor, make_price, make_tenant
from tests.integration.billing.clock import at
from tests.integration.billing.months import APRIL, JUNE, MARCH, MAY, make_account, make_plan, use

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
DUE = APRIL + HOUR


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    tenant = make_tenant("acme")
    make_account(tenant)
    return tenant


def account_of(tenant: Tenant) -> Account:
    return Account.objects.select_related("tenant").get(tenant=tenant)


def issued(tenant: Tenant, moment: datetime = DUE) -> Invoice:
    invoice = issue_period(tenant_id=tenant.id, at=moment)
    assert invoice is not None
    return Invoice.objects.get(id=invoice.id)


def lines(invoice: Invoice) -> list[tuple[str, str, Decimal]]:
    return [(line.kind, line.text, line.amount) for line in invoice.lines.order_by("position")]


def said(draft: Draft) -> list[tuple[str, str, Decimal]]:
    return [(line.kind, line.text, line.amount) for line in draft.lines]


def credit(tenant: Tenant, amount: str, kind: str = "prepaid") -> None:
    grant_credit(by=Actor.system("tests"), tenant=tenant, kind=kind, amount=Decimal(amount), currency="USD", reason="Welcome")


# --- what an invoice says ---------------------------------------------------------------------------------------------------------


def test_a_host_that_ran_all_march_is_744_hours(tenant: Tenant) -> None:
    use(tenant, MARCH - HOUR, MAY)
    invoice = issued(tenant)
    assert lines(invoice) == [("usage", "web: 744.00 host-hours of c1.small on local", Decimal("7.440"))]
    (line,) = invoice.lines.all()
    assert (line.seconds, line.per_hour, line.used_from) == (744 * 3600, Decimal("0.01"), MARCH)
    assert (invoice.number, invoice.net, invoice.gross, invoice.state) == ("2026-000001", Decimal("7.44"), Decimal("7.44"), "open")
    assert (invoice.period_start, invoice.period_end, invoice.currency) == (MARCH, APRIL, "USD")
    assert account_of(tenant).billed_until == APRIL


def test_the_draft_of_the_month_is_what_the_invoice_then_says(tenant: Tenant) -> None:
    TaxRate.objects.create(country="DE", name="VAT", percent=Decimal(19), starts_on=datetime(2020, 1, 1, tzinfo=UTC))
    Issuer.objects.create(code="main", legal_name="Seller", country="DE", is_default=True)
    credit(tenant, "3.00", "promotional")
    credit(tenant, "1.00")
    make_plan(tenant, discount_percent=Decimal(10), commitment=Decimal(20))
    use(tenant, MARCH, None, hosts=2)
    use(tenant, MARCH + 3 * HOUR, MARCH + 5 * HOUR, bay="db")
    draft = draft_of(account=account_of(tenant), at=DUE)
    invoice = issued(tenant)
    assert lines(invoice) == said(draft)
    assert (invoice.net, invoice.tax, invoice.gross, invoice.paid) == (draft.net, draft.tax, draft.gross, draft.prepaid_used)
    assert [kind for kind, _, _ in lines(invoice)] == ["usage", "usage", "discount", "commitment", "promotion"]
    assert (invoice.net, invoice.tax, invoice.gross) == (Decimal(17), Decimal("3.23"), Decimal("20.23"))
    assert draft.left_to_pay == owed(invoice=invoice) == Decimal("19.23")


def test_half_way_the_draft_counts_what_was_used_so_far(tenant: Tenant) -> None:
    use(tenant, MARCH, None)
    draft = draft_of(account=account_of(tenant), at=MARCH + 100 * HOUR)
    assert said(draft) == [("usage", "web: 100.00 host-hours of c1.small on local", Decimal("1.00"))]
    assert not Invoice.objects.exists()


def test_lines_are_in_the_order_of_names_and_sum_to_the_rounded_total(tenant: Tenant) -> None:
    for bay in ("c", "a", "b"):
        use(tenant, MARCH, MARCH + timedelta(minutes=20), bay=bay)
    invoice = issued(tenant)
    assert [text[:1] for _, text, _ in lines(invoice)] == ["a", "b", "c"]
    assert sum(amount for _, _, amount in lines(invoice)) == invoice.net == Decimal("0.01")


def test_a_price_that_changes_inside_the_month_makes_two_lines(tenant: Tenant) -> None:
    with at(MARCH):
        make_price(Flavor.objects.get(), "0.020", starts_at=MARCH + 100 * HOUR)
    use(tenant, MARCH, APRIL)
    invoice = issued(tenant)
    assert list(invoice.lines.order_by("position").values_list("seconds", "per_hour", "amount")) == [
        (100 * 3600, Decimal("0.01"), Decimal("1.00")),
        (644 * 3600, Decimal("0.02"), Decimal("12.88")),
    ]


def test_what_buyer_and_seller_were_called_is_kept(tenant: Tenant) -> None:
    use(tenant, MARCH, APRIL)
    Account.objects.update(legal_name="Acme GmbH", address="Road 1", country="DE", vat_id="DE123456789", email="pay@acme.example")
    invoice = issued(tenant)
    Account.objects.update(legal_name="Other")
    Issuer.objects.update(legal_name="Bought up")
    invoice.refresh_from_db()
    assert invoice.customer["legal_name"] == "Acme GmbH"
    assert (invoice.customer["tenant"], invoice.customer["vat_id"]) == ("acme", "DE123456789")
    assert invoice.seller["legal_name"] == "Carina"
    assert invoice.due_on == (DUE + timedelta(days=14)).date()


def test_issuing_is_in_the_log(tenant: Tenant) -> None:
    use(tenant, MARCH, APRIL)
    invoice = issued(tenant)
    event = AuditEvent.objects.get(action="invoice.issued")
    assert (event.tenant_id, event.target_label, event.actor_id) == (tenant.id, invoice.number, "system:invoicing")
    assert event.sentence == "issued invoice 2026-000001 over $7.44"


# --- plans and credit -------------------------------------------------------------------------------------------------------------


def test_an_allowance_that_covers_everything_makes_an_invoice_of_nothing_that_is_paid(tenant: Tenant) -> None:
    make_plan(tenant, kind=Plan.Kind.FREE, title="Beta", allowance=Decimal(100))
    use(tenant, MARCH, APRIL)
    invoice = issued(tenant)
    assert lines(invoice)[1] == ("allowance", "Beta: monthly allowance", Decimal("-7.44"))
    assert (invoice.gross, invoice.state, owed(invoice=invoice)) == (Decimal(0), "paid", Decimal(0))


def test_a_commitment_is_charged_also_for_a_month_without_use(tenant: Tenant) -> None:
    make_plan(tenant, kind=Plan.Kind.COMMITTED, commitment=Decimal(50))
    assert lines(issued(tenant)) == [("commitment", "Special: up to the monthly commitment", Decimal(50))]


def test_the_plan_is_that_of_the_months_beginning(tenant: Tenant) -> None:
    make_plan(tenant, starts_at=MARCH + HOUR, discount_percent=Decimal(50))
    use(tenant, MARCH, MAY)
    assert issued(tenant).net == Decimal("7.44")
    assert issued(tenant, MAY + HOUR).net == Decimal("3.60")


def test_promotions_lower_what_is_charged_and_prepaid_credit_pays_the_rest(tenant: Tenant) -> None:
    credit(tenant, "5.00", "promotional")
    credit(tenant, "100.00")
    use(tenant, MARCH, APRIL)
    invoice = issued(tenant)
    assert lines(invoice)[-1] == ("promotion", "Promotional credit: Welcome", Decimal(-5))
    assert (invoice.net, invoice.paid, invoice.state) == (Decimal("2.44"), Decimal("2.44"), "paid")
    assert sorted(CreditUse.objects.values_list("grant__kind", "amount")) == [("prepaid", Decimal("2.44")), ("promotional", Decimal(5))]


def test_credit_that_does_not_suffice_leaves_the_rest_open(tenant: Tenant) -> None:
    credit(tenant, "2.00")
    use(tenant, MARCH, APRIL)
    invoice = issued(tenant)
    assert (invoice.paid, invoice.state, owed(invoice=invoice)) == (Decimal(2), "open", Decimal("5.44"))


def test_credit_is_used_once_over_the_months(tenant: Tenant) -> None:
    credit(tenant, "10.00")
    use(tenant, MARCH, MAY)
    run_month(at=MAY + HOUR)
    assert list(Invoice.objects.order_by("number").values_list("gross", "paid")) == [
        (Decimal("7.44"), Decimal("7.44")),
        (Decimal("7.20"), Decimal("2.56")),
    ]


def test_a_plan_in_another_currency_is_said_and_nothing_is_issued(tenant: Tenant) -> None:
    make_plan(tenant, allowance=Decimal(1))
    use(tenant, MARCH, APRIL)
    Account.objects.update(currency="EUR")
    ((_, sentence),) = run_month(at=DUE).failed
    assert sentence == "The plan “Special” is in USD, but the account is billed in EUR: give it another plan."


# --- when a month is closed -------------------------------------------------------------------------------------------------------


def test_a_month_is_closed_an_hour_after_its_end_and_only_once(tenant: Tenant) -> None:
    use(tenant, MARCH, APRIL)
    assert issue_period(tenant_id=tenant.id, at=DUE - timedelta(seconds=1)) is None
    assert not Invoice.objects.exists()
    issued(tenant)
    assert issue_period(tenant_id=tenant.id, at=DUE) is None
    run = run_month(at=DUE)
    assert (run.issued, run.empty, run.nothing_due, run.failed) == (0, 0, 1, [])
    assert Invoice.objects.count() == BilledPeriod.objects.count() == 1


def test_months_without_anything_are_closed_without_an_invoice(tenant: Tenant) -> None:
    run = run_month(at=JUNE + HOUR)
    assert (run.issued, run.empty) == (0, 3)
    assert account_of(tenant).billed_until == JUNE
    assert not InvoiceSeries.objects.exists()


def test_who_is_months_behind_is_caught_up_month_by_month(tenant: Tenant) -> None:
    use(tenant, MARCH, APRIL)
    use(tenant, MAY, JUNE)
    run = run_month(at=JUNE + HOUR)
    assert (run.issued, run.empty) == (2, 1)
    assert list(Invoice.objects.order_by("number").values_list("number", "period_start")) == [
        ("2026-000001", MARCH),
        ("2026-000002", MAY),
    ]


@pytest.mark.parametrize(
    ("zone", "start", "end", "hours"),
    [
        ("Pacific/Auckland", datetime(2026, 2, 28, 11, tzinfo=UTC), datetime(2026, 3, 31, 11, tzinfo=UTC), 744),
        ("Pacific/Auckland", datetime(2026, 3, 31, 11, tzinfo=UTC), datetime(2026, 4, 30, 12, tzinfo=UTC), 721),
        ("America/St_Johns", datetime(2026, 3, 1, 3, 30, tzinfo=UTC), datetime(2026, 4, 1, 2, 30, tzinfo=UTC), 743),
        ("Europe/Berlin", datetime(2026, 10, 1, 0, tzinfo=UTC) - 2 * HOUR, datetime(2026, 10, 31, 23, tzinfo=UTC), 745),
    ],
)
def test_a_month_is_that_of_the_tenants_calendar(zone: str, start: datetime, end: datetime, hours: int) -> None:
    make_cloud()
    make_flavor(price="0.010")
    tenant = make_tenant()
    make_account(tenant, billed_until=start, zone=zone)
    use(tenant, start - HOUR, end + HOUR)
    assert issue_period(tenant_id=tenant.id, at=end + HOUR - timedelta(seconds=1)) is None
    invoice = issued(tenant, end + HOUR)
    assert (invoice.period_start, invoice.period_end, invoice.time_zone) == (start, end, zone)
    assert invoice.lines.get().seconds == hours * 3600


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kathmandu"])
def test_another_time_zone_in_mid_month_leaves_neither_gap_nor_overlap(tenant: Tenant, zone: str) -> None:
    use(tenant, MARCH, JUNE)
    issued(tenant)
    Account.objects.update(time_zone=zone)
    run_month(at=datetime(2026, 7, 3, tzinfo=UTC))
    periods = list(BilledPeriod.objects.order_by("start").values_list("start", "end"))
    assert periods[0][0] == MARCH
    assert all(before[1] == after[0] for before, after in itertools.pairwise(periods))
    assert sum(invoice.lines.get().seconds or 0 for invoice in Invoice.objects.all()) == (JUNE - MARCH).total_seconds()


def test_moving_to_other_time_zones_gains_no_second_allowance(tenant: Tenant) -> None:
    make_plan(tenant, allowance=Decimal(744))
    use(tenant, MARCH, JUNE, hosts=1000)
    issued(tenant)
    Account.objects.update(time_zone="Etc/GMT+12")  # what is left of its March are twelve hours
    stub = issued(tenant, APRIL + 13 * HOUR)
    assert (stub.period_end - stub.period_start, stub.net) == (12 * HOUR, Decimal(120) - Decimal(12))


# --- many tenants -----------------------------------------------------------------------------------------------------------------


def test_numbers_have_no_gap_and_a_month_that_fails_takes_none(tenant: Tenant) -> None:
    others = [make_tenant() for _ in range(4)]
    for each in others:
        make_account(each)
    for each in [tenant, *others]:
        use(each, MARCH, APRIL)
    Account.objects.filter(tenant=others[1]).update(time_zone="Nowhere/Bad")
    run = run_month(at=DUE)
    assert run.issued == 4
    ((failed, sentence),) = run.failed
    assert failed == others[1].id
    assert "Nowhere/Bad" in sentence
    assert sorted(Invoice.objects.values_list("number", flat=True)) == [f"2026-00000{number}" for number in range(1, 5)]
    Account.objects.update(time_zone="UTC")
    assert run_month(at=DUE).issued == 1
    assert Invoice.objects.get(tenant=others[1]).number == "2026-000005"


def test_a_month_that_fails_after_its_number_was_taken_gives_it_back(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tenant, MARCH, APRIL)

    def broken(**_: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("apps.billing.invoices.issuing.record_all", broken)
        ((_, sentence),) = run_month(at=DUE).failed
    assert sentence == "RuntimeError: power cut"
    assert (Invoice.objects.count(), InvoiceSeries.objects.count(), account_of(tenant).billed_until) == (0, 0, MARCH)
    assert issued(tenant).number == "2026-000001"


def test_what_the_first_one_made_before_it_failed_is_not_missed_by_the_others(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issuer and plan of a new portal are made when they are first needed, which may be in a month that fails."""
    other = make_tenant()
    make_account(other)
    for each in (tenant, other):
        use(each, MARCH, APRIL)
    failures = iter([RuntimeError("power cut")] * 2)  # of both together, and of the first on its own

    def broken_at_first(**_: object) -> None:
        for failure in failures:
            raise failure

    monkeypatch.setattr("apps.billing.invoices.issuing.record_all", broken_at_first)
    run = run_month(at=DUE)
    assert (run.issued, len(run.failed)) == (1, 1)
    assert Invoice.objects.get().number == "2026-000001"


def test_a_month_that_fails_leaves_those_that_were_closed_with_it_as_they_would_be_alone(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [make_tenant() for _ in range(3)]
    for each in others:
        make_account(each)
    for each in (tenant, *others):
        use(each, MARCH, MAY)
    broken = others[1].id
    monkeypatch.setattr("apps.billing.invoices.issuing._settle", lambda draft, _invoice, **_: 1 // (draft.account.tenant_id != broken))
    run = run_month(at=MAY + HOUR)
    assert (run.issued, run.failed) == (6, [(broken, "ZeroDivisionError: integer division or modulo by zero")])
    assert not Invoice.objects.filter(tenant_id=broken).exists()
    assert sorted(Invoice.objects.values_list("number", flat=True)) == [f"2026-00000{number}" for number in range(1, 7)]


def test_each_year_has_a_series_of_its_own(tenant: Tenant) -> None:
    december = datetime(2026, 12, 1, tzinfo=UTC)
    Account.objects.update(billed_until=december)
    use(tenant, december, None)
    assert [issued(tenant, moment).number for moment in (datetime(2027, 1, 1, 1, tzinfo=UTC), datetime(2027, 2, 2, tzinfo=UTC))] == [
        "2027-000001",
        "2027-000002",
    ]


def test_tenants_with_something_to_bill_get_an_account() -> None:
    make_cloud()
    make_flavor()
    used, committed, idle = make_tenant(), make_tenant(), make_tenant()
    Tenant.objects.update(created_at=MARCH + HOUR)
    use(used, MARCH + HOUR, APRIL)
    make_plan(committed, commitment=Decimal(5))
    assert run_month(at=DUE).issued == 2
    assert set(Account.objects.values_list("tenant_id", flat=True)) == {used.id, committed.id}
    assert not Account.objects.filter(tenant=idle).exists()


def test_a_tenants_invoice_takes_few_questions_whatever_it_used(tenant: Tenant) -> None:
    for number in range(8):
        use(tenant, MARCH, MAY, bay=f"bay-{number}")
    issue_period(tenant_id=tenant.id, at=DUE)
    with CaptureQueriesContext(connection) as asked:
        issue_period(tenant_id=tenant.id, at=MAY + HOUR)
    mine = [query["sql"] for query in asked if not re.match(r"(RELEASE )?SAVEPOINT|SELECT set_config", query["sql"])]
    shared = [sql for sql in mine if re.search(r'FROM "(billing_price|billing_issuer|billing_plan|billing_taxrate|hosts_\w+)"', sql)]
    assert len(mine) - len(shared) <= 13, mine


def test_the_command_tells_what_it_did_and_fails_where_it_failed(tenant: Tenant, capsys: pytest.CaptureFixture[str]) -> None:
    use(tenant, MARCH, APRIL)
    broken = make_tenant("broken")
    make_account(broken, zone="Nowhere/Bad")
    with at(DUE):
        call_command("issue_invoices", "--tenant", "acme")
        assert "Invoices issued: 1. Months without any: 0. Accounts with nothing due: 0." in capsys.readouterr().out
        with pytest.raises(CommandError, match="Failed for 1 of the organisations"):
            call_command("issue_invoices")
        assert "broken: " in capsys.readouterr().err
        with pytest.raises(CommandError, match="There is no organisation “nobody”"):
            call_command("issue_invoices", "--tenant", "nobody")


# --- walls ------------------------------------------------------------------------------------------------------------------------


def test_invoices_periods_and_lines_of_others_are_not_there_in_a_tenants_scope(tenant: Tenant) -> None:
    use(tenant, MARCH, APRIL)
    issued(tenant)
    stranger = make_tenant()
    with in_tenant(stranger.id):
        assert not Invoice.objects.exists()
        assert not BilledPeriod.objects.exists()
        assert Invoice.objects.count() == 0
    with in_tenant(tenant.id):
        assert Invoice.objects.get().lines.count() == 1


def test_in_a_strangers_scope_nothing_can_be_issued(tenant: Tenant) -> None:
    use(tenant, MARCH, APRIL)
    with in_tenant(UUID(int=0)):
        assert run_month(at=DUE).issued == 0
    assert not Invoice.objects.exists()


@pytest.mark.parametrize("change", [{"net": 1}, {"number": "2026-000009"}, {"customer": {}}])
def test_what_was_issued_never_changes(tenant: Tenant, change: dict[str, object]) -> None:
    use(tenant, MARCH, APRIL)
    invoice = issued(tenant)
    with pytest.raises(DatabaseError, match="issued and never changes"), transaction.atomic():
        Invoice.objects.filter(id=invoice.id).update(**change)
    with pytest.raises(DatabaseError, match="issued and never changes"), transaction.atomic():
        invoice.lines.update(amount=0)
    with pytest.raises(DatabaseError, match="issued and never changes"), transaction.atomic():
        BilledPeriod.objects.update(end=MAY)


def test_a_subscription_alone_makes_no_account_unless_it_asks_for_money() -> None:
    tenant = make_tenant()
    plan = Plan.objects.create(code="free", title="Free", kind=Plan.Kind.FREE, created_at=now())
    Subscription.objects.create(tenant=tenant, plan=plan, starts_at=MARCH, created_by="tests", created_at=now())
    run_month(at=DUE)
    assert not Account.objects.exists()
