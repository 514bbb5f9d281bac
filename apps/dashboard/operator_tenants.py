"""Operators' pages of organisations: what each has and may have, who is in it, and the support view."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.audit.selectors import events_of_tenant
from apps.bays.models import ALIVE
from apps.bays.selectors import live_bays
from apps.common.errors import NotFound
from apps.common.pages import refusals_at
from apps.dashboard.forms import LimitsForm, SupportForm
from apps.dashboard.gate import operator_of, operator_page, searched
from apps.dashboard.support import end_support_view, running_view, start_support_view
from apps.dashboard.tenant_usage import look_of_tenant, usage_of
from apps.tenants.limits import set_limits
from apps.tenants.models import Tenant

TENANTS_A_PAGE = 25
LATEST_EVENTS = 8


@require_safe
@operator_page
def tenants(request: HttpRequest) -> HttpResponse:
    """List organisations by name, found by their own name or a member's address."""
    query = searched(request)
    which = request.GET.get("which", "")
    found = Tenant.objects.annotate(
        people=Count("memberships", filter=Q(memberships__user__is_service=False), distinct=True),
        live_bays=Count("bays", filter=Q(bays__deleted_at=None), distinct=True),
    )
    found = found.filter(deleted_at__isnull=False) if which == "deleted" else found.filter(deleted_at=None)
    if query:
        member = Q(pk__in=Tenant.objects.filter(memberships__user__email__icontains=query))
        found = found.filter(Q(slug__icontains=query) | Q(name__icontains=query) | member)
    page = Paginator(found.order_by("slug"), TENANTS_A_PAGE).get_page(request.GET.get("page"))
    rows = []
    for each in page:
        usage = usage_of(tenant=each)
        rows.append({"tenant": each, "usage": usage, "look": look_of_tenant(tenant=each, usage=usage)})
    context = {"rows": rows, "page": page, "query": query, "which": which, "tab": "tenants"}
    return render(request, "operators/tenants.html", context)


@require_safe
@operator_page
def tenant(request: HttpRequest, tenant_id: UUID) -> HttpResponse:
    """Show one organisation."""
    return _page(request, _get(tenant_id))


@require_POST
@operator_page
def limits(request: HttpRequest, tenant_id: UUID) -> HttpResponse:
    """Set the limits of an organisation."""
    row = _get(tenant_id)
    form = LimitsForm(request.POST, tenant=row)
    if form.is_valid():
        with refusals_at(form):
            set_limits(by=operator_of(request), tenant=row, limits=form.changed())
            messages.success(request, _("The limits of %s are saved.") % row.name)
            return redirect("dashboard:operator-tenant", tenant_id=row.id)
    return _page(request, row, limits_form=form)


@require_POST
@operator_page
def support_start(request: HttpRequest, tenant_id: UUID) -> HttpResponse:
    """Open the support view of an organisation and go there."""
    row = _get(tenant_id)
    form = SupportForm(request.POST)
    if form.is_valid():
        asked = form.cleaned_data
        with refusals_at(form):
            view = start_support_view(by=operator_of(request), slug=row.slug, reason=asked["reason"], minutes=asked["minutes"])
            return redirect("bays:list", tenant=view.tenant.slug)
    return _page(request, row, support_form=form)


@require_POST
@operator_page
def support_end(request: HttpRequest) -> HttpResponse:
    """Close the operator's support view and go back to the organisation's page of the console."""
    view = end_support_view(of=operator_of(request))
    if view is None:
        messages.info(request, _("Your support view was over already."))
        return redirect("dashboard:operator-tenants")
    messages.success(request, _("The support view of %s is ended.") % view.tenant.name)
    return redirect("dashboard:operator-tenant", tenant_id=view.tenant_id)


def _get(tenant_id: UUID) -> Tenant:
    found = Tenant.objects.filter(id=tenant_id).first()
    if found is None:
        raise NotFound(_("There is no such organisation."))
    return found


def _page(request: HttpRequest, row: Tenant, **forms: Any) -> HttpResponse:
    operator = operator_of(request)
    shown: dict[str, Any] = {"support_form": SupportForm(), "limits_form": LimitsForm(tenant=row), **forms}
    usage = usage_of(tenant=row)
    context = {
        "row": row,
        "usage": usage,
        "look": look_of_tenant(tenant=row, usage=usage),
        "members": row.memberships.select_related("user", "user__service_account").order_by("created_at", "id"),
        "bays": live_bays(tenant=row).order_by("name"),
        "gone_bays": row.bays.exclude(ALIVE).count(),
        "views": row.support_views.select_related("operator").order_by("-started_at", "-id")[:LATEST_EVENTS],
        "events": events_of_tenant(tenant_id=row.id)[:LATEST_EVENTS],
        "is_member": row.memberships.filter(user=operator).exists(),
        "my_view": running_view(user=operator),
        "tab": "tenants",
        **shown,
    }
    faulty = any(form.errors for form in shown.values())
    return render(request, "operators/tenant.html", context, status=422 if faulty else 200)
