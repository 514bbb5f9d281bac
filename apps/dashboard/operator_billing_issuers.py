"""Operators' pages of who writes invoices, and of tax rates."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from apps.billing.countries import COUNTRIES
from apps.billing.invoices.issuers import make_default_issuer, set_issuer
from apps.billing.models import Issuer, TaxRate
from apps.billing.taxes.rates import set_tax_rate, today, withdraw_tax_rate
from apps.billing.terms.accounts import default_issuer
from apps.common.errors import NotFound
from apps.common.pages import refusals_as_messages, refusals_at
from apps.dashboard.billing_forms import IssuerForm, TaxRateForm
from apps.dashboard.gate import operator_of, operator_page


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page
def issuers(request: HttpRequest) -> HttpResponse:
    """List issuers and tax rates; a POST makes a new issuer."""
    form = IssuerForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        if Issuer.objects.filter(code=form.cleaned_data["code"]).exists():
            form.add_error("code", _("There is an issuer with this code already."))
        else:
            with refusals_at(form):
                made = set_issuer(by=operator_of(request).actor, **form.cleaned_data)
                messages.success(request, _("%s can write invoices.") % made.legal_name)
                return redirect("dashboard:operator-issuers")
    return _page(request, issuer_form=form)


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page
def issuer(request: HttpRequest, issuer_id: UUID) -> HttpResponse:
    """Show the form of one issuer; a POST changes it."""
    row = Issuer.objects.filter(id=issuer_id).first()
    if row is None:
        raise NotFound(_("There is no such issuer."))
    form = IssuerForm(request.POST).fixed() if request.method == "POST" else IssuerForm.of(row)
    if request.method == "POST" and form.is_valid():
        with refusals_at(form):
            changed = set_issuer(by=operator_of(request).actor, **{**form.cleaned_data, "code": row.code})
            messages.success(request, _("%s is saved. Invoices that were written stay as they are.") % changed.legal_name)
            return redirect("dashboard:operator-issuers")
    context = {"issuer": row, "form": form, "tab": "billing", "part": "issuers"}
    return render(request, "operators/billing/issuer.html", context, status=422 if form.errors else 200)


@require_POST
@operator_page
def issuer_default(request: HttpRequest, issuer_id: UUID) -> HttpResponse:
    """Let an issuer write the invoices to come."""
    with refusals_as_messages(request):
        chosen = make_default_issuer(by=operator_of(request).actor, issuer_id=issuer_id)
        messages.success(request, _("%s writes the invoices from now on.") % chosen.legal_name)
    return redirect("dashboard:operator-issuers")


@require_POST
@operator_page
def tax_rate(request: HttpRequest) -> HttpResponse:
    """Set a tax rate."""
    form = TaxRateForm(request.POST, auto_id="id_tax_%s")
    if form.is_valid():
        with refusals_at(form):
            rate = set_tax_rate(by=operator_of(request).actor, **form.cleaned_data)
            messages.success(request, _("The tax rate of %s is saved.") % COUNTRIES[rate.country])
            return redirect("dashboard:operator-issuers")
    return _page(request, tax_form=form)


@require_POST
@operator_page
def tax_rate_withdraw(request: HttpRequest, rate_id: int) -> HttpResponse:
    """Take back a tax rate that has not begun."""
    with refusals_as_messages(request):
        withdraw_tax_rate(by=operator_of(request).actor, rate_id=rate_id)
        messages.success(request, _("The tax rate is withdrawn."))
    return redirect("dashboard:operator-issuers")


def _page(request: HttpRequest, **forms: Any) -> HttpResponse:
    default_issuer()  # there is always one
    shown = {"issuer_form": IssuerForm(), "tax_form": TaxRateForm(auto_id="id_tax_%s"), **forms}
    rates = sorted(TaxRate.objects.all(), key=lambda rate: (COUNTRIES.get(rate.country, rate.country), -rate.starts_on.toordinal()))
    context = {
        "issuers": Issuer.objects.order_by("-is_default", "code"),
        "rates": [
            {"rate": rate, "country": COUNTRIES.get(rate.country, rate.country), "ahead": rate.starts_on > today()} for rate in rates
        ],
        "tab": "billing",
        "part": "issuers",
        **shown,
    }
    faulty = any(form.errors for form in shown.values())
    return render(request, "operators/billing/issuers.html", context, status=422 if faulty else 200)
