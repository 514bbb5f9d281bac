"""What is owed on an invoice: its gross, less what was paid, less what credit notes took back. One rule for payments, dunning and pages."""

from decimal import Decimal

from django.db.models import DecimalField, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from apps.billing.models import Invoice

NOTHING = Decimal(0)


def with_credited(*, invoices: QuerySet[Invoice]) -> QuerySet[Invoice]:
    """Return the same invoices, with what was credited read along: for lists, so that `owed` asks nothing more for each."""
    notes = Invoice.objects.filter(corrects=OuterRef("pk")).order_by().values("corrects").annotate(total=Sum("gross")).values("total")
    amount: DecimalField[Decimal, Decimal] = DecimalField(max_digits=14, decimal_places=3)
    return invoices.annotate(noted=Coalesce(Subquery(notes, output_field=amount), Value(NOTHING), output_field=amount))


def credited(*, invoice: Invoice) -> Decimal:
    """Return what credit notes took back of the invoice so far, in its currency, tax included: nothing or more."""
    noted = getattr(invoice, "noted", None)
    if noted is None:
        noted = Invoice.objects.filter(corrects=invoice).aggregate(total=Sum("gross"))["total"]
    return -(noted or NOTHING)


def owed(*, invoice: Invoice) -> Decimal:
    """Return what is still to be paid on the invoice; negative if more was paid than is owed, which is to be given back.

    A credit note is a correction of its invoice and owes nothing by itself.
    """
    if invoice.kind == Invoice.Kind.CREDIT_NOTE:
        return NOTHING
    return invoice.gross - invoice.paid - credited(invoice=invoice)


def state_of(*, invoice: Invoice) -> str:
    """Return the state an invoice is in by its amounts: cancelled when all of it was credited, paid when nothing is left to pay."""
    if invoice.kind == Invoice.Kind.CREDIT_NOTE:
        return Invoice.State.PAID
    taken = credited(invoice=invoice)
    if taken > 0 and taken >= invoice.gross:
        return Invoice.State.CANCELLED
    return Invoice.State.PAID if invoice.gross - invoice.paid - taken <= 0 else Invoice.State.OPEN
