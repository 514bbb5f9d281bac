"""What of payments waits for a person, in the operators' console: events of Stripe with a problem, and money that went back."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from unittest.mock import patch

import pytest
from django.test import Client
from pytest_django import Settings
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.services import Actor
from apps.billing.models import Invoice, Payment, StripeEvent
from apps.billing.payments.attention import LONGEST_NOTE, MOST_SHOWN, settle, waiting_rows
from apps.billing.payments.services import record_payment
from apps.billing.payments.stripe_events import handle, handle_waiting, receive
from apps.common.clock import now
from apps.common.errors import Conflict, Forbidden, InvalidInput, NotFound
from apps.tenants.models import Tenant
from tests.factories import make_tenant, owner_of
from tests.integration.billing.debts import make_invoice
from tests.integration.billing.test_operator_billing import boss, operator, page_of_invoice

__all__ = ["boss", "operator"]
pytestmark = pytest.mark.django_db
PAGE = "/operators/billing/payments/"
HERE = Actor.system("test")


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("crew")


def dispute(name: str = "evt_dispute", **subject: object) -> StripeEvent:
    """Return an event that only a person can decide about."""
    about = {"object": "dispute", "id": "dp_1", "payment_intent": "pi_1", **subject}
    return StripeEvent.objects.create(
        id=name, kind="charge.dispute.created", payload={"data": {"object": about}}, received_at=now(), handled_at=now(),
        problem="See dispute dp_1 at Stripe, and note by hand what came of it.",
    )  # fmt: skip


def stuck(tenant: Tenant, invoice: Invoice) -> StripeEvent:
    """Return an event of a payment that could not be acted upon, since the database had a bad moment."""
    session = {
        "object": "checkout.session", "id": "cs_1", "payment_status": "paid", "payment_intent": "pi_7", "currency": "usd",
        "amount_total": 12000,
        "metadata": {"installation": "ours", "tenant": str(tenant.id), "invoice": str(invoice.id), "kind": "invoice"},
    }  # fmt: skip
    event = {"id": "evt_stuck", "type": "checkout.session.completed", "created": 1_772_000_000, "data": {"object": session}}
    with patch("apps.billing.payments.stripe_events.record_payment", side_effect=RuntimeError("a bad moment")):
        return receive(event=event)


def test_what_waits_is_shown_with_its_reason_and_whose_it_is(operator: Client, tenant: Tenant) -> None:
    assertContains(operator.get(PAGE), "Nothing waits")
    dispute(metadata={"tenant": str(tenant.id)})
    dispute("evt_other", metadata={"tenant": "no id"})
    page = operator.get(PAGE)
    for words in ("charge.dispute.created", "note by hand what came of it", "evt_dispute", "dispute dp_1", f"/accounts/{tenant.id}/"):
        assertContains(page, words)
    assert [each.tenant for each in waiting_rows()] == [tenant, None]
    assertNotContains(page, "Try again")
    assertContains(operator.get("/operators/"), "Payments with a question")
    assert operator.get("/operators/").context["payments"] == 2


def test_what_is_dealt_with_waits_no_longer_and_stands_in_the_audit_log(operator: Client) -> None:
    dispute()
    assertContains(operator.post(f"{PAGE}evt_dispute/settle", {"note": " "}), "What was done about it", status_code=422)
    assertRedirects(operator.post(f"{PAGE}evt_dispute/settle", {"note": "Lost; credit note 2026-C1"}), PAGE)
    row = StripeEvent.objects.get()
    assert (row.settled_by, row.settled_note, row.settled_at is not None) == ("boss@example.com", "Lost; credit note 2026-C1", True)
    assert AuditEvent.objects.get(action="payment.event_settled").sentence.endswith("Lost; credit note 2026-C1")
    assertContains(operator.get(PAGE), "Nothing waits")
    again = operator.post(f"{PAGE}evt_dispute/settle", {"note": "Twice"})
    assertContains(again, "waits for nobody", status_code=409)
    StripeEvent.objects.filter(settled_note="Lost; credit note 2026-C1").get()


def test_an_event_that_failed_is_tried_again_by_a_button(operator: Client, tenant: Tenant, settings: Settings) -> None:
    settings.INSTALLATION = "ours"
    invoice = make_invoice(tenant, "120.00")
    stuck(tenant, invoice)
    assertContains(operator.get(PAGE), "A mistake in Carina itself: RuntimeError.")
    with patch("apps.billing.payments.stripe_events.record_payment", side_effect=RuntimeError):
        assertContains(operator.post(f"{PAGE}evt_stuck/again", follow=True), "Still not: A mistake in Carina itself")
    assertContains(operator.post(f"{PAGE}evt_stuck/again", follow=True), "The event is acted upon.")
    assert (Payment.objects.get().amount, Invoice.objects.get().state) == (Decimal(120), "paid")


def test_nothing_is_done_by_itself_about_what_somebody_dealt_with(tenant: Tenant, settings: Settings) -> None:
    settings.INSTALLATION = "ours"
    event = stuck(tenant, make_invoice(tenant, "120.00"))
    settle(by=HERE, event_id=event.id, note="Noted by hand")
    assert handle_waiting(at=now() + timedelta(hours=1), however_old=True) == []
    assert handle(event_id=event.id).handled_at is None
    assert not Payment.objects.exists()


def test_dealing_with_an_event_is_for_operators_and_says_something(tenant: Tenant) -> None:
    dispute()
    with pytest.raises(Forbidden):
        settle(by=owner_of(tenant).actor, event_id="evt_dispute", note="x")
    with pytest.raises(NotFound):
        settle(by=HERE, event_id="evt_none", note="x")
    for note in ("", "  ", "x" * (LONGEST_NOTE + 1)):
        with pytest.raises(InvalidInput, match="Say what was done"):
            settle(by=HERE, event_id="evt_dispute", note=note)
    settle(by=HERE, event_id="evt_dispute", note="x" * LONGEST_NOTE)
    with pytest.raises(Conflict):
        settle(by=HERE, event_id="evt_dispute", note="x")


def test_a_long_list_says_how_much_is_not_shown(operator: Client) -> None:
    for number in range(MOST_SHOWN + 1):
        dispute(f"evt_{number}")
    assertContains(operator.get(PAGE), f"The {MOST_SHOWN} that wait longest, of {MOST_SHOWN + 1}.")


def test_addresses_of_events_that_are_none_are_not_found(operator: Client) -> None:
    for what in ("again", "settle"):
        assert operator.post(f"{PAGE}evt_none/{what}", {"note": "x"}).status_code == 404


# --- what went back ------------------------------------------------------------------------------------------------------------------


def test_what_went_back_is_noted_at_the_invoice_by_its_total(operator: Client, tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    page = page_of_invoice(invoice)
    assertNotContains(operator.get(page), "Note what went back")
    payment = record_payment(
        by=HERE, invoice=invoice, provider="manual", reference="bank 77", amount=Decimal(120), currency="USD",
        received_at=datetime(2026, 3, 10, tzinfo=UTC),
    )  # fmt: skip
    assertContains(operator.get(page), "bank 77: $120.00")
    asked = {"payment": str(payment.id), "amount": "20", "received_at": "2026-03-12"}
    assertContains(operator.post(f"{page}refund", asked, follow=True), "What went back is noted.")
    assertContains(operator.post(f"{page}refund", asked, follow=True), "That much had been noted before")
    invoice.refresh_from_db()
    assert (invoice.paid, invoice.state) == (Decimal(100), "open")
    assertContains(operator.post(f"{page}refund", {**asked, "amount": "50"}, follow=True), "What went back is noted.")
    assert sorted(Payment.objects.values_list("amount", flat=True)) == [Decimal(-30), Decimal(-20), Decimal(120)]
    foreign = record_payment(
        by=HERE, invoice=make_invoice(tenant, "1.00"), provider="manual", reference="bank 78", amount=Decimal(1), currency="USD",
        received_at=now(),
    )  # fmt: skip
    for wrong in ({"amount": "121"}, {"amount": "0"}, {"payment": str(foreign.id)}, {"payment": ""}, {"received_at": "2100-01-01"}):
        answer = operator.post(f"{page}refund", {**asked, **wrong})
        assert (answer.status_code, list(answer.context["refund_form"].errors)) == (422, list(wrong))
    assert Payment.objects.count() == 4


def test_owners_note_no_refunds(tenant: Tenant) -> None:
    client = Client()
    client.force_login(User.objects.get(id=owner_of(tenant).id), backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.post(f"{page_of_invoice(make_invoice(tenant))}refund", {}).status_code == 404
