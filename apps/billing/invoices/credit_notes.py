"""Credit notes: what was invoiced and should not have been is taken back by a document of its own; the invoice itself never changes.

A line of a note has the position of the invoice's line it takes back, so that no line is ever taken back further than it goes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from apps.accounts.models import User
from apps.audit.services import record
from apps.billing.invoices.numbers import next_number
from apps.billing.models import Invoice, InvoiceLine
from apps.billing.operators import require_operator
from apps.billing.periods import local_day
from apps.billing.receivables.overdue import refresh_hold
from apps.billing.receivables.owed import state_of
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput, NotFound
from apps.common.money import in_words, rounded
from apps.common.scope import as_system

SERIES = "C-"
LONGEST_REASON = 1000


@dataclass(frozen=True, kw_only=True)
class Left:
    """What of an invoice has not been credited yet: by position of its lines, of its net and of its tax."""

    lines: Mapping[int, Decimal]
    net: Decimal
    tax: Decimal


def issue_credit_note(*, by: User, invoice_id: UUID, lines: Sequence[tuple[int, Decimal]] | None, reason: str) -> Invoice:
    """Take an invoice back, or amounts of some of its lines (by position, before tax, more than nothing), and return the credit note.

    Without `lines` all that is left of it is taken back. Tax goes back by the invoice's own rate. For operators. Raises Forbidden for
    others, NotFound, InvalidInput for amounts beyond what is left or no reason, Conflict where there is nothing to take back.
    """
    require_operator(by=by.actor)
    reason = reason.strip()
    if not 0 < len(reason) <= LONGEST_REASON:
        raise InvalidInput.field("reason", f"Say why, in at most {LONGEST_REASON} characters: the customer reads it.")
    with as_system("credit note"), transaction.atomic():
        rows = Invoice.objects.select_for_update(of=("self",), no_key=True).select_related("tenant", "issuer").defer("pdf")
        invoice = rows.filter(id=invoice_id, kind=Invoice.Kind.INVOICE).first()
        if invoice is None:
            raise NotFound("There is no such invoice.")
        left = left_of(invoice=invoice)
        if left.net <= 0:
            raise Conflict(f"Nothing is left of invoice {invoice.number} that could be credited.", code="nothing_to_credit")
        amounts = (
            {position: amount for position, amount in left.lines.items() if amount} if lines is None else _checked(left, lines, invoice)
        )
        note = _issue(invoice=invoice, amounts=amounts, left=left, reason=reason)
        invoice.state = state_of(invoice=invoice)
        invoice.save(update_fields=["state"])
        _record(by=by, invoice=invoice, note=note)
        refresh_hold(tenant_id=invoice.tenant_id)
    return note


def left_of(*, invoice: Invoice) -> Left:
    """Return what of the invoice has not been credited by earlier notes."""
    lines = dict(invoice.lines.values_list("position", "amount"))
    net, tax = invoice.net, invoice.tax
    notes = InvoiceLine.objects.filter(invoice__corrects=invoice).values_list("position").annotate(total=Sum("amount")).order_by()
    for position, taken in notes:
        lines[position] += taken
        net += taken
    tax += Invoice.objects.filter(corrects=invoice).aggregate(total=Sum("tax"))["total"] or Decimal(0)
    return Left(lines=lines, net=net, tax=tax)


def _all(left: Left) -> dict[int, Decimal]:
    return {position: amount for position, amount in left.lines.items() if amount}


def _checked(left: Left, lines: Sequence[tuple[int, Decimal]], invoice: Invoice) -> dict[int, Decimal]:
    """Return the amounts to take back by position; raises InvalidInput for what cannot be."""
    amounts: dict[int, Decimal] = defaultdict(Decimal)
    for position, amount in lines:
        if position not in left.lines:
            raise InvalidInput.field("lines", f"Invoice {invoice.number} has no line {position}.")
        if not amount.is_finite() or amount <= 0 or amount != rounded(amount=amount, currency=invoice.currency):
            raise InvalidInput.field(
                "lines", f"What is credited of line {position} must be more than 0, in whole cents of {invoice.currency}."
            )
        amounts[position] += amount
    for position, amount in amounts.items():
        if amount > left.lines[position]:
            most = in_words(amount=max(left.lines[position], Decimal(0)), currency=invoice.currency)
            raise InvalidInput.field("lines", f"Of line {position} at most {most} can still be credited.")
    if not amounts:
        raise InvalidInput.field("lines", "Name at least one line and an amount, or credit the whole invoice.")
    if sum(amounts.values()) > left.net:
        most = in_words(amount=left.net, currency=invoice.currency)
        raise InvalidInput.field("lines", f"At most {most} of this invoice can still be credited: discounts and credit have lowered it.")
    return dict(amounts)


def _issue(*, invoice: Invoice, amounts: Mapping[int, Decimal], left: Left, reason: str) -> Invoice:
    """Write the note, with a number of its own series."""
    net, at = sum(amounts.values(), Decimal(0)), now()
    if net == left.net:  # with the last of it goes the last of its tax, however that was rounded in parts
        tax = left.tax
    else:
        tax = min(left.tax, rounded(amount=Fraction(net) * Fraction(invoice.tax_percent) / 100, currency=invoice.currency))
    note = Invoice(
        tenant=invoice.tenant, issuer=invoice.issuer, kind=Invoice.Kind.CREDIT_NOTE, corrects=invoice, period_start=invoice.period_start,
        period_end=invoice.period_end, time_zone=invoice.time_zone, currency=invoice.currency, plan=invoice.plan, seller=invoice.seller,
        customer=invoice.customer, net=-net, tax=-tax, gross=-net - tax, tax_name=invoice.tax_name, tax_percent=invoice.tax_percent,
        tax_text=invoice.tax_text, note=reason, issued_at=at, due_on=local_day(at=at, zone=invoice.time_zone), state=Invoice.State.PAID,
    )  # fmt: skip
    note.number = next_number(issuer_id=invoice.issuer_id, at=at, kind=SERIES)
    note.save(force_insert=True)
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            tenant=invoice.tenant, invoice=note, position=line.position, kind=InvoiceLine.Kind.CORRECTION, text=line.text,
            bay_id=line.bay_id, cloud_id=line.cloud_id, flavor_id=line.flavor_id, price_id=line.price_id, per_hour=line.per_hour,
            used_from=line.used_from, amount=-amounts[line.position],
        )
        for line in invoice.lines.filter(position__in=amounts).order_by("position")
    )  # fmt: skip
    return note


def _record(*, by: User, invoice: Invoice, note: Invoice) -> None:
    amount = in_words(amount=-note.gross, currency=note.currency)
    record(
        by=by.actor, action="credit_note.issued", sentence=f"credited {amount} of invoice {invoice.number} by {note.number}: {note.note}",
        tenant_id=invoice.tenant_id, target_id=str(note.id), target_label=note.number,
        data={"invoice": invoice.number, "gross": str(note.gross), "currency": note.currency, "reason": note.note},
    )  # fmt: skip
