"""Events of Stripe: kept under Stripe's own id first, then acted upon, once. What fails is kept with its problem and tried again.

Stripe promises neither order nor that an event comes once (https://docs.stripe.com/webhooks, “Event delivery behaviors”). So nothing here
depends on either: payments are known by Stripe's own id, refunds by their total, and what comes too early waits for what it needs.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from apps.audit.services import Actor, record
from apps.billing.credit.grants import grant_credit
from apps.billing.models import CreditGrant, Invoice, Payment, StripeEvent
from apps.billing.payments.providers.stripe_amounts import from_minor
from apps.billing.payments.services import record_payment, record_refund
from apps.common.clock import now
from apps.common.errors import CarinaError
from apps.common.money import in_words
from apps.tenants.models import Tenant

log = structlog.get_logger(__name__)
STRIPE = Actor.system("stripe")
SETTLED_AFTER = timedelta(minutes=1)
"""The sweep leaves alone what just came: a request is still at it."""
GIVEN_UP_AFTER = timedelta(days=7)
"""Older ones the sweep leaves to `manage.py replay_stripe_events`: what failed for a week needs somebody to look."""
LONGEST_ID, LONGEST_KIND = 255, 80
NOT_KEPT = {
    "billing_details", "client_secret", "collected_information", "customer_details", "customer_email", "payment_method_details",
    "receipt_email", "receipt_number", "receipt_url", "shipping", "shipping_details", "source", "url",
}  # fmt: skip
"""Fields of events that say who paid, and with which card: nothing here needs them, so they are not stored."""


class Unclear(Exception):
    """An event cannot be acted upon now; the sentence says why. It is tried again."""


Object = Mapping[str, Any]


def receive(*, event: Mapping[str, Any]) -> StripeEvent:
    """Keep an event whose signature was checked, then act on it; return its row. An event that came before changes nothing.

    Its own transaction keeps it: whatever happens afterwards, it is not lost. Raises ValueError for what has not the form of an event.
    """
    row, _ = StripeEvent.objects.get_or_create(
        id=_text(event, "id")[:LONGEST_ID],
        defaults={"kind": _text(event, "type")[:LONGEST_KIND], "payload": _without_people(event), "received_at": now()},
    )
    return handle(event_id=row.id)


def handle(*, event_id: str, again: bool = False) -> StripeEvent:
    """Act on a kept event and return its row, with its `problem` if it could not be; one that was handled only if it is asked for `again`.

    The row is locked meanwhile: the same event at two workers is acted upon by one. To act again is harmless, it is just not needed.
    """
    try:
        row = _handled(event_id=event_id, again=again)
    except Exception as error:  # whatever it is, the event is kept and says so
        known = isinstance(error, Unclear | CarinaError)
        log.warning("stripe_event_failed", stripe_event=event_id, error=type(error).__name__, exc_info=not known)
        problem = str(error) if known else f"A mistake in Carina itself: {type(error).__name__}."
        StripeEvent.objects.filter(id=event_id, handled_at=None).update(problem=problem)
        return StripeEvent.objects.get(id=event_id)
    if row.problem:
        log.warning("stripe_event_needs_somebody", stripe_event=row.id, kind=row.kind)
    return row


def handle_waiting(*, at: datetime, however_old: bool = False) -> list[StripeEvent]:
    """Act on the events that were kept and not handled, the oldest first, and return them as they are then."""
    waiting = StripeEvent.objects.filter(handled_at=None, settled_at=None)
    if not however_old:
        waiting = waiting.filter(received_at__lte=at - SETTLED_AFTER, received_at__gte=at - GIVEN_UP_AFTER)
    return [handle(event_id=event_id) for event_id in waiting.order_by("received_at", "id").values_list("id", flat=True)]


@transaction.atomic
def _handled(*, event_id: str, again: bool) -> StripeEvent:
    row = StripeEvent.objects.select_for_update().get(id=event_id)
    if again or (row.handled_at is None and row.settled_at is None):
        row.problem, row.handled_at = _act(row), now()
        row.save(update_fields=["problem", "handled_at"])
    return row


def _act(row: StripeEvent) -> str:
    """Do what the event asks for; return what somebody should know about it, or nothing. Kinds that are not known ask for nothing."""
    act = ACTIONS.get(row.kind)
    subject = _part(row.payload, "data", "object")
    if act is None or not _is_ours(subject):
        return ""
    return act(subject, min(datetime.fromtimestamp(int(row.payload["created"]), tz=UTC), now()))


def _is_ours(subject: Object) -> bool:
    """Tell whether it is about a payment of this portal: one account at Stripe may serve other programs, and a second portal."""
    if _part(subject, "metadata").get("installation") == settings.INSTALLATION:
        return True
    reference = _id_of(subject.get("payment_intent"))
    return bool(reference) and Payment.objects.filter(provider="stripe", reference=reference).exists()


def _session_completed(session: Object, at: datetime) -> str:
    """Take the money of a session; one whose payment takes days is complete before it is paid, and is heard of again."""
    return _settle(session, at) if session.get("payment_status") == "paid" else ""


def _settle(session: Object, at: datetime) -> str:
    reference, currency = _id_of(session.get("payment_intent")), _text(session, "currency").upper()
    if not reference:
        raise Unclear("The session names no payment.")
    amount = from_minor(minor=int(session["amount_total"]), currency=currency)
    marks = _part(session, "metadata")
    tenant_id, invoice_id = _uuid(marks.get("tenant")), _uuid(marks.get("invoice"))
    tenant = Tenant.objects.filter(id=tenant_id).first() if tenant_id else None
    if tenant is None:
        raise Unclear("There is no organisation of the id that the payment names.")
    if marks.get("kind") == "topup":
        _credit(tenant, amount, currency, reference=reference, reason="Bought by card")
        return ""
    invoice = Invoice.objects.filter(tenant=tenant, id=invoice_id).defer("pdf").first() if invoice_id else None
    if invoice is None:
        raise Unclear("There is no invoice of the id that the payment names.")
    if invoice.state == Invoice.State.CANCELLED or invoice.currency != currency:
        # The money came, whatever it was for by then. It is theirs, and an operator can give it back.
        why = "cancelled" if invoice.currency == currency else f"in {invoice.currency}"
        _credit(tenant, amount, currency, reference=f"stripe:{reference}", reason=f"Paid for invoice {invoice.number}, which is {why}")
        return f"Invoice {invoice.number} is {why}: {in_words(amount=amount, currency=currency)} became prepaid credit."
    record_payment(
        by=STRIPE, invoice=invoice, provider="stripe", reference=reference, amount=amount, currency=currency, received_at=at
    )  # fmt: skip
    return ""


def _session_failed(session: Object, _: datetime) -> str:
    """Note for the organisation that a payment which takes days failed in the end; what is owed is still owed."""
    marks = _part(session, "metadata")
    number = str(marks.get("number", ""))
    record(
        by=STRIPE, action="payment.failed", tenant_id=_uuid(marks.get("tenant")), target_id=str(marks.get("invoice", ""))[:64],
        target_label=number or "prepaid credit", data={"session": str(session.get("id", ""))},
        sentence=f"learned that the payment {f'of invoice {number}' if number else 'for prepaid credit'} failed",
    )  # fmt: skip
    return ""


def _charge_refunded(charge: Object, at: datetime) -> str:
    """Note what of a payment has gone back by now: `amount_refunded` is the total, so that a late event says nothing new."""
    reference, currency = _id_of(charge.get("payment_intent")), _text(charge, "currency").upper()
    total = from_minor(minor=int(charge["amount_refunded"]), currency=currency)
    payment = Payment.objects.filter(provider="stripe", reference=reference).select_related("invoice").defer("invoice__pdf").first()
    if payment is not None:
        record_refund(by=STRIPE, payment=payment, total=total, at=at)
        return ""
    # What became credit may have been used by now: that is for a person to decide.
    credit = CreditGrant.objects.filter(reference__in=[reference, f"stripe:{reference}"]).first()
    if credit is None:
        raise Unclear("What was refunded is not known here yet; the event of its payment is still to come.")
    return f"{in_words(amount=total, currency=currency)} of credit that was bought went back: see what is left of the grant {credit.id}."


def _look(subject: Object, _: datetime) -> str:
    """Say what only a person can decide."""
    return f"See {subject.get('object')} {subject.get('id')} at Stripe, and note by hand what came of it."


ACTIONS: dict[str, Callable[[Object, datetime], str]] = {
    "checkout.session.completed": _session_completed,
    "checkout.session.async_payment_succeeded": _settle,
    "checkout.session.async_payment_failed": _session_failed,
    "charge.refunded": _charge_refunded,
    "refund.failed": _look,
    "charge.dispute.created": _look,
    "charge.dispute.closed": _look,
}
"""What each kind of event asks for; all others are kept and need nothing."""


def _credit(tenant: Tenant, amount: Decimal, currency: str, *, reference: str, reason: str) -> None:
    grant_credit(
        by=STRIPE, tenant=tenant, kind=CreditGrant.Kind.PREPAID, amount=amount, currency=currency, reason=reason, reference=reference
    )  # fmt: skip


def _part(thing: Object, *names: str) -> Object:
    for name in names:
        thing = thing.get(name) or {}
        if not isinstance(thing, Mapping):
            raise Unclear(f"The event's “{name}” is no object.")
    return thing


def _text(thing: Object, name: str) -> str:
    value = thing.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"“{name}” is missing.")
    return value


def _id_of(thing: object) -> str:
    """Return the id of what Stripe names either by its id or in full."""
    return str(thing.get("id", "")) if isinstance(thing, Mapping) else str(thing or "")


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


def _without_people(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_people(part) for name, part in value.items() if name not in NOT_KEPT}
    return [_without_people(part) for part in value] if isinstance(value, list) else value
