"""How invoices look: their state as word, icon and tone, and the lines of a document as pages show them."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.utils.translation import gettext as _

from apps.bays.presenters import Look
from apps.billing.invoices.documents import InvoiceDocument, Line
from apps.billing.models import Invoice
from apps.billing.periods import local_day
from apps.billing.receivables.owed import owed


@dataclass(frozen=True, kw_only=True)
class InvoiceRow:
    """An invoice of a list: its state, its period's days, and what is still owed on it."""

    invoice: Invoice
    look: Look
    first_day: date
    last_day: date
    owed: Decimal


@dataclass(frozen=True, kw_only=True)
class LineRow:
    """A line as a page shows it; `hours` has two decimals, `late_month` is where late usage was used."""

    line: Line
    hours: str
    late_month: str


def look_of_invoice(*, invoice: Invoice, at: datetime) -> Look:
    """Return the state of an invoice or credit note at the moment, by its own calendar."""
    if invoice.kind == Invoice.Kind.CREDIT_NOTE:
        return Look(word=_("Credit note"), icon="refresh", tone="idle")
    if invoice.state == Invoice.State.CANCELLED:
        return Look(word=_("Cancelled"), icon="circle-x", tone="idle")
    if owed(invoice=invoice) <= 0:
        return Look(word=_("Paid") if invoice.gross > 0 else _("Nothing to pay"), icon="circle-check", tone="good")
    if invoice.due_on < local_day(at=at, zone=invoice.time_zone):
        return Look(word=_("Overdue"), icon="alert-triangle", tone="bad")
    return Look(word=_("Partly paid") if invoice.paid > 0 else _("To pay"), icon="clock", tone="warn")


def invoice_row(*, invoice: Invoice, at: datetime) -> InvoiceRow:
    """Return the invoice as a row of a list."""
    zone = invoice.time_zone
    return InvoiceRow(
        invoice=invoice,
        look=look_of_invoice(invoice=invoice, at=at),
        first_day=local_day(at=invoice.period_start, zone=zone),
        last_day=local_day(at=invoice.period_end - timedelta(microseconds=1), zone=zone),
        owed=owed(invoice=invoice),
    )


def line_rows(*, document: InvoiceDocument) -> list[LineRow]:
    """Return the lines of a document."""
    return [
        LineRow(
            line=line,
            hours=f"{line.hours:,.2f}" if line.hours is not None else "",
            late_month=document.month_of_use(line=line) if line.is_late else "",
        )
        for line in document.lines
    ]
