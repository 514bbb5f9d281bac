"""The page of a tenant's limits: what is used, and asking for more."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from apps.bays.quota_forms import QuotaForm
from apps.bays.usage import usage_after
from apps.common.errors import CarinaError
from apps.common.pages import refusals_at
from apps.tenants.context import Access
from apps.tenants.limits import in_words
from apps.tenants.models import QuotaRequest
from apps.tenants.pages import tenant_page
from apps.tenants.quota_requests import (
    quota_requests_of,
    request_quota,
    self_approval_again_at,
    self_approved_limits,
    withdraw_quota_request,
)
from apps.tenants.roles import Permission

REQUESTS_SHOWN = 20


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def quota(request: HttpRequest, access: Access) -> HttpResponse:
    """Show limits, use and earlier requests; a POST asks for more."""
    access.require(Permission.TENANT_READ)
    if request.method != "POST":
        return _page(request, access, QuotaForm(tenant=access.tenant))
    access.require(Permission.TENANT_MANAGE)
    form = QuotaForm(request.POST, tenant=access.tenant)
    if form.is_valid():
        with refusals_at(form):
            row = request_quota(access=access, wanted=form.wanted(), reason=form.cleaned_data["reason"])
            if row.state == QuotaRequest.State.APPROVED:
                messages.success(request, _("Approved: you have %s from now on.") % in_words(limits=row.wanted))
            else:
                messages.success(request, _("An operator of this portal decides about it; you get a mail when it is done."))
            return redirect("bays:quota", tenant=access.tenant.slug)
    return _page(request, access, form)


@require_POST
@tenant_page
def quota_withdraw(request: HttpRequest, access: Access, request_id: UUID) -> HttpResponse:
    """Take an open request back."""
    try:
        withdraw_quota_request(access=access, request_id=request_id)
    except CarinaError as error:
        if error.code != "quota_request_decided":
            raise
        messages.warning(request, error.detail)
    else:
        messages.success(request, _("The request is withdrawn."))
    return redirect("bays:quota", tenant=access.tenant.slug)


def _page(request: HttpRequest, access: Access, form: QuotaForm) -> HttpResponse:
    rows = list(quota_requests_of(access=access)[:REQUESTS_SHOWN])
    context = {
        "access": access,
        "form": form,
        "usage": usage_after(tenant=access.tenant),
        "requests": [{"row": row, "wanted": in_words(limits=row.wanted)} for row in rows],
        "waiting": any(row.state == QuotaRequest.State.OPEN for row in rows),
        "reach": in_words(limits=self_approved_limits()) if not _is_beyond(access) else "",
        "again_at": self_approval_again_at(tenant=access.tenant),
        "tab": "settings",
        "part": "quota",
    }
    return render(request, "tenants/quota.html", context, status=422 if form.errors else 200)


def _is_beyond(access: Access) -> bool:
    """Tell whether every limit of the tenant is at least what approves itself, so that only an operator can give more."""
    return all(getattr(access.tenant, column) >= number for column, number in self_approved_limits().items())
