"""The pages of a tenant's budgets: how they stand, and setting, changing and deleting one."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from apps.billing.budgets.rows import budget_month
from apps.billing.budgets.services import BUDGETS_PER_TENANT, budgets_of, change_budget, create_budget, delete_budget, find_budget
from apps.billing.pages.budget_forms import BudgetForm
from apps.common.clock import now
from apps.common.pages import refusals_at
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def budgets(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the budgets and how they stand; a POST sets a new one."""
    access.require(Permission.BILLING_READ)
    known = budgets_of(access=access).exists()
    form = BudgetForm(request.POST if request.method == "POST" else None, suggestion="" if known else "monthly")
    if request.method == "POST":
        access.require(Permission.BILLING_MANAGE)
        if form.is_valid():
            with refusals_at(form):
                made = create_budget(access=access, name=form.cleaned_data["name"], amount=form.cleaned_data["amount"], rules=form.rules())
                messages.success(request, _("The budget “%s” is set.") % made.name)
                return redirect("billing:budgets", tenant=access.tenant.slug)
    month = budget_month(access=access, at=now())
    context = {
        "access": access, "form": form, "month": month, "full": len(month.rows) >= BUDGETS_PER_TENANT, "tab": "billing", "part": "budgets",
    }  # fmt: skip
    return render(request, "billing/budgets.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def budget(request: HttpRequest, access: Access, budget_id: UUID) -> HttpResponse:
    """Show the form of one budget; a POST changes it."""
    access.require(Permission.BILLING_MANAGE)
    row = find_budget(access=access, reference=str(budget_id))
    form = BudgetForm(request.POST if request.method == "POST" else None, budget=row)
    if request.method == "POST" and form.is_valid():
        with refusals_at(form):
            values = {name: form.cleaned_data[name] for name in ("name", "amount")}
            changed = change_budget(access=access, reference=str(budget_id), rules=form.rules(), **values)
            messages.success(request, _("The budget “%s” is changed.") % changed.name)
            return redirect("billing:budgets", tenant=access.tenant.slug)
    month = budget_month(access=access, at=now())
    context = {"access": access, "form": form, "budget": row, "month": month, "tab": "billing", "part": "budgets"}
    return render(request, "billing/budget.html", context, status=422 if form.errors else 200)


@require_POST
@tenant_page
def budget_delete(request: HttpRequest, access: Access, budget_id: UUID) -> HttpResponse:
    """Delete a budget."""
    delete_budget(access=access, reference=str(budget_id))
    messages.success(request, _("The budget is deleted; what it blocked is free again."))
    return redirect("billing:budgets", tenant=access.tenant.slug)
