"""The operators' pages of billing: prices with their effect before they are saved, plans, issuers, taxes, accounts, invoices, months."""

import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern
from django.utils.html import escape
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.billing.models import (
    Account,
    BilledPeriod,
    CreditGrant,
    Invoice,
    InvoiceLine,
    Issuer,
    Payment,
    Plan,
    Price,
    StripeEvent,
    Subscription,
    TaxRate,
)
from apps.billing.prices.changes import set_price
from apps.billing.terms.accounts import account_of, default_issuer, default_plan
from apps.billing.terms.plans import create_plan
from apps.common.clock import now
from apps.dashboard.billing_urls import BILLING, urlpatterns
from apps.hosts.models import Flavor
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import join, make_bay, make_cloud, make_flavor, make_price, make_tenant, make_user, owner_of
from tests.integration.billing.clock import at
from tests.integration.billing.debts import make_invoice

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
PRICES, PLANS, ISSUERS, ACCOUNTS, MONTHS = (f"/operators/billing/{part}/" for part in ("prices", "plans", "issuers", "accounts", "months"))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.fixture
def boss() -> User:
    user = make_user("boss@example.com")
    user.is_staff = True
    user.save()
    return user


@pytest.fixture
def operator(boss: User) -> Client:
    return signed_in(boss)


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor()
    with at(NOON):
        return make_tenant("crew")


@pytest.fixture
def invoice(tenant: Tenant) -> Invoice:
    found = make_invoice(tenant, "120.00")
    InvoiceLine.objects.create(tenant=tenant, invoice=found, position=1, kind="usage", text="web: hosts", amount=Decimal(100))
    InvoiceLine.objects.create(tenant=tenant, invoice=found, position=2, kind="usage", text="db: hosts", amount=Decimal(20))
    return found


def page_of(tenant: Tenant) -> str:
    return f"{ACCOUNTS}{tenant.id}/"


def page_of_invoice(invoice: Invoice) -> str:
    return f"/operators/billing/invoices/{invoice.id}/"


# --- for operators alone -------------------------------------------------------------------------------------------------------------


def addresses(tenant: Tenant, invoice: Invoice, boss: User) -> list[str]:
    """Return an address for every route, from the URL conf, with ids that exist."""
    flavor = Flavor.objects.get()
    later = set_price(by=boss.actor, flavor=flavor, per_hour=Decimal(1), currency="USD", starts_at=now() + timedelta(days=1))
    ids = {
        "<uuid:tenant_id>": tenant.id, "<uuid:invoice_id>": invoice.id, "<uuid:flavor_id>": flavor.id, "<int:price_id>": later.id,
        "<uuid:plan_id>": create_plan(by=boss.actor, code="beta", title="Beta", kind="payg").id,
        "<uuid:issuer_id>": Issuer.objects.create(code="acme", legal_name="Acme").id,
        "<str:event_id>": StripeEvent.objects.create(id="evt_1", kind="refund.failed", payload={}, received_at=now(), problem="See it.").id,
        "<int:rate_id>": TaxRate.objects.create(country="DE", percent=19, starts_on=date(2100, 1, 1)).id,
    }  # fmt: skip
    found = []
    for each in urlpatterns:
        assert isinstance(each, URLPattern)
        route = str(each.pattern)
        for name, value in ids.items():
            route = route.replace(name, str(value))
        assert route.startswith(BILLING)
        assert "<" not in route
        found.append(f"/{route}")
    return found


def test_for_everybody_but_operators_no_page_exists_and_nothing_changes(boss: User, tenant: Tenant, invoice: Invoice) -> None:
    known = addresses(tenant, invoice, boss)
    assert len(known) > 25
    billing, admin, dismissed = make_user(), make_user(), make_user()
    join(tenant, billing, role=Role.BILLING)
    join(tenant, admin, role=Role.ADMIN)
    before = AuditEvent.objects.count()
    for who in (owner_of(tenant), billing, admin, owner_of(make_tenant())):
        client = signed_in(who)
        for address in known:
            assert {client.get(address).status_code, client.post(address).status_code} <= {404, 405}, (who, address)
    former = signed_in(dismissed)
    User.objects.filter(id=dismissed.id).update(is_staff=True, is_active=False)
    for address in known:
        for client in (Client(), former):
            for answer in (client.get(address), client.post(address)):
                assert answer.status_code == 405 or answer.headers["Location"].startswith("/account/login/"), address
    assert AuditEvent.objects.count() == before


def test_every_page_shows_itself_to_an_operator_and_answers_to_ids_that_are_none(
    operator: Client, boss: User, tenant: Tenant, invoice: Invoice
) -> None:
    for address in addresses(tenant, invoice, boss):
        answer = operator.get(address)
        assert answer.status_code in {200, 405} or address.endswith("/pdf"), address
        assert answer.status_code != 200 or answer.headers["Cache-Control"] == "no-store"
    nobody = uuid.uuid4()
    for address in (f"{PRICES}{nobody}/", f"{ISSUERS}{nobody}/", f"{ACCOUNTS}{nobody}/", f"/operators/billing/invoices/{nobody}/pdf"):
        assert operator.get(address).status_code == 404, address
    for address in (f"{PRICES}999999/withdraw", f"{PLANS}{nobody}/retire", "/operators/billing/taxes/999999/withdraw"):
        assert operator.post(address).status_code == 404, address


# --- prices --------------------------------------------------------------------------------------------------------------------------


def test_the_price_book_shows_what_holds_what_follows_and_what_cannot_be_had(operator: Client, boss: User, tenant: Tenant) -> None:
    flavor = Flavor.objects.get()
    Flavor.objects.create(name="v9.new", host_kind="vm", vcpus=1, memory_mib=1024, disk_gib=10)
    set_price(by=boss.actor, flavor=flavor, per_hour=Decimal("0.0125"), currency="USD", starts_at=datetime(2100, 5, 1, tzinfo=UTC))
    page = operator.get(PRICES)
    for words in ("c1.small", "$0.01", "$0.0125", "from 1 May 2100 00:00 UTC", "have no price", "v9.new"):
        assertContains(page, words)


def test_a_price_is_previewed_then_saved(operator: Client, tenant: Tenant) -> None:
    with at(NOON):
        make_bay(tenant, "web", node_count=3)
    asked = {
        "flavor": "c1.small",
        "cloud": "",
        "currency": "USD",
        "per_hour": "0.02",
        "starts_at": "2100-04-01T00:00",
        "tiers": "1000 0.015",
    }
    page = operator.post(PRICES, asked)
    # 720 hours of three hosts: 21.60 before, 1000 h at 0.02 and 1160 h at 0.015 after
    for words in ("Nothing is saved yet", "Crew", "April 2100", "$21.60 → <b>$37.40</b>", "+$15.80", "$0.03 → $0.06"):
        assertContains(page, words)
    assert Price.objects.count() == 1
    answer = operator.post(f"{PRICES}save", page.context["fields"])
    price = Price.objects.get(starts_at=datetime(2100, 4, 1, tzinfo=UTC))
    assertRedirects(answer, f"{PRICES}{price.flavor_id}/")
    assert (price.per_hour, price.tiers, price.created_by) == (
        Decimal("0.02"), [{"from_hours": 1000, "per_hour": "0.015"}], "boss@example.com",
    )  # fmt: skip
    history = operator.get(f"{PRICES}{price.flavor_id}/")
    for words in ("Not yet", "Holds now", "$0.015 beyond 1000 h"):
        assertContains(history, words)
    again = operator.get(f"{PRICES}?{page.context['again']}")
    assertContains(again, 'value="0.02"')


def test_changing_begins_with_what_holds(operator: Client, tenant: Tenant) -> None:
    assertContains(operator.get(f"{PRICES}?flavor=c1.small&currency=USD"), 'value="0.01"')


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("per_hour", {"per_hour": "-1"}),
        ("per_hour", {"per_hour": "free"}),
        ("per_hour", {"per_hour": ""}),
        ("per_hour", {"per_hour": "NaN"}),
        ("per_hour", {"per_hour": "1e400"}),
        ("per_hour", {"ends": "on", "per_hour": ""}),
        ("starts_at", {"starts_at": "2001-01-01T00:00"}),
        ("starts_at", {"starts_at": "tomorrow"}),
        ("tiers", {"tiers": "1000"}),
        ("tiers", {"tiers": "1000 0.5\n10 0.4"}),
        ("tiers", {"tiers": "x y"}),
        ("flavor", {"flavor": "gone"}),
        ("cloud", {"cloud": "moon"}),
        ("currency", {"currency": "XXX"}),
    ],
)
def test_a_price_that_cannot_be_is_refused_beside_its_field_before_and_at_saving(
    operator: Client, tenant: Tenant, field: str, wrong: dict[str, str]
) -> None:
    for address in (PRICES, f"{PRICES}save"):
        answer = operator.post(address, {"flavor": "c1.small", "currency": "USD", "per_hour": "1", **wrong})
        assert answer.status_code == 422
        assert list(answer.context["form"].errors) == [field]
    assert Price.objects.count() == 1


def test_a_price_that_has_not_begun_is_withdrawn(operator: Client, boss: User, tenant: Tenant) -> None:
    flavor = Flavor.objects.get()
    later = set_price(by=boss.actor, flavor=flavor, per_hour=Decimal(1), currency="USD", starts_at=now() + timedelta(days=1))
    begun = Price.objects.exclude(id=later.id).get()
    assertRedirects(operator.post(f"{PRICES}{later.id}/withdraw"), f"{PRICES}{flavor.id}/")
    assertContains(operator.post(f"{PRICES}{begun.id}/withdraw", follow=True), "has begun and stays")
    assert Price.objects.get() == begun


# --- plans, issuers, taxes -----------------------------------------------------------------------------------------------------------


def test_a_plan_is_made_becomes_the_default_and_the_former_is_retired(operator: Client, tenant: Tenant) -> None:
    asked = {"title": "Beta", "code": "beta", "kind": "free", "currency": "USD", "allowance": "50"}
    assertRedirects(operator.post(PLANS, asked), PLANS)
    plan, former = Plan.objects.get(code="beta"), default_plan()
    operator.post(f"{PLANS}{plan.id}/default")
    operator.post(f"{PLANS}{former.id}/retire")
    page = operator.get(PLANS)
    assert [(row["plan"].code, row["organisations"]) for row in page.context["rows"]] == [("beta", 0), ("payg", 1)]
    for words in ("$50.00 a month free of charge", "For new ones", "Retired"):
        assertContains(page, words)
    assertContains(operator.post(f"{PLANS}{plan.id}/retire", follow=True), "make another one the default first")


def test_a_plan_that_cannot_be_is_refused_beside_its_field(operator: Client) -> None:
    answer = operator.post(PLANS, {"title": "Beta", "code": "Beta!", "kind": "payg"})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["code"])
    assertContains(operator.post(PLANS, {"title": "x", "code": "payg", "kind": "payg"}), "already", status_code=422)


def test_an_issuer_is_added_changed_and_chosen(operator: Client) -> None:
    default_issuer()
    asked = {"code": "acme", "legal_name": "Acme Ltd", "country": "IE", "payment_days": "30"}
    assertRedirects(operator.post(ISSUERS, asked), ISSUERS)
    assert operator.post(ISSUERS, asked).status_code == 422
    acme = Issuer.objects.get(code="acme")
    operator.post(f"{ISSUERS}{acme.id}/", {**asked, "code": "other", "vat_id": "IE1234567T"})
    operator.post(f"{ISSUERS}{acme.id}/default")
    acme.refresh_from_db()
    assert (acme.code, acme.vat_id, acme.is_default, Issuer.objects.count()) == ("acme", "IE1234567T", True, 2)
    answer = operator.post(f"{ISSUERS}{acme.id}/", {**asked, "email": "nobody", "legal_name": ""})
    assert (answer.status_code, set(answer.context["form"].errors)) == (422, {"legal_name"})


def test_a_tax_rate_is_set_and_withdrawn(operator: Client) -> None:
    for percent, starts_on in (("19", "2020-01-01"), ("21", "2100-01-01")):
        operator.post("/operators/billing/taxes/set", {"country": "DE", "name": "VAT", "percent": percent, "starts_on": starts_on})
    page = operator.get(ISSUERS)
    for words in ("Germany", "19.00 %", "21.00 %", "not yet"):
        assertContains(page, words)
    operator.post(f"/operators/billing/taxes/{TaxRate.objects.get(percent=21).id}/withdraw")
    assert TaxRate.objects.get().percent == 19
    wrong = {"country": "DE", "name": "VAT", "percent": "20", "starts_on": "2021-01-01"}
    assertContains(operator.post("/operators/billing/taxes/set", wrong), "never changes in the past", status_code=422)


# --- accounts ------------------------------------------------------------------------------------------------------------------------


def test_accounts_are_listed_with_what_they_spend_and_owe_and_found(operator: Client, tenant: Tenant, invoice: Invoice) -> None:
    other = make_tenant("other")
    with at(NOON):
        make_bay(tenant, "web", node_count=2)
    with at(NOON + timedelta(hours=10)):
        page = operator.get(ACCOUNTS)
    assertContains(page, "$0.20")
    assertContains(page, "$120.00")
    assert [row.tenant.slug for row in page.context["rows"]] == ["crew", "other"]
    assert [row.tenant for row in operator.get(ACCOUNTS, {"which": "owing"}).context["rows"]] == [tenant]
    assert [row.tenant for row in operator.get(ACCOUNTS, {"q": "othe"}).context["rows"]] == [other]
    assert not Account.objects.filter(tenant=other).exists()


def test_what_an_organisation_without_an_account_uses_is_shown_too(operator: Client, tenant: Tenant) -> None:
    with at(NOON):
        make_bay(tenant, "web", node_count=2)
    with at(NOON + timedelta(hours=10)):
        Account.objects.all().delete()
        assertContains(operator.get(ACCOUNTS), "$0.20")


def test_an_account_whose_spend_cannot_be_computed_does_not_hide_the_others(operator: Client, tenant: Tenant) -> None:
    account_of(tenant=tenant)
    Account.objects.update(time_zone="Mars/Olympus")
    assertContains(operator.get(ACCOUNTS), "crew")


def test_an_account_shows_terms_credit_and_invoices(operator: Client, tenant: Tenant, invoice: Invoice) -> None:
    page = operator.get(page_of(tenant))
    for words in ("Pay as you go", "USD", invoice.number, "Overdue", escape("It has invoices in its currency: that stays.")):
        assertContains(page, words)


def test_the_currency_is_changed_while_it_can_be(operator: Client, tenant: Tenant) -> None:
    assertRedirects(operator.post(f"{page_of(tenant)}currency", {"currency": "EUR"}), page_of(tenant))
    assert account_of(tenant=tenant).currency == "EUR"
    assertContains(operator.get(page_of(tenant)), "There is no price in EUR")
    make_price(Flavor.objects.get(), "0.01", currency="EUR")
    assertNotContains(operator.get(page_of(tenant)), "There is no price in EUR")
    make_bay(tenant)
    assertContains(operator.post(f"{page_of(tenant)}currency", {"currency": "USD"}), "that stays", status_code=422)


def test_a_plan_is_given_from_the_next_month_on(operator: Client, boss: User, tenant: Tenant) -> None:
    plan = create_plan(by=boss.actor, code="beta", title="Beta", kind="payg")
    euros = create_plan(by=boss.actor, code="euros", title="Euros", kind="free", allowance=Decimal(1), currency="EUR")
    with at(NOON):
        make_bay(tenant)
        assertRedirects(operator.post(f"{page_of(tenant)}plan", {"plan": plan.id}), page_of(tenant))
        assertContains(operator.get(page_of(tenant)), "From 2026-04-01 00:00 UTC")
        answer = operator.post(f"{page_of(tenant)}plan", {"plan": default_plan().id, "immediately": "on"})
        assertContains(answer, "billed in this period already", status_code=422)
        assert operator.post(f"{page_of(tenant)}plan", {"plan": euros.id}).status_code == 422
    assert Subscription.objects.get().plan == plan


def test_credit_is_granted_once_however_often_the_form_is_sent(operator: Client, tenant: Tenant) -> None:
    once = operator.get(page_of(tenant)).context["credit_form"].initial["once"]
    asked = {"kind": "promotional", "amount": "25", "reason": "Welcome", "expires_at": "2100-01-01", "once": once}
    for _ in range(2):
        assertRedirects(operator.post(f"{page_of(tenant)}credit", asked), page_of(tenant))
    grant = CreditGrant.objects.get()
    assert (grant.amount, grant.currency, grant.expires_at, grant.created_by) == (
        Decimal(25), "USD", datetime(2100, 1, 1, tzinfo=UTC), "boss@example.com",
    )  # fmt: skip
    assertContains(operator.get(page_of(tenant)), "left of $25.00")
    wrong: dict[str, Any]
    for wrong in ({"amount": "0"}, {"amount": "x"}, {"reason": ""}, {"kind": "gold"}, {"expires_at": "2001-01-01"}, {"once": "x"}):
        assert operator.post(f"{page_of(tenant)}credit", {**asked, "once": uuid.uuid4(), **wrong}).status_code == 422, wrong
    assert CreditGrant.objects.count() == 1


def test_days_are_those_of_the_organisations_calendar(operator: Client, tenant: Tenant, invoice: Invoice) -> None:
    Account.objects.update(time_zone="Asia/Tokyo")
    asked = {"kind": "prepaid", "amount": "25", "reason": "Bought", "expires_at": "2100-01-01", "once": uuid.uuid4()}
    operator.post(f"{page_of(tenant)}credit", asked)
    assert CreditGrant.objects.get().expires_at == datetime(2099, 12, 31, 15, tzinfo=UTC)
    assertContains(operator.get(page_of(tenant)), "until 2100-01-01")
    paid = {"amount": "1", "reference": "bank 1", "received_at": "2026-03-10", "provider": "manual"}
    operator.post(f"{page_of_invoice(invoice)}payment", paid)
    assertContains(operator.get(page_of_invoice(invoice)), "boss@example.com, 2026-03-10")


# --- invoices ------------------------------------------------------------------------------------------------------------------------


def test_a_payment_is_noted_once(operator: Client, invoice: Invoice) -> None:
    page = operator.get(page_of_invoice(invoice))
    assertContains(page, 'value="120.00"')
    asked = {"amount": "120.00", "reference": "bank 77", "received_at": "2026-03-10", "provider": "manual"}
    for _ in range(2):
        assertRedirects(operator.post(f"{page_of_invoice(invoice)}payment", asked), page_of_invoice(invoice))
    invoice.refresh_from_db()
    assert (invoice.state, invoice.paid, Payment.objects.get().created_by) == ("paid", Decimal(120), "boss@example.com")
    for wrong in ({"amount": "0"}, {"reference": ""}, {"provider": "cash"}, {"received_at": "2100-01-01"}):
        answer = operator.post(f"{page_of_invoice(invoice)}payment", {**asked, "reference": "bank 78", **wrong})
        assert (answer.status_code, list(answer.context["payment_form"].errors)) == (422, list(wrong))


def test_lines_are_taken_back_by_a_credit_note(operator: Client, invoice: Invoice) -> None:
    address = f"{page_of_invoice(invoice)}credit-note"
    assertContains(operator.post(address, {"reason": "x", "line_1": "101"}), "at most $100.00", status_code=422)
    assertContains(operator.post(address, {"reason": "x"}), "Name at least one line", status_code=422)
    assert operator.post(address, {"reason": "", "whole": "on"}).status_code == 422
    assertRedirects(operator.post(address, {"reason": "Outage on Monday", "line_1": "40.50"}), page_of_invoice(invoice))
    note = Invoice.objects.get(kind="credit_note")
    assert (note.gross, note.note) == (Decimal("-40.5"), "Outage on Monday")
    page = operator.get(page_of_invoice(invoice))
    for words in (note.number, "Outage on Monday", "$59.50", "$79.50"):
        assertContains(page, words)
    assertContains(operator.get(page_of_invoice(note)), invoice.number)
    operator.post(address, {"reason": "All of it", "whole": "on"})
    invoice.refresh_from_db()
    assert invoice.state == "cancelled"
    assertNotContains(operator.get(page_of_invoice(invoice)), "Issue a credit note")


def test_the_stored_pdf_is_sent(operator: Client, invoice: Invoice) -> None:
    assert operator.get(f"{page_of_invoice(invoice)}pdf").status_code == 404
    Invoice.objects.filter(id=invoice.id).update(pdf=b"%PDF-1.7")
    answer = operator.get(f"{page_of_invoice(invoice)}pdf")
    assert (answer.content, answer.headers["Content-Type"]) == (b"%PDF-1.7", "application/pdf")


# --- the monthly run -----------------------------------------------------------------------------------------------------------------


def test_months_that_are_stuck_are_named_with_their_reason(operator: Client, tenant: Tenant) -> None:
    broken, strange = make_tenant("broken"), make_tenant("strange")
    for each in (tenant, broken, strange):
        account_of(tenant=each)
    Account.objects.update(billed_until=datetime(2026, 3, 1, tzinfo=UTC))
    plan = Plan.objects.create(code="eur", title="Euros", kind="free", currency="EUR", allowance=1, created_at=NOON)
    Subscription.objects.create(tenant=broken, plan=plan, starts_at=datetime(2026, 1, 1, tzinfo=UTC), created_by="x", created_at=NOON)
    Account.objects.filter(tenant=strange).update(time_zone="Mars/Olympus")
    with at(datetime(2026, 4, 1, 12, tzinfo=UTC)):
        state = operator.get(MONTHS).context["state"]
        assert (state.due, [each.account.tenant.slug for each in state.stuck]) == (2, ["strange"])
    with at(datetime(2026, 4, 3, tzinfo=UTC)):
        page = operator.get(MONTHS)
    reasons = {each.account.tenant.slug: each.reason for each in page.context["state"].stuck}
    assert reasons["crew"] == ""
    assert "in EUR, but the account is billed in USD" in reasons["broken"]
    assert "Mars/Olympus" in reasons["strange"]
    assertContains(page, "no worker runs")


def test_the_page_of_months_tells_of_the_last_closing_and_asks_for_a_run(
    operator: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    BilledPeriod.objects.create(
        tenant=tenant, start=NOON, end=NOON + timedelta(days=1), time_zone="UTC", currency="USD", plan=default_plan(), closed_at=now()
    )
    state = operator.get(MONTHS).context["state"]
    assert (state.closed, state.issued, state.stuck_count) == (1, 0, 0)
    sent: list[str] = []
    monkeypatch.setattr("apps.dashboard.operator_billing_months.send", lambda *, task, **_: sent.append(task))
    assertRedirects(operator.post(f"{MONTHS}run"), MONTHS)
    assert sent == ["billing.run_month"]
