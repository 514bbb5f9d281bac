"""Operators' page of the monthly run: what is due, what is stuck and why, and trying again."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.billing.invoices.month_state import month_state
from apps.common.clock import now
from apps.common.dispatch import send
from apps.dashboard.gate import operator_page


@require_safe
@operator_page
def months(request: HttpRequest) -> HttpResponse:
    """Show how the closing of months stands."""
    return render(request, "operators/billing/months.html", {"state": month_state(at=now()), "tab": "billing", "part": "months"})


@require_POST
@operator_page
def months_run(request: HttpRequest) -> HttpResponse:
    """Have a worker close what is due now."""
    send(task="billing.run_month", expires=600.0)
    messages.success(request, _("A worker was asked to close what is due. Look again in a moment."))
    return redirect("dashboard:operator-months")
