"""Money that came is noted once, as what it is: less leaves the rest owed, more becomes credit, and what went back is owed again."""

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.services import Actor
from apps.billing.credit.grants import balance_of
from apps.billing.models import CreditGrant, Invoice, Payment
from apps.billing.payments.checkout import start_topup, ways_to_pay
from apps.billing.payments.services import open_invoices, record_payment, record_refund
from apps.billing.receivables.owed import owed
from apps.common.clock import now
from apps.common.errors import Conflict, Forbidden, InvalidInput
from apps.common.scope import as_system
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.doubles.stripe_server import KEY, SECRET, serving
from tests.factories import access_for, api_of, join, make_tenant, make_user, owner_of
from tests.integration.billing.debts import DUE_ON, credit, make_invoice

pytestmark = pytest.mark.django_db
US = Actor.system("tests")


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("ann")


def pay(invoice: Invoice, amount: str, reference: str = "transfer 1", **more: Any) -> Payment:
    values = {"by": US, "provider": "manual", "currency": invoice.currency, "received_at": now(), **more}
    return record_payment(invoice=invoice, amount=Decimal(amount), reference=reference, **values)


def browser_of(user: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def test_a_payment_in_full_pays_the_invoice(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    payment = pay(invoice, "120.00")
    assert (invoice.state, invoice.paid) == (Invoice.State.PAID, Decimal(120))
    invoice.refresh_from_db()
    assert (invoice.state, owed(invoice=invoice)) == (Invoice.State.PAID, Decimal(0))
    assert (payment.amount, payment.created_by, payment.tenant_id) == (Decimal(120), US.label, tenant.id)
    event = AuditEvent.objects.get(action="payment.received")
    assert (event.tenant_id, event.data["reference"]) == (tenant.id, "transfer 1")
    assert "$120.00 for invoice" in event.sentence


def test_the_same_payment_told_twice_counts_once(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    assert pay(invoice, "50.00").id == pay(invoice, "50.00").id
    assert (invoice.paid, Payment.objects.count()) == (Decimal(50), 1)


def test_in_two_parts_the_rest_stays_owed_until_it_comes(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    pay(invoice, "119.99")
    assert (invoice.state, owed(invoice=invoice)) == (Invoice.State.OPEN, Decimal("0.01"))
    assert [row.id for row in open_invoices(tenant=tenant)] == [invoice.id]
    pay(invoice, "0.01", "transfer 2")
    assert invoice.state == Invoice.State.PAID
    assert open_invoices(tenant=tenant) == []


def test_what_is_paid_too_much_becomes_prepaid_credit_once(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "100.00")
    for _ in range(2):
        payment = pay(invoice, "130.00")
    assert payment.amount == Decimal(130)
    assert (invoice.paid, owed(invoice=invoice)) == (Decimal(100), Decimal(0))
    grant = CreditGrant.objects.get()
    assert (grant.kind, grant.amount, grant.currency, grant.tenant_id) == ("prepaid", Decimal(30), "USD", tenant.id)
    assert balance_of(tenant=tenant, at=now()).prepaid == Decimal(30)
    pay(invoice, "5.00", "transfer 2")
    assert balance_of(tenant=tenant, at=now()).prepaid == Decimal(35)


def test_after_a_credit_note_less_is_enough(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "100.00")
    credit(invoice, "40.00")
    pay(invoice, "60.00")
    assert invoice.state == Invoice.State.PAID
    assert not CreditGrant.objects.exists()


@pytest.mark.parametrize("amount", ["0", "-1", "0.001", "NaN", "Infinity", "1000000001"])
def test_what_is_no_amount_is_refused(amount: str, tenant: Tenant) -> None:
    with pytest.raises(InvalidInput, match="in whole cents of USD"):
        pay(make_invoice(tenant), amount)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"currency": "EUR"}, "is in USD"),
        ({"provider": "cheque"}, "must be one of: stripe, manual"),
        ({"reference": ""}, "how the bank or provider names"),
        ({"reference": " x"}, "how the bank or provider names"),
        ({"reference": "x" * 201}, "how the bank or provider names"),
        ({"reference": "a\nb"}, "how the bank or provider names"),
    ],
)
def test_a_payment_that_cannot_be_is_refused_with_what_is_allowed(wrong: dict[str, Any], sentence: str, tenant: Tenant) -> None:
    invoice = make_invoice(tenant)
    with pytest.raises(InvalidInput, match=sentence):
        pay(invoice, "1.00", **wrong)
    with pytest.raises(InvalidInput, match="when it has come"):
        pay(invoice, "1.00", received_at=now() + timedelta(minutes=1))
    assert not Payment.objects.exists()


def test_nothing_is_paid_on_credit_notes_and_cancelled_invoices(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, state=Invoice.State.CANCELLED)
    with pytest.raises(Conflict, match="is cancelled"):
        pay(invoice, "1.00")
    with pytest.raises(Conflict, match="is a credit note"):
        pay(credit(invoice, "120.00"), "1.00")


def test_one_reference_is_one_payment_whatever_it_is_told_to_be_for(tenant: Tenant) -> None:
    first, second = make_invoice(tenant), make_invoice(make_tenant("bob"))
    pay(first, "10.00")
    for invoice, amount in [(first, "11.00"), (second, "10.00")]:
        with pytest.raises(Conflict, match="stands for another payment"):
            pay(invoice, amount)
    assert Payment.objects.get().invoice_id == first.id


def test_owners_cannot_note_payments_of_their_own_invoices_but_operators_can(tenant: Tenant) -> None:
    invoice = make_invoice(tenant)
    with pytest.raises(Forbidden):
        pay(invoice, "120.00", by=owner_of(tenant).actor)
    operator = make_user("ops@example.com")
    User.objects.filter(id=operator.id).update(is_staff=True)
    assert pay(invoice, "120.00", by=operator.actor).created_by == operator.actor.label


def test_what_went_back_is_owed_again_and_only_its_total_counts(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "100.00")
    payment = pay(invoice, "100.00")
    payment = Payment.objects.select_related("invoice").get(id=payment.id)

    def back(total: str) -> Payment | None:
        return record_refund(by=US, payment=payment, total=Decimal(total), at=now())

    refund = back("30.00")
    assert refund is not None
    assert refund.amount == Decimal(-30)
    invoice.refresh_from_db()
    assert (invoice.state, owed(invoice=invoice)) == (Invoice.State.OPEN, Decimal(30))
    assert back("30.00") is None
    later = back("100.00")
    assert later is not None
    assert later.amount == Decimal(-70)
    assert back("50.00") is None
    for total in ("0", "100.01", "-1"):
        with pytest.raises(InvalidInput, match="at most 100"):
            back(total)
    invoice.refresh_from_db()
    assert (invoice.paid, Payment.objects.count()) == (Decimal(0), 3)


def test_after_a_credit_note_a_refund_leaves_nothing_owed(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "100.00")
    payment = pay(invoice, "100.00")
    credit(invoice, "30.00")
    record_refund(by=US, payment=payment, total=Decimal(30), at=now())
    invoice.refresh_from_db()
    assert (invoice.state, owed(invoice=invoice)) == (Invoice.State.PAID, Decimal(0))


def test_open_invoices_are_the_tenants_own_the_oldest_debt_first(tenant: Tenant) -> None:
    later = make_invoice(tenant, due_on=DUE_ON + timedelta(days=1))
    earlier = make_invoice(tenant)
    make_invoice(make_tenant("bob"))
    credit(earlier, "20.00")
    rows = open_invoices(tenant=tenant)
    assert [(row.id, owed(invoice=row)) for row in rows] == [(earlier.id, Decimal(100)), (later.id, Decimal(120))]


@pytest.mark.django_db(transaction=True)
def test_ten_at_once_note_one_payment_and_five_at_once_note_five() -> None:
    invoice = make_invoice(make_tenant("crowd"), "100.00")
    failures: list[BaseException] = []

    def note(reference: str, amount: str) -> None:
        try:
            with as_system("tests"):
                pay(Invoice.objects.get(id=invoice.id), amount, reference)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)
        finally:
            connection.close()

    wishes = [("one", "40.00")] * 10 + [(f"part {number}", "20.00") for number in range(5)]
    threads = [threading.Thread(target=note, args=wish) for wish in wishes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    invoice.refresh_from_db()
    assert (invoice.paid, invoice.state, Payment.objects.count()) == (Decimal(100), Invoice.State.PAID, 6)
    assert balance_of(tenant=invoice.tenant, at=now()).prepaid == Decimal(40)


# --- pages and REST ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stripe_account(settings: Settings) -> Any:
    with serving() as server:
        settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_API = KEY, SECRET, server.url
        yield server


def test_without_stripe_there_is_the_bank_and_no_word_of_cards(tenant: Tenant) -> None:
    invoice = make_invoice(tenant)
    assert [way.provider for way in ways_to_pay(access=access_for(tenant), invoice=invoice)] == ["manual"]
    answer = browser_of(owner_of(tenant)).get(f"/t/ann/billing/invoices/{invoice.number}")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Harbour Bank, IBAN XX12 3456 7890" in page
    assert 'id="pay-reference"' in page
    assert "card" not in page.lower().replace('class="card', "").replace("table-cards", "")
    refused = api_of(tenant).post(f"tenants/ann/invoices/{invoice.number}/pay", {"provider": "stripe"})
    assert (refused.status_code, refused.json()["code"]) == (422, "provider_not_offered")


def test_the_page_of_what_is_paid_offers_nothing_to_pay(tenant: Tenant, stripe_account: Any) -> None:
    invoice = make_invoice(tenant)
    pay(invoice, "120.00")
    assert ways_to_pay(access=access_for(tenant), invoice=invoice) == []
    refused = api_of(tenant).post(f"tenants/ann/invoices/{invoice.number}/pay", {"provider": "stripe"})
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_owed")


def test_the_button_leads_on_without_a_redirect_that_form_action_would_stop(tenant: Tenant, stripe_account: Any) -> None:
    invoice = make_invoice(tenant)
    client = browser_of(owner_of(tenant))
    page = client.get(f"/t/ann/billing/invoices/{invoice.number}").content.decode()
    assert f'action="/t/ann/billing/invoices/{invoice.number}/pay"' in page
    answer = client.post(f"/t/ann/billing/invoices/{invoice.number}/pay", {"provider": "stripe"})
    (session,) = stripe_account.sessions.values()
    assert answer.status_code == 200
    assert answer.headers["Refresh"] == f"0;url={session['url']}"
    assert f'href="{session["url"]}"' in answer.content.decode()
    assert "form-action 'self';" in f"{answer.headers['Content-Security-Policy']};"
    assert AuditEvent.objects.filter(action="payment.started", tenant_id=tenant.id).count() == 1


def test_paying_asks_for_the_right_to_and_never_happens_by_a_link(tenant: Tenant, stripe_account: Any) -> None:
    invoice = make_invoice(tenant)
    address = f"/t/ann/billing/invoices/{invoice.number}/pay"
    viewer, operator, stranger = make_user(), make_user(), make_user()
    join(tenant, viewer, role=Role.VIEWER)
    join(tenant, operator, role=Role.OPERATOR)
    for user, status in [(viewer, 403), (operator, 403), (stranger, 404)]:
        assert browser_of(user).post(address, {"provider": "stripe"}).status_code == status
    assert browser_of(owner_of(tenant)).get(address).status_code == 405
    other = make_invoice(make_tenant("bob"))
    assert browser_of(owner_of(tenant)).post(f"/t/ann/billing/invoices/{other.number}/pay", {"provider": "stripe"}).status_code == 404
    assert browser_of(owner_of(tenant)).post(address, {"provider": "cheque"}).status_code == 422
    assert stripe_account.asked == []


def test_rest_gives_the_address_to_pay_at(tenant: Tenant, stripe_account: Any) -> None:
    invoice = make_invoice(tenant)
    path = f"tenants/ann/invoices/{invoice.number}/pay"
    answer = api_of(tenant).post(path, {"provider": "stripe"})
    assert (answer.status_code, list(answer.json())) == (200, ["url"])
    assert answer.json()["url"].startswith(stripe_account.url)
    assert api_of(tenant).post(path, {"provider": "stripe"}).json() == answer.json()
    assert api_of(tenant).post(path, {"provider": "manual"}).json()["code"] == "no_checkout"
    billing, viewer = make_user(), make_user()
    join(tenant, billing, role=Role.BILLING)
    join(tenant, viewer, role=Role.VIEWER)
    assert api_of(tenant, billing).post(path, {"provider": "stripe"}).status_code == 200
    assert api_of(tenant, viewer).post(path, {"provider": "stripe"}).status_code == 403
    assert api_of(make_tenant("bob")).post(path, {"provider": "stripe"}).status_code == 404
    assert api_of(tenant).post("tenants/ann/invoices/none/pay", {"provider": "stripe"}).json()["code"] == "invoice_not_found"
    for body in ({"provider": 1}, {"provider": "stripe", "amount": 1}, {}):
        assert api_of(tenant).post(path, body).status_code == 422


def test_credit_is_bought_for_an_amount_that_can_be(tenant: Tenant, stripe_account: Any) -> None:
    assert start_topup(access=access_for(tenant), amount=Decimal("25.50")).startswith(stripe_account.url)
    ((_, _, asked),) = stripe_account.asked
    assert (asked["metadata"]["kind"], asked["metadata"]["tenant"]) == ("topup", str(tenant.id))
    assert asked["line_items"]["0"]["price_data"]["unit_amount"] == "2550"
    for amount in ("0", "0.99", "-5", "100000.01", "1.001", "NaN"):
        with pytest.raises(InvalidInput, match="from 1 to 100,000 USD"):
            start_topup(access=access_for(tenant), amount=Decimal(amount))
    viewer = make_user()
    join(tenant, viewer, role=Role.VIEWER)
    with pytest.raises(Forbidden):
        start_topup(access=access_for(tenant, viewer), amount=Decimal(5))
