"""Operators' page of plans: the terms organisations can have."""

from collections.abc import Callable
from decimal import Decimal
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from apps.billing.models import Plan
from apps.billing.terms.accounts import default_plan
from apps.billing.terms.plans import create_plan, in_a_sentence, make_default, organisations_by_plan, retire_plan
from apps.common.clock import now
from apps.common.pages import refusals_as_messages, refusals_at
from apps.dashboard.billing_forms import PlanForm
from apps.dashboard.gate import operator_of, operator_page

NOTHING = Decimal(0)


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page
def plans(request: HttpRequest) -> HttpResponse:
    """List all plans with how many organisations have each; a POST makes a new one."""
    form = PlanForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        typed = form.cleaned_data
        with refusals_at(form):
            plan = create_plan(
                by=operator_of(request).actor, code=typed["code"], title=typed["title"], kind=typed["kind"], currency=typed["currency"],
                allowance=typed["allowance"] or NOTHING, discount_percent=typed["discount_percent"] or NOTHING,
                commitment=typed["commitment"] or NOTHING,
            )  # fmt: skip
            messages.success(request, _("The plan %s is made. Give it to organisations on their pages.") % plan.title)
            return redirect("dashboard:operator-plans")
    default_plan()  # there is always one
    counts = organisations_by_plan(at=now())
    rows = [
        {"plan": plan, "words": in_a_sentence(plan=plan), "organisations": counts[plan.id]}
        for plan in Plan.objects.order_by("-is_default", "retired_at", "title", "code")
    ]
    context = {"rows": rows, "form": form, "tab": "billing", "part": "plans"}
    return render(request, "operators/billing/plans.html", context, status=422 if form.errors else 200)


@require_POST
@operator_page
def plan_default(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Let new organisations start with it."""
    return _change(request, plan_id, make_default, _("New organisations start with %s. Those that exist keep their plan."))


@require_POST
@operator_page
def plan_retire(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Offer it to nobody any more."""
    return _change(request, plan_id, retire_plan, _("%s is retired. Who has it keeps it."))


def _change(request: HttpRequest, plan_id: UUID, change: Callable[..., Plan], done: str) -> HttpResponse:
    with refusals_as_messages(request):
        messages.success(request, done % change(by=operator_of(request).actor, plan_id=plan_id).title)
    return redirect("dashboard:operator-plans")
