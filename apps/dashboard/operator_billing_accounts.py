"""Operators' pages of accounts: what each organisation spends and owes, on which terms, and its credit and invoices."""

import uuid
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.billing.credit.grants import balance_of, grant_credit
from apps.billing.invoices.looks import invoice_row
from apps.billing.models import Invoice, Plan
from apps.billing.periods import midnight
from apps.billing.prices.listing import currencies_with_prices
from apps.billing.receivables.owed import with_credited
from apps.billing.terms.accounts import account_of
from apps.billing.terms.currency import set_currency, why_currency_stays
from apps.billing.terms.plans import in_a_sentence
from apps.billing.terms.subscriptions import subscribe, terms_of
from apps.common.clock import now
from apps.common.errors import NotFound
from apps.common.pages import refusals_at
from apps.dashboard.account_rows import grants_left, row_of, spend_so_far
from apps.dashboard.billing_forms import CreditForm, CurrencyForm, SubscribeForm
from apps.dashboard.gate import operator_of, operator_page, searched
from apps.tenants.models import Tenant

ACCOUNTS_A_PAGE = 25
INVOICES = 24


@require_safe
@operator_page
def accounts(request: HttpRequest) -> HttpResponse:
    """List organisations with currency, plan, what they spent this month and what they owe."""
    query, which = searched(request), request.GET.get("which", "")
    found = Tenant.objects.select_related("billing")
    if which == "owing":
        found = found.filter(invoices__state=Invoice.State.OPEN, invoices__kind=Invoice.Kind.INVOICE).distinct()
    elif which == "deleted":
        found = found.filter(deleted_at__isnull=False)
    else:
        found = found.filter(deleted_at=None)
    if query:
        found = found.filter(Q(slug__icontains=query) | Q(name__icontains=query) | Q(billing__legal_name__icontains=query))
    page = Paginator(found.order_by("slug"), ACCOUNTS_A_PAGE).get_page(request.GET.get("page"))
    rows = [row_of(tenant=tenant, at=now()) for tenant in page]
    context = {"rows": rows, "page": page, "query": query, "which": which, "tab": "billing", "part": "accounts"}
    return render(request, "operators/billing/accounts.html", context)


@require_safe
@operator_page
def account(request: HttpRequest, tenant_id: UUID) -> HttpResponse:
    """Show one account."""
    return _page(request, _get(tenant_id))


@require_POST
@operator_page
def account_currency(request: HttpRequest, tenant_id: UUID) -> HttpResponse:
    """Bill an organisation in another currency."""
    tenant = _get(tenant_id)
    form = CurrencyForm(request.POST, auto_id="id_currency_%s")
    if form.is_valid():
        with refusals_at(form):
            changed = set_currency(by=operator_of(request).actor, tenant=tenant, currency=form.cleaned_data["currency"])
            messages.success(request, _("%(name)s is billed in %(currency)s.") % {"name": tenant.name, "currency": changed.currency})
            return redirect("dashboard:operator-account", tenant_id=tenant.id)
    return _page(request, tenant, currency_form=form)


@require_POST
@operator_page
def account_plan(request: HttpRequest, tenant_id: UUID) -> HttpResponse:
    """Give an organisation another plan."""
    tenant = _get(tenant_id)
    form = SubscribeForm(request.POST, currency=account_of(tenant=tenant).currency, auto_id="id_plan_%s")
    if form.is_valid():
        plan: Plan = form.cleaned_data["plan"]
        with refusals_at(form):
            found = subscribe(
                by=operator_of(request).actor, tenant=tenant, plan=plan, at=now(), immediately=form.cleaned_data["immediately"]
            )
            messages.success(
                request,
                _("%(name)s has the plan %(plan)s from %(start)s UTC on.")
                % {"name": tenant.name, "plan": plan.title, "start": f"{found.starts_at:%Y-%m-%d %H:%M}"},
            )
            return redirect("dashboard:operator-account", tenant_id=tenant.id)
    return _page(request, tenant, plan_form=form)


@require_POST
@operator_page
def account_credit(request: HttpRequest, tenant_id: UUID) -> HttpResponse:
    """Give an organisation credit."""
    tenant = _get(tenant_id)
    form = CreditForm(request.POST, auto_id="id_credit_%s")
    if form.is_valid():
        typed, row = form.cleaned_data, account_of(tenant=tenant)
        expires = typed["expires_at"]
        with refusals_at(form):
            grant_credit(
                by=operator_of(request).actor, tenant=tenant, kind=typed["kind"], amount=typed["amount"], currency=row.currency,
                reason=typed["reason"], reference=f"desk:{typed['once']}",
                expires_at=midnight(day=expires, zone=row.time_zone) if expires is not None else None,
            )  # fmt: skip
            messages.success(request, _("The credit is granted."))
            return redirect("dashboard:operator-account", tenant_id=tenant.id)
    return _page(request, tenant, credit_form=form)


def _get(tenant_id: UUID) -> Tenant:
    found = Tenant.objects.filter(id=tenant_id).first()
    if found is None:
        raise NotFound(_("There is no such organisation."))
    return found


def _page(request: HttpRequest, tenant: Tenant, **forms: Any) -> HttpResponse:
    row, at = account_of(tenant=tenant), now()
    shown: dict[str, Any] = {
        "currency_form": CurrencyForm(initial={"currency": row.currency}, auto_id="id_currency_%s"),
        "plan_form": SubscribeForm(currency=row.currency, auto_id="id_plan_%s"),
        "credit_form": CreditForm(initial={"once": uuid.uuid4()}, auto_id="id_credit_%s"),
        **forms,
    }
    terms = terms_of(tenant=tenant, at=at)
    invoices = with_credited(invoices=tenant.invoices.defer("pdf").order_by("-issued_at", "-number"))[:INVOICES]
    context = {
        "tenant": tenant,
        "account": row,
        "terms": terms,
        "plan_words": in_a_sentence(plan=terms.plan),
        "currency_stays": why_currency_stays(tenant=tenant),
        "unpriced": row.currency not in currencies_with_prices(),
        "spend": spend_so_far(account=row, at=at),
        "balance": balance_of(tenant=tenant, at=at),
        "grants": grants_left(tenant=tenant, zone=row.time_zone, at=at),
        "invoices": [invoice_row(invoice=invoice, at=at) for invoice in invoices],
        "holds": tenant.holds.order_by("created_at", "id"),
        "tab": "billing",
        "part": "accounts",
        **shown,
    }
    faulty = any(form.errors for form in shown.values())
    return render(request, "operators/billing/account.html", context, status=422 if faulty else 200)
