"""The pages of a tenant's invoices: the list with the draft of the running month, one invoice, and its files."""

import json

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.billing.invoices.documents import InvoiceDocument, document_of
from apps.billing.invoices.einvoice import as_ubl, why_not
from apps.billing.invoices.issued import current_draft, find_invoice, invoices_of, pdf_of, whole
from apps.billing.invoices.looks import invoice_row, line_rows, look_of_invoice
from apps.billing.payments.checkout import ways_to_pay
from apps.billing.receivables.owed import owed
from apps.common.clock import now
from apps.common.errors import Conflict
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission

INVOICES_A_PAGE = 24


@require_safe
@tenant_page
def invoices(request: HttpRequest, access: Access) -> HttpResponse:
    """List invoices and credit notes, below the draft of the next one."""
    access.require(Permission.BILLING_READ)
    at = now()
    page = Paginator(invoices_of(access=access), INVOICES_A_PAGE).get_page(request.GET.get("page"))
    draft, problem = _draft(access)
    context = {
        "access": access,
        "page": page,
        "rows": [invoice_row(invoice=invoice, at=at) for invoice in page],
        "draft": draft,
        "draft_lines": line_rows(document=draft) if draft is not None else [],
        "problem": problem,
        "is_over": draft is not None and draft.period_end <= at,
        "tab": "billing",
        "part": "invoices",
    }
    return render(request, "billing/invoices.html", context)


@require_safe
@tenant_page
def invoice(request: HttpRequest, access: Access, number: str) -> HttpResponse:
    """Show one invoice or credit note: what it says, and what has become of it."""
    found = find_invoice(access=access, number=number)
    document = document_of(invoice=found)
    context = {
        "access": access,
        "invoice": found,
        "document": document,
        "lines": line_rows(document=document),
        "look": look_of_invoice(invoice=found, at=now()),
        "owed": owed(invoice=found),
        "payments": found.payments.order_by("received_at", "id"),
        "notes": found.credit_notes.order_by("issued_at", "id").defer("pdf"),
        "ways": ways_to_pay(access=access, invoice=found),
        "no_xml": why_not(document=document),
        "tab": "billing",
        "part": "invoices",
    }
    return render(request, "billing/invoice.html", context)


@require_safe
@tenant_page
def invoice_file(request: HttpRequest, access: Access, number: str, kind: str) -> HttpResponse:
    """Return the invoice as a file: pdf, json or xml."""
    del request
    found = find_invoice(access=access, number=number)
    if kind == "pdf":
        content, mime = pdf_of(invoice=found), "application/pdf"
    elif kind == "xml":
        content, mime = as_ubl(document=document_of(invoice=found)), "application/xml"
    else:
        content, mime = json.dumps(whole(invoice=found), indent=2, ensure_ascii=False).encode(), "application/json"
    disposition = {"Content-Disposition": f'attachment; filename="{found.number}.{kind}"', "Cache-Control": "no-store"}
    return HttpResponse(content, content_type=mime, headers=disposition)


def _draft(access: Access) -> tuple[InvoiceDocument | None, str]:
    """Return the draft, or why there is none: the invoices are there all the same."""
    try:
        return current_draft(access=access, at=now()), ""
    except Conflict as error:
        return None, error.detail
