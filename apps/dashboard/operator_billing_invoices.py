"""Operators' page of one invoice: what is owed on it, noting what came and went back, taking back what was wrong."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.billing.invoices.credit_notes import issue_credit_note, left_of
from apps.billing.invoices.looks import invoice_row
from apps.billing.models import Invoice, Payment
from apps.billing.payments.services import record_payment, record_refund
from apps.billing.periods import local_day, midnight
from apps.billing.receivables.owed import owed
from apps.billing.terms.accounts import account_of
from apps.common.clock import now
from apps.common.errors import NotFound
from apps.common.money import rounded
from apps.common.pages import refusals_at
from apps.dashboard.billing_forms import CreditNoteForm, PaymentForm, RefundForm
from apps.dashboard.gate import operator_of, operator_page


@require_safe
@operator_page
def invoice(request: HttpRequest, invoice_id: UUID) -> HttpResponse:
    """Show an invoice or credit note."""
    return _page(request, _get(invoice_id))


@require_safe
@operator_page
def invoice_pdf(request: HttpRequest, invoice_id: UUID) -> HttpResponse:  # noqa: ARG001 - the gate needs the request
    """Send the PDF as it was stored; 404 until it was."""
    row = Invoice.objects.filter(id=invoice_id).only("number", "pdf").first()
    if row is None or row.pdf is None:
        raise NotFound(_("There is no such document."))
    return HttpResponse(
        bytes(row.pdf), content_type="application/pdf", headers={"Content-Disposition": f'attachment; filename="{row.number}.pdf"'}
    )


@require_POST
@operator_page
def invoice_payment(request: HttpRequest, invoice_id: UUID) -> HttpResponse:
    """Note that money came for it."""
    row = _get(invoice_id)
    form = PaymentForm(request.POST, auto_id="id_payment_%s")
    if form.is_valid():
        typed = form.cleaned_data
        day = midnight(day=typed["received_at"], zone=account_of(tenant=row.tenant).time_zone)
        with refusals_at(form):
            record_payment(
                by=operator_of(request).actor, invoice=row, provider=typed["provider"], reference=typed["reference"],
                amount=typed["amount"], currency=row.currency, received_at=day,
            )  # fmt: skip
            messages.success(request, _("The payment for %s is noted.") % row.number)
            return redirect("dashboard:operator-invoice", invoice_id=row.id)
    return _page(request, row, payment_form=form)


@require_POST
@operator_page
def invoice_refund(request: HttpRequest, invoice_id: UUID) -> HttpResponse:
    """Note that money that came for it went back."""
    row = _get(invoice_id)
    payments = _received(row)
    form = RefundForm(request.POST, payments=payments, auto_id="id_refund_%s")
    if form.is_valid():
        typed = form.cleaned_data
        payment = next(each for each in payments if str(each.id) == typed["payment"])
        day = midnight(day=typed["received_at"], zone=account_of(tenant=row.tenant).time_zone)
        with refusals_at(form):
            noted = record_refund(by=operator_of(request).actor, payment=payment, total=typed["amount"], at=day)
            messages.success(request, _("What went back is noted.") if noted else _("That much had been noted before; nothing changed."))
            return redirect("dashboard:operator-invoice", invoice_id=row.id)
    return _page(request, row, refund_form=form)


@require_POST
@operator_page
def invoice_credit_note(request: HttpRequest, invoice_id: UUID) -> HttpResponse:
    """Take it back, or a part of it."""
    row = _get(invoice_id)
    form = CreditNoteForm(request.POST, invoice=row, auto_id="id_note_%s")
    if form.is_valid():
        with refusals_at(form):
            note = issue_credit_note(by=operator_of(request), invoice_id=row.id, lines=form.lines(), reason=form.cleaned_data["reason"])
            messages.success(request, _("The credit note %s is issued.") % note.number)
            return redirect("dashboard:operator-invoice", invoice_id=row.id)
    return _page(request, row, note_form=form)


def _get(invoice_id: UUID) -> Invoice:
    found = Invoice.objects.defer("pdf").select_related("tenant", "issuer", "corrects").filter(id=invoice_id).first()
    if found is None:
        raise NotFound(_("There is no such invoice."))
    return found


def _received(row: Invoice) -> list[Payment]:
    return list(row.payments.filter(amount__gt=0).order_by("-received_at", "-id"))


def _page(request: HttpRequest, row: Invoice, **forms: Any) -> HttpResponse:
    debt, left = owed(invoice=row), left_of(invoice=row)
    zone = account_of(tenant=row.tenant).time_zone
    amount = rounded(amount=max(debt, Decimal(0)), currency=row.currency)
    today = local_day(at=now(), zone=zone)
    first = {"amount": f"{amount:f}", "received_at": today, "provider": "manual"}
    shown: dict[str, Any] = {
        "payment_form": PaymentForm(initial=first, auto_id="id_payment_%s"),
        "refund_form": RefundForm(initial={"received_at": today}, payments=_received(row), auto_id="id_refund_%s"),
        "note_form": CreditNoteForm(invoice=row, auto_id="id_note_%s"),
        **forms,
    }
    note_form = shown["note_form"]
    lines = [
        {"line": line, "left": left.lines.get(line.position), "field": note_form[f"line_{line.position}"]}
        for line in row.lines.order_by("position")
    ]
    context = {
        "invoice": row,
        "tenant": row.tenant,
        "lines": lines,
        "owed": debt,
        "row": invoice_row(invoice=row, at=now()),
        "is_note": row.kind == Invoice.Kind.CREDIT_NOTE,
        "creditable": row.kind == Invoice.Kind.INVOICE and left.net > 0,
        "left": left,
        "has_pdf": Invoice.objects.filter(id=row.id, pdf__isnull=False).exists(),
        "payments": [
            {"payment": payment, "day": local_day(at=payment.received_at, zone=zone)}
            for payment in row.payments.order_by("-received_at", "-id")
        ],
        "notes": row.credit_notes.defer("pdf").order_by("issued_at"),
        "reminders": row.reminders.order_by("at"),
        "credit_uses": row.credit_uses.select_related("grant").order_by("id"),
        "tab": "billing",
        "part": "accounts",
        **shown,
    }
    faulty = any(form.errors for form in shown.values())
    return render(request, "operators/billing/invoice.html", context, status=422 if faulty else 200)
