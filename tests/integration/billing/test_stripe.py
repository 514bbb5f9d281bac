"""What Stripe tells is kept first, acted upon once, and harmless in any order.

Stripe's own servers are not reached from here: events are of our own making, signed with the scheme of Stripe's library.
"""

import io
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings as portal
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from apps.audit.models import AuditEvent
from apps.billing.credit.grants import balance_of
from apps.billing.models import CreditGrant, Invoice, Payment, StripeEvent
from apps.billing.payments.checkout import start_payment, start_topup
from apps.billing.payments.stripe_events import GIVEN_UP_AFTER, handle_waiting
from apps.common.clock import now
from apps.tenants.models import Tenant
from tests.doubles.stripe_server import KEY, SECRET, StripeServer, serving, signed
from tests.factories import access_for, make_tenant
from tests.integration.billing.debts import credit, make_invoice

pytestmark = pytest.mark.django_db
ADDRESS = "/billing/stripe/webhook"


@pytest.fixture
def account(settings: Settings) -> Iterator[StripeServer]:
    with serving() as server:
        settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_API = KEY, SECRET, server.url
        yield server


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("ann")


def send(event: dict[str, Any], **changed: Any) -> Any:
    body = json.dumps(event)
    headers = {"Stripe-Signature": changed.pop("signature", signed(body))}
    return Client(enforce_csrf_checks=True, raise_request_exception=False).post(ADDRESS, body, "application/json", headers=headers)


def begun(account: StripeServer, invoice: Invoice) -> dict[str, Any]:
    """Begin to pay an invoice as its owner does, and return the session."""
    start_payment(access=access_for(invoice.tenant), number=invoice.number, provider="stripe")
    return list(account.sessions.values())[-1]


def paid(account: StripeServer, invoice: Invoice) -> dict[str, Any]:
    """Pay an invoice at Stripe, and return the event of it."""
    return account.event("checkout.session.completed", account.finish(begun(account, invoice)))


def test_a_payment_by_card_pays_the_invoice(account: StripeServer, tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    event = paid(account, invoice)
    answer = send(event)
    assert (answer.status_code, answer.content.decode()) == (200, "Kept and handled.\n")
    invoice.refresh_from_db()
    payment = Payment.objects.get()
    assert invoice.state == Invoice.State.PAID
    assert (payment.provider, payment.reference, payment.amount) == ("stripe", event["data"]["object"]["payment_intent"], Decimal(120))
    assert payment.received_at == datetime.fromtimestamp(event["created"], tz=UTC)
    assert "set-cookie" not in {name.lower() for name in answer.headers}


def test_an_event_that_comes_again_changes_nothing(account: StripeServer, tenant: Tenant) -> None:
    event = paid(account, make_invoice(tenant))
    assert [send(event).status_code for _ in range(3)] == [200] * 3
    assert (Payment.objects.count(), StripeEvent.objects.count(), AuditEvent.objects.filter(action="payment.received").count()) == (1, 1, 1)
    assert send({**event, "id": "evt_other"}).status_code == 200
    assert (Payment.objects.count(), CreditGrant.objects.count()) == (1, 0)


@pytest.mark.parametrize(
    ("signature", "sentence"), [("", "not an event that Stripe signed"), ("t=1,v1=00", "not an event"), ("nonsense", "not an event")]
)
def test_what_is_not_signed_is_refused_with_a_sentence_and_not_kept(
    signature: str, sentence: str, account: StripeServer, tenant: Tenant
) -> None:
    answer = send(paid(account, make_invoice(tenant)), signature=signature)
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert not StripeEvent.objects.exists()


def test_a_signature_is_for_one_body_one_portal_and_five_minutes(account: StripeServer, tenant: Tenant) -> None:
    event = paid(account, make_invoice(tenant))
    body = json.dumps(event)
    for signature in (signed(body, at=int(time.time()) - 301), signed(body, secret="whsec_other"), signed(body.replace("12000", "1"))):
        assert send(event, signature=signature).status_code == 400
    assert send(event, signature=signed(body, at=int(time.time()) - 290)).status_code == 200


def test_a_large_body_other_methods_and_a_portal_without_stripe_are_refused(account: StripeServer, settings: Settings) -> None:
    client = Client()
    assert client.post(ADDRESS, "x" * (256 * 1024 + 1), "application/json").status_code == 413
    assert client.get(ADDRESS).status_code == 405
    signed_nonsense = '{"object": "event"}'
    answer = client.post(ADDRESS, signed_nonsense, "application/json", headers={"Stripe-Signature": signed(signed_nonsense)})
    assert (answer.status_code, answer.content.decode()) == (400, "This is no event of Stripe's: “id” is missing.\n")
    settings.STRIPE_SECRET_KEY = ""
    assert client.post(ADDRESS, "{}", "application/json").status_code == 404


def test_the_address_has_both_slash_forms(account: StripeServer) -> None:
    assert Client().post(f"{ADDRESS}/", "{}", "application/json").status_code == 400


def test_kinds_nobody_asked_for_are_kept_and_need_nothing(account: StripeServer) -> None:
    send(account.event("customer.created", {"id": "cus_1", "object": "customer"}))
    row = StripeEvent.objects.get()
    assert (row.kind, row.problem) == ("customer.created", "")
    assert row.handled_at is not None


def test_payments_of_other_programs_and_portals_on_the_same_account_are_none_of_ours(account: StripeServer, tenant: Tenant) -> None:
    event = paid(account, make_invoice(tenant))
    for metadata in ({}, {"installation": "another"}):
        event["id"] += "x"
        event["data"]["object"]["metadata"] = metadata
        assert send(event).status_code == 200
    refund = {"id": "ch_1", "object": "charge", "payment_intent": "pi_of_a_shop", "amount_refunded": 5, "currency": "usd", "metadata": {}}
    assert send(account.event("charge.refunded", refund)).status_code == 200
    assert not Payment.objects.exists()
    assert not StripeEvent.objects.filter(handled_at=None).exists()


def test_a_debit_that_takes_days_pays_when_it_succeeds(account: StripeServer, tenant: Tenant) -> None:
    invoice = make_invoice(tenant)
    session = begun(account, invoice)
    send(account.event("checkout.session.completed", account.finish(session, status="processing", paid=False)))
    assert not Payment.objects.exists()
    send(account.event("checkout.session.async_payment_succeeded", {**account.retrieve(session["id"]), "payment_status": "paid"}))
    invoice.refresh_from_db()
    assert invoice.state == Invoice.State.PAID


def test_a_debit_that_fails_leaves_the_invoice_open_and_is_told(account: StripeServer, tenant: Tenant) -> None:
    invoice = make_invoice(tenant)
    session = account.finish(begun(account, invoice), status="requires_payment_method", paid=False)
    send(account.event("checkout.session.async_payment_failed", session))
    invoice.refresh_from_db()
    assert invoice.state == Invoice.State.OPEN
    event = AuditEvent.objects.get(action="payment.failed")
    assert (event.tenant_id, event.target_id) == (tenant.id, str(invoice.id))


def test_paid_and_refunded_in_any_order_and_any_number_of_times_come_to_the_same(account: StripeServer) -> None:
    for number, order in enumerate(permutations(range(3))):
        tenant = make_tenant(f"ann-{number}")
        invoice = make_invoice(tenant, "120.00")
        session = account.finish(begun(account, invoice))
        events = [
            account.event("checkout.session.completed", session),
            account.event("charge.refunded", account.charge(session, refunded=2000)),
            account.event("charge.refunded", account.charge(session, refunded=5000)),
        ]
        for place in order:
            send(events[place])
            send(events[place])
        handle_waiting(at=now(), however_old=True)
        invoice.refresh_from_db()
        assert (invoice.paid, invoice.state) == (Decimal(70), Invoice.State.OPEN), order
        assert not StripeEvent.objects.filter(handled_at=None).exists()
    assert Payment.objects.filter(amount__lt=0).count() >= 6


def test_less_than_is_owed_leaves_the_rest_owed(account: StripeServer, tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    event = paid(account, invoice)
    event["data"]["object"]["amount_total"] = 11999
    send(event)
    invoice.refresh_from_db()
    assert (invoice.paid, invoice.state) == (Decimal("119.99"), Invoice.State.OPEN)


def test_two_payments_of_one_invoice_become_credit_in_the_second_part(account: StripeServer, tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    first = paid(account, invoice)
    account.answers.clear()  # a day later Stripe has forgotten the key
    second = paid(account, invoice)
    send(first)
    send(second)
    invoice.refresh_from_db()
    assert (invoice.paid, invoice.state) == (Decimal(120), Invoice.State.PAID)
    assert sum(Payment.objects.values_list("amount", flat=True)) == Decimal(240)
    assert balance_of(tenant=tenant, at=now()).prepaid == Decimal(120)


@pytest.mark.parametrize("what", ["cancelled", "in USD"])
def test_money_for_what_cannot_be_paid_becomes_credit_and_says_so(what: str, account: StripeServer, tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    event = paid(account, invoice)
    if what == "cancelled":
        credit(invoice, "120.00")
        Invoice.objects.filter(id=invoice.id).update(state=Invoice.State.CANCELLED)
    else:
        event["data"]["object"]["currency"] = "eur"
    send(event)
    send({**event, "id": "evt_again"})
    assert not Payment.objects.exists()
    grant = CreditGrant.objects.get()
    assert (grant.amount, grant.currency) == (Decimal(120), "USD" if what == "cancelled" else "EUR")
    row = StripeEvent.objects.get(id=event["id"])
    assert f"is {what}" in row.problem
    assert row.handled_at is not None


def test_credit_that_was_bought_is_granted_once_by_stripes_own_id(account: StripeServer, tenant: Tenant) -> None:
    start_topup(access=access_for(tenant), amount=Decimal(50))
    session = account.finish(list(account.sessions.values())[-1])
    for event in (account.event("checkout.session.completed", session), account.event("checkout.session.completed", session)):
        send(event)
    grant = CreditGrant.objects.get()
    assert (grant.kind, grant.amount, grant.currency, grant.reference) == ("prepaid", Decimal(50), "USD", session["payment_intent"])
    send(account.event("charge.refunded", account.charge(session, refunded=5000)))
    row = StripeEvent.objects.get(kind="charge.refunded")
    assert str(grant.id) in row.problem
    assert row.handled_at is not None


@pytest.mark.parametrize("kind", ["refund.failed", "charge.dispute.created"])
def test_what_only_a_person_can_decide_is_kept_with_a_sentence(kind: str, account: StripeServer, tenant: Tenant) -> None:
    event = paid(account, make_invoice(tenant))
    send(event)
    subject = {"id": "x_1", "object": kind.split(".")[-2], "payment_intent": event["data"]["object"]["payment_intent"], "metadata": {}}
    send(account.event(kind, subject))
    row = StripeEvent.objects.get(kind=kind)
    assert "x_1 at Stripe, and note by hand" in row.problem
    assert row.handled_at is not None


def test_a_failure_keeps_the_event_and_the_sweep_makes_up_for_it(account: StripeServer, tenant: Tenant) -> None:
    invoice = make_invoice(tenant)
    event = paid(account, invoice)
    with patch("apps.billing.payments.stripe_events.record_payment", side_effect=RuntimeError("out of order")):
        answer = send(event)
    assert (answer.status_code, answer.content.decode()) == (200, "Kept; it will be handled later.\n")
    row = StripeEvent.objects.get()
    assert (row.handled_at, row.problem) == (None, "A mistake in Carina itself: RuntimeError.")
    assert handle_waiting(at=now()) == []
    assert [each.id for each in handle_waiting(at=now() + timedelta(minutes=2))] == [row.id]
    row.refresh_from_db()
    invoice.refresh_from_db()
    assert (invoice.state, row.problem) == (Invoice.State.PAID, "")
    assert row.handled_at is not None


def test_the_sweep_leaves_what_failed_for_a_week_to_people(account: StripeServer, tenant: Tenant) -> None:
    event = paid(account, make_invoice(tenant))
    event["data"]["object"]["metadata"]["invoice"] = "0"
    send(event)
    row = StripeEvent.objects.get()
    assert row.problem == "There is no invoice of the id that the payment names."
    assert handle_waiting(at=now() + GIVEN_UP_AFTER + timedelta(minutes=1)) == []
    assert [each.handled_at for each in handle_waiting(at=now() + timedelta(days=1))] == [None]


def test_an_invoice_of_another_tenant_is_not_paid_by_a_mixed_up_payment(account: StripeServer, tenant: Tenant) -> None:
    event = paid(account, make_invoice(tenant))
    event["data"]["object"]["metadata"]["tenant"] = str(make_tenant("bob").id)
    send(event)
    assert not Payment.objects.exists()
    assert StripeEvent.objects.get().problem == "There is no invoice of the id that the payment names."


def test_events_are_played_again_by_hand(account: StripeServer, tenant: Tenant) -> None:
    event = paid(account, make_invoice(tenant))
    with patch("apps.billing.payments.stripe_events.record_payment", side_effect=RuntimeError):
        send(event)

    def played(*arguments: str) -> str:
        out = io.StringIO()
        call_command("replay_stripe_events", *arguments, stdout=out)
        return out.getvalue()

    assert played() == f"{event['id']} checkout.session.completed: handled.\n1 of 1 handled.\n"
    assert played() == "0 of 0 handled.\n"
    assert "1 of 1 handled." in played("--id", event["id"])
    assert Payment.objects.count() == 1
    with pytest.raises(CommandError, match="no event evt_none"):
        played("--id", "evt_none")


def test_nothing_about_people_and_cards_is_stored_or_logged(
    account: StripeServer, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    session = account.finish(begun(account, make_invoice(tenant)))
    with caplog.at_level("DEBUG"):
        send(account.event("checkout.session.completed", session))
        send(account.event("charge.refunded", account.charge(session, refunded=100)))
        send(account.event("charge.refunded", account.charge(session, refunded=100)), signature="nonsense")
    stored = json.dumps(list(StripeEvent.objects.values_list("payload", flat=True)))
    for secret in ("ann@example.com", "Ann Payer", "4242", "last4", KEY, SECRET):
        assert secret not in stored
        assert secret not in caplog.text
    loggers: Any = portal.LOGGING["loggers"]
    assert loggers["stripe"] == {"level": "WARNING"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["completed", "async_payment_failed"])
def test_the_same_event_at_ten_workers_at_once_is_acted_upon_once(kind: str, account: StripeServer) -> None:
    invoice = make_invoice(make_tenant("crowd"))
    session = account.finish(begun(account, invoice), paid=kind == "completed")
    event = account.event(f"checkout.session.{kind}", session)
    answers: list[int] = []

    def deliver() -> None:
        try:
            answers.append(send(event).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=deliver) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 10
    assert StripeEvent.objects.filter(problem="").exclude(handled_at=None).count() == 1
    assert Payment.objects.count() == (kind == "completed")
    assert AuditEvent.objects.filter(action__in=["payment.received", "payment.failed"]).count() == 1
