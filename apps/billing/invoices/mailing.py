"""Mails with invoices: each goes out once, with its PDF, soon after it was issued.

An invoice without `mailed_at` is due. Whoever sets it sends the mail, in one transaction: a mail that fails takes it back and the invoice
is due again, a crash leaves it to the next run.
"""

import time
from uuid import UUID

import structlog
from django.core.mail import get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction

from apps.billing.invoices.documents import InvoiceDocument, document_of, in_favour
from apps.billing.invoices.issued import pdf_of
from apps.billing.models import Invoice
from apps.billing.receivables.overdue import invoice_page
from apps.billing.terms.accounts import account_of
from apps.billing.terms.recipients import recipients_of
from apps.common.clock import now
from apps.common.mails import send_to_each
from apps.common.money import in_words

log = structlog.get_logger(__name__)
AT_ONCE = 100
"""Invoices of one run."""
SECONDS = 45.0
"""How long a run begins with further invoices: the next one comes a minute after it."""
PDF = "application/pdf"


def render_and_mail() -> int:
    """Render and mail invoices that are due, and return how many mails went out. May run in several workers at once, as the portal itself.

    In no order: invoices that cannot be sent must not stand in the way of all others for ever.
    """
    due = list(Invoice.objects.filter(mailed_at=None).order_by("?").values_list("id", flat=True)[:AT_ONCE])
    if not due:
        return 0
    connection = get_connection()
    try:
        connection.open()
    except OSError as error:
        log.warning("invoices_not_sent", waiting=len(due), error=type(error).__name__)
        return 0
    until, sent = time.monotonic() + SECONDS, 0
    try:
        for invoice_id in due:
            if time.monotonic() > until:
                break
            sent += _safely(invoice_id, connection)
    finally:
        connection.close()
    return sent


def mail_invoice(*, invoice_id: UUID, connection: BaseEmailBackend | None = None) -> bool:
    """Mail the invoice unless that was done, rendering its PDF if need be; return whether it went out now.

    Raises OSError, which smtplib's errors are, where nobody could be sent it; then it is due again.
    """
    invoice = Invoice.objects.select_related("tenant", "corrects").defer("pdf", "corrects__pdf").get(id=invoice_id)
    pdf = pdf_of(invoice=invoice)
    with transaction.atomic():
        if Invoice.objects.filter(id=invoice_id, mailed_at=None).update(mailed_at=now()) != 1:
            return False
        _send(invoice, pdf=pdf, connection=connection or get_connection())
    return True


def _safely(invoice_id: UUID, connection: BaseEmailBackend) -> bool:
    """Mail one; what is wrong with it is logged and stops no other."""
    try:
        return mail_invoice(invoice_id=invoice_id, connection=connection)
    except OSError as error:
        log.warning("invoice_not_sent", invoice=str(invoice_id), error=type(error).__name__)
    except Exception:
        log.exception("invoice_not_rendered", invoice=str(invoice_id))
    return False


def _send(invoice: Invoice, *, pdf: bytes, connection: BaseEmailBackend) -> None:
    """Send each recipient a mail of their own; raises the last error if none of them could be sent, and with nobody to send it to."""
    sent = send_to_each(
        recipients=recipients_of(account_of(tenant=invoice.tenant)),
        template="billing/email/invoice",
        context=_context(invoice, document_of(invoice=invoice)),
        attachments=[(f"{invoice.number}.pdf", pdf, PDF)],
        connection=connection,
    )
    if not sent:
        raise OSError("nobody to send it to")


def _context(invoice: Invoice, document: InvoiceDocument) -> dict[str, object]:
    currency = document.currency
    return {
        "document": document,
        "tenant": invoice.tenant,
        "gross": in_words(amount=abs(document.gross), currency=currency),
        "prepaid": in_words(amount=abs(document.prepaid), currency=currency) if document.prepaid else "",
        "due": in_words(amount=document.due, currency=currency) if document.due > 0 else "",
        "in_favour": in_favour(document=document),
        "page": invoice_page(tenant_slug=invoice.tenant.slug, number=invoice.number),
    }
