"""An organisation's own page: what it is, its limits and rules, leaving it, deleting it."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.mfa import has_second_factor
from apps.bays.usage import usage_after
from apps.common.pages import refusals_as_messages, refusals_at
from apps.tenants.context import Access
from apps.tenants.forms import ConfirmForm, RenameForm, SecondFactorForm
from apps.tenants.members import leave_tenant, members_of
from apps.tenants.models import Tenant
from apps.tenants.pages import tenant_page
from apps.tenants.roles import MEANING, Permission, Role
from apps.tenants.services import delete_tenant, rename_tenant, require_mfa


@require_safe
@tenant_page
def tenant_start(request: HttpRequest, access: Access) -> HttpResponse:
    """Lead to the page of the organisation that the asker begins with."""
    del request
    return redirect(first_page(tenant=access.tenant, permissions=access.permissions), tenant=access.tenant.slug)


def first_page(*, tenant: Tenant, permissions: frozenset[Permission]) -> str:
    """Return the name of the page to begin with, one that these permissions open: bays, the form for the first one, or the settings."""
    if Permission.BAY_READ not in permissions:
        return "dashboard:settings"
    return "bays:new" if Permission.BAY_CREATE in permissions and not tenant.bays.exists() else "bays:list"


@require_safe
@tenant_page
def tenant_settings(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the organisation."""
    access.require(Permission.TENANT_READ)
    return _page(request, access)


@require_POST
@tenant_page
def tenant_rename(request: HttpRequest, access: Access) -> HttpResponse:
    """Give it another name; its name in addresses stays."""
    access.require(Permission.TENANT_MANAGE)
    form = RenameForm(request.POST)
    if form.is_valid():
        with refusals_at(form):
            rename_tenant(access=access, name=form.cleaned_data["name"])
            messages.success(request, _("The organisation is now called %s; its addresses stay.") % access.tenant.name)
            return redirect("dashboard:settings", tenant=access.tenant.slug)
    return _page(request, access, rename_form=form)


@require_POST
@tenant_page
def tenant_second_factor(request: HttpRequest, access: Access) -> HttpResponse:
    """Require a second factor of members, or no longer."""
    access.require(Permission.TENANT_MANAGE)
    form = SecondFactorForm(request.POST)
    if form.is_valid():
        with refusals_at(form):
            require_mfa(access=access, required=form.cleaned_data["mfa_required"])
            on = _("From now on only members with a second factor get in.")
            messages.success(request, on if access.tenant.mfa_required else _("A second factor is not required now."))
            return redirect("dashboard:settings", tenant=access.tenant.slug)
    return _page(request, access, mfa_form=form)


@require_POST
@tenant_page
def tenant_leave(request: HttpRequest, access: Access) -> HttpResponse:
    """Give up one's own membership."""
    with refusals_as_messages(request):
        leave_tenant(access=access)
        messages.success(request, _("You have left %s. Your API tokens for it are revoked.") % access.tenant.name)
        return redirect("tenants:organisations")
    return redirect("dashboard:settings", tenant=access.tenant.slug)


@require_POST
@tenant_page
def tenant_delete(request: HttpRequest, access: Access) -> HttpResponse:
    """Delete the organisation whose name was typed."""
    access.require(Permission.TENANT_DELETE)
    form = ConfirmForm(request.POST, slug=access.tenant.slug)
    if form.is_valid():
        with refusals_at(form):
            delete_tenant(access=access)
            messages.success(request, _("%s is deleted.") % access.tenant.name)
            return redirect("tenants:organisations")
    return _page(request, access, delete_form=form)


def _page(request: HttpRequest, access: Access, **forms: Any) -> HttpResponse:
    tenant = access.tenant
    context = {
        "access": access,
        "tab": "settings",
        "part": "overview",
        "usage": usage_after(tenant=tenant),
        "people": members_of(access=access).count(),
        "bays": tenant.bays.filter(deleted_at=None).order_by("name"),
        "role_means": MEANING[Role(access.role)],
        "has_second_factor": has_second_factor(user=access.user),
        "rename_form": RenameForm(initial={"name": tenant.name}),
        "mfa_form": SecondFactorForm(initial={"mfa_required": tenant.mfa_required}),
        "delete_form": ConfirmForm(slug=tenant.slug),
        **forms,
    }
    return render(request, "tenants/settings.html", context, status=422 if forms else 200)
