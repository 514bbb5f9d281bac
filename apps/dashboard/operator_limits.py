"""Operators' page of requests for more: what is wanted beside what is used, and the decision."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.common.pages import refusals_at
from apps.dashboard.forms import DecisionForm
from apps.dashboard.gate import operator_of, operator_page
from apps.dashboard.tenant_usage import usage_of, words_of
from apps.tenants.models import QuotaRequest
from apps.tenants.quota_requests import decide_quota_request, open_quota_requests

REQUESTS_A_PAGE = 10


@require_safe
@operator_page
def requests(request: HttpRequest) -> HttpResponse:
    """List requests for more: those that are open, oldest first, or all, newest first."""
    return _page(request)


@require_POST
@operator_page
def decide(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Approve or refuse one; whoever asked is told by mail."""
    form = DecisionForm(request.POST, auto_id=f"id_{request_id}_%s")
    if form.is_valid():
        asked = form.cleaned_data
        with refusals_at(form):
            row = decide_quota_request(
                by=operator_of(request), request_id=request_id, approve=asked["decision"] == "approve", answer=asked["answer"]
            )
            messages.success(request, _("It is %(state)s; %(who)s is told by mail.") % {"state": row.state, "who": row.requested_by})
            return redirect("dashboard:operator-requests")
    return _page(request, faulty=request_id, form=form)


def _page(request: HttpRequest, *, faulty: UUID | None = None, form: DecisionForm | None = None) -> HttpResponse:
    which = request.GET.get("which", "")
    every = QuotaRequest.objects.select_related("tenant").order_by("-created_at", "-id")
    page = Paginator(every if which == "all" else open_quota_requests(), REQUESTS_A_PAGE).get_page(request.GET.get("page"))
    rows = [{"row": row, "lines": _lines(row), "form": _form(row, faulty, form)} for row in page]
    # Decided meanwhile by a colleague, it is not among those that are open: what was refused is said all the same.
    lost = form if form is not None and all(each["form"] is not form for each in rows) else None
    context = {"rows": rows, "page": page, "which": which, "form": lost, "tab": "requests"}
    return render(request, "operators/requests.html", context, status=422 if form is not None else 200)


def _form(row: QuotaRequest, faulty: UUID | None, form: DecisionForm | None) -> DecisionForm | None:
    if row.state != QuotaRequest.State.OPEN:
        return None
    return form if row.id == faulty and form is not None else DecisionForm(auto_id=f"id_{row.id}_%s")


def _lines(row: QuotaRequest) -> list[dict[str, Any]]:
    """Return each limit with what is used, the limit now, and the one wanted, empty where it shall stay."""
    return [
        {
            "label": each.label,
            "used": each.used_words,
            "limit": each.limit_words,
            "wanted": words_of(name=each.name, number=row.wanted[f"max_{each.name}"]) if f"max_{each.name}" in row.wanted else "",
        }
        for each in usage_of(tenant=row.tenant)
    ]
