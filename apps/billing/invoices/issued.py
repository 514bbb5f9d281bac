"""A tenant's invoices and credit notes, as its members may see them, and the files they are read as."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from apps.billing.invoices.documents import InvoiceDocument, as_json, document_of, document_of_draft
from apps.billing.invoices.drafts import draft_of
from apps.billing.invoices.pdf import render
from apps.billing.models import Invoice
from apps.billing.periods import period_from
from apps.billing.receivables.owed import owed, with_credited
from apps.billing.terms.accounts import account_of
from apps.billing.usage.spend import usage_of
from apps.common.errors import NotFound
from apps.common.money import rounded
from apps.tenants.context import Access
from apps.tenants.roles import Permission

LONGEST_NUMBER = 40


def invoices_of(*, access: Access) -> QuerySet[Invoice]:
    """Return the tenant's invoices and credit notes without their PDFs, newest first; `owed` of each asks nothing more."""
    access.require(Permission.BILLING_READ)
    rows = with_credited(invoices=access.tenant.invoices.select_related("corrects").defer("pdf", "corrects__pdf"))
    return rows.order_by("-issued_at", "-id")


def find_invoice(*, access: Access, number: str) -> Invoice:
    """Return one of them by its number; of two issuers' with the same number the newer. Raises NotFound for any other number."""
    found = invoices_of(access=access).filter(number=number[: LONGEST_NUMBER + 1]).first() if number.isprintable() else None
    if found is None:
        raise NotFound(f"{access.tenant.name} has no invoice {number[:LONGEST_NUMBER]}.", code="invoice_not_found")
    return found


def current_draft(*, access: Access, at: datetime) -> InvoiceDocument:
    """Return what the tenant's next invoice says by now. Raises Conflict where it cannot be computed, which says why."""
    access.require(Permission.BILLING_READ)
    account = account_of(tenant=access.tenant)
    period = period_from(start=account.billed_until, zone=account.time_zone)
    used = usage_of(account=account, period=period, as_of=at)
    return document_of_draft(draft=draft_of(account=account, at=at, used=used), at=at)


def pdf_of(*, invoice: Invoice) -> bytes:
    """Return the invoice's PDF. The first who asks renders it, under a lock of its row, and it is kept; from then on it never changes."""
    kept = Invoice.objects.filter(id=invoice.id).values_list("pdf", flat=True).get()
    if kept is None:
        with transaction.atomic():
            row = Invoice.objects.select_for_update(of=("self",), no_key=True).select_related("corrects").get(id=invoice.id)
            kept = row.pdf
            if kept is None:
                kept = row.pdf = render(document=document_of(invoice=row))
                row.save(update_fields=["pdf"])
    return bytes(kept)


def whole(*, invoice: Invoice) -> dict[str, Any]:
    """Return the invoice as JSON: the document as it was issued, and what has become of it since."""
    currency = invoice.currency
    return {
        **as_json(document=document_of(invoice=invoice)),
        "state": invoice.state,
        "paid": str(rounded(amount=invoice.paid, currency=currency)),
        "owed": str(rounded(amount=owed(invoice=invoice), currency=currency)),
        "credit_notes": list(invoice.credit_notes.order_by("issued_at", "id").values_list("number", flat=True)),
        "payments": [
            {
                "provider": row.provider,
                "reference": row.reference,
                "amount": str(rounded(amount=row.amount, currency=currency)),
                "received_at": row.received_at.isoformat(),
            }
            for row in invoice.payments.order_by("received_at", "id")
        ],
    }
