"""Money that came for invoices, and money that went back: noted once, whoever tells it and however often.

What is noted is what really came. Less than is owed leaves the rest owed; more becomes prepaid credit, which the next invoice uses.
"""

from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.db.models import Sum

from apps.audit.services import Actor, record
from apps.billing.credit.grants import grant_credit
from apps.billing.models import CreditGrant, Invoice, Payment
from apps.billing.operators import require_operator
from apps.billing.payments.providers.base import PROVIDERS
from apps.billing.receivables.overdue import refresh_hold, unpaid_invoices
from apps.billing.receivables.owed import owed, state_of
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput
from apps.common.money import in_words, rounded
from apps.tenants.models import Tenant

LONGEST_REFERENCE = 200
"""Characters; references of refunds and of credit are made of it and a little more."""
MOST = Decimal(1_000_000_000)
"""The largest payment, in units of its currency: more is a slip of the finger."""


def open_invoices(*, tenant: Tenant) -> list[Invoice]:
    """Return the tenant's invoices on which something is still owed, the oldest debt first. `owed` of each asks nothing more."""
    return unpaid_invoices(tenant_id=tenant.id)


@transaction.atomic
def record_payment(
    *, by: Actor, invoice: Invoice, provider: str, reference: str, amount: Decimal, currency: str, received_at: datetime
) -> Payment:
    """Note money that was received for an invoice, and return its row; the same provider and reference again return the row they made.

    `reference` is the provider's own name for the payment, `amount` in units of `currency`, which must be the invoice's. What is more
    than was owed becomes prepaid credit. A hold for being overdue is lifted with the last payment it waits for.

    For operators and the portal itself: anybody else gets Forbidden. Raises InvalidInput for an amount, currency, provider, reference or
    time that cannot be; Conflict for an invoice that is cancelled or is a credit note, and for a reference that stands for another
    payment.
    """
    require_operator(by=by)
    _check(provider=provider, reference=reference, amount=amount, currency=currency, received_at=received_at)
    locked = _locked(invoice)
    known = Payment.objects.filter(provider=provider, reference=reference).first()
    if known is not None:
        return _same(known, invoice=locked, amount=amount, currency=currency)
    _refuse_unpayable(locked, currency=currency)
    applied = min(amount, max(owed(invoice=locked), Decimal(0)))
    payment = _insert(by=by, invoice=locked, provider=provider, reference=reference, amount=amount, at=received_at)
    record(
        by=by, action="payment.received", tenant_id=locked.tenant_id, target_id=str(locked.id), target_label=locked.number,
        sentence=f"noted a payment of {in_words(amount=amount, currency=currency)} for invoice {locked.number}",
        data={"payment": str(payment.id), "provider": provider, "reference": reference, "amount": str(amount), "currency": currency},
    )  # fmt: skip
    _apply(locked, applied, into=invoice)
    if amount > applied:
        grant_credit(
            by=by, tenant=locked.tenant, kind=CreditGrant.Kind.PREPAID, amount=amount - applied, currency=currency,
            reason=f"Paid more than was owed on invoice {locked.number}", reference=f"{provider}:{reference}",
        )  # fmt: skip
    return payment


@transaction.atomic
def record_refund(*, by: Actor, payment: Payment, total: Decimal, at: datetime) -> Payment | None:
    """Note that of a payment `total` went back by now, altogether, as a negative payment; None where that much was noted before.

    It is the total that counts, not the single step: so it does not matter how often, or in which order, the steps become known. What
    went back is owed again, unless a credit note says otherwise. Raises InvalidInput for a total that is no part of the payment, and for a
    time that is still to come.
    """
    require_operator(by=by)
    if not 0 < total <= payment.amount or total != rounded(amount=total, currency=payment.currency):
        raise InvalidInput.field("amount", f"What goes back of a payment is more than 0 and at most {payment.amount} {payment.currency}.")
    if at > now():
        raise InvalidInput.field("received_at", "What goes back is noted when it has gone, not before.")
    invoice = _locked(payment.invoice)
    before = refunded(payment=payment)
    if total <= before:
        return None
    amount = before - total
    reference = f"{payment.reference}{REFUND}{total}"
    refund = _insert(by=by, invoice=invoice, provider=payment.provider, reference=reference, amount=amount, at=at)
    record(
        by=by, action="payment.refunded", tenant_id=invoice.tenant_id, target_id=str(invoice.id), target_label=invoice.number,
        sentence=f"noted that {in_words(amount=-amount, currency=payment.currency)} paid for invoice {invoice.number} went back",
        data={"payment": str(payment.id), "refund": str(refund.id), "amount": str(amount), "currency": payment.currency},
    )  # fmt: skip
    _apply(invoice, amount, into=payment.invoice)
    return refund


REFUND = ":refunded:"
"""Stands between the reference of a payment and the total that went back, in the reference of a refund."""


def refunded(*, payment: Payment) -> Decimal:
    """Return what of a payment went back by now, altogether, in units of its currency."""
    rows = payment.invoice.payments.filter(provider=payment.provider, reference__startswith=f"{payment.reference}{REFUND}")
    return -Decimal(rows.aggregate(total=Sum("amount"))["total"] or 0)


def _locked(invoice: Invoice) -> Invoice:
    rows = Invoice.objects.select_for_update(no_key=True, of=("self",)).defer("pdf").select_related("tenant")
    return rows.get(id=invoice.id)


def _insert(*, by: Actor, invoice: Invoice, provider: str, reference: str, amount: Decimal, at: datetime) -> Payment:
    try:
        with transaction.atomic():
            return Payment.objects.create(
                tenant=invoice.tenant, invoice=invoice, provider=provider, reference=reference, amount=amount, currency=invoice.currency,
                received_at=at, created_by=by.label, created_at=now(),
            )  # fmt: skip
    except IntegrityError as error:  # for another invoice, at the same time: those of one invoice come one after the other
        raise _reused(reference) from error


def _apply(locked: Invoice, amount: Decimal, *, into: Invoice) -> None:
    """Count `amount` as paid and let the state follow; the caller's own object learns of it."""
    locked.paid += amount
    locked.state = state_of(invoice=locked)
    locked.save(update_fields=["paid", "state"])
    into.paid, into.state = locked.paid, locked.state
    refresh_hold(tenant_id=locked.tenant_id)


def _same(known: Payment, *, invoice: Invoice, amount: Decimal, currency: str) -> Payment:
    if (known.invoice_id, known.amount, known.currency) != (invoice.id, amount, currency):
        raise _reused(known.reference)
    return known


def _reused(reference: str) -> Conflict:
    return Conflict(f"The reference “{reference}” stands for another payment already.", code="payment_reference_reused")


def _refuse_unpayable(invoice: Invoice, *, currency: str) -> None:
    if invoice.kind == Invoice.Kind.CREDIT_NOTE:
        raise Conflict(f"{invoice.number} is a credit note; payments belong to invoices.", code="not_payable")
    if invoice.state == Invoice.State.CANCELLED:
        raise Conflict(f"Invoice {invoice.number} is cancelled; nothing can be paid on it.", code="not_payable")
    if currency != invoice.currency:
        raise InvalidInput.field("currency", f"Invoice {invoice.number} is in {invoice.currency}; a payment for it must be, too.")


def _check(*, provider: str, reference: str, amount: Decimal, currency: str, received_at: datetime) -> None:
    if provider not in PROVIDERS:
        raise InvalidInput.field("provider", f"The provider must be one of: {', '.join(PROVIDERS)}.")
    if not 0 < len(reference) <= LONGEST_REFERENCE or not reference.isprintable() or reference != reference.strip() or REFUND in reference:
        raise InvalidInput.field("reference", f"Say how the bank or provider names the payment, in 1 to {LONGEST_REFERENCE} characters.")
    if not amount.is_finite() or not 0 < amount <= MOST or amount != rounded(amount=amount, currency=currency):
        raise InvalidInput.field("amount", f"The amount must be more than 0, at most {MOST:,} and in whole cents of {currency}.")
    if received_at > now():
        raise InvalidInput.field("received_at", "A payment is noted when it has come, not before.")
