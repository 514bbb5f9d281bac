"""The people of an organisation: who they are, roles, invitations, removing somebody, and the certificates that people took along."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from apps.bays.former_members import certificates_held_by, certificates_of_former_members
from apps.common.clock import now
from apps.common.pages import refusals_as_messages, refusals_at
from apps.tenants.context import Access
from apps.tenants.forms import InviteForm
from apps.tenants.invitations import invitations_of, invite, resend, revoke
from apps.tenants.members import change_role, may_manage, member_named, members_of, remove_member, roles_to_assign
from apps.tenants.models import Membership
from apps.tenants.pages import tenant_page
from apps.tenants.roles import MEANING, Permission


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def members(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the people; a POST invites one more."""
    access.require(Permission.TENANT_READ)
    if request.method != "POST":
        return _page(request, access)
    access.require(Permission.MEMBER_MANAGE)
    form = InviteForm(request.POST, access=access)
    if form.is_valid():
        asked = form.cleaned_data
        with refusals_at(form):
            row = invite(access=access, email=asked["email"], role=asked["role"], days=asked["expires_in_days"])
            messages.success(request, _("The invitation is on its way to %s.") % row.email)
            return redirect("dashboard:members", tenant=access.tenant.slug)
    return _page(request, access, form=form)


@require_POST
@tenant_page
def member_role(request: HttpRequest, access: Access, member: UUID) -> HttpResponse:
    """Give a member another role."""
    with refusals_as_messages(request):
        changed = change_role(access=access, user_id=member, role=request.POST.get("role", ""))
        messages.success(request, _("%(who)s is %(role)s now.") % {"who": changed.user, "role": changed.role})
    return redirect("dashboard:members", tenant=access.tenant.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def member_remove(request: HttpRequest, access: Access, member: UUID) -> HttpResponse:
    """Say what removing a member takes from them and what it leaves; a POST does it."""
    access.require(Permission.MEMBER_MANAGE)
    found = member_named(access=access, user_id=member)
    if request.method != "POST":
        context = {
            "access": access,
            "tab": "settings",
            "member": found,
            "tokens": access.tenant.tokens.filter(user=found.user, revoked_at=None, expires_at__gt=now()).count(),
            "held": certificates_held_by(access=access, user_id=found.user_id),
        }
        return render(request, "tenants/remove.html", context)
    with refusals_as_messages(request):
        remove_member(access=access, user_id=member)
        messages.success(request, _("%s is no longer a member; their tokens are revoked.") % found.user)
    return redirect("dashboard:members", tenant=access.tenant.slug)


@require_POST
@tenant_page
def invitation_resend(request: HttpRequest, access: Access, invitation: UUID) -> HttpResponse:
    """Send an invitation again, with a new link."""
    with refusals_as_messages(request):
        row = resend(access=access, invitation_id=invitation)
        messages.success(request, _("A new mail is on its way to %s; the link in the one before is void.") % row.email)
    return redirect("dashboard:members", tenant=access.tenant.slug)


@require_POST
@tenant_page
def invitation_revoke(request: HttpRequest, access: Access, invitation: UUID) -> HttpResponse:
    """Withdraw an invitation."""
    revoke(access=access, invitation_id=invitation)
    messages.success(request, _("The invitation is withdrawn; its link is void."))
    return redirect("dashboard:members", tenant=access.tenant.slug)


def _page(request: HttpRequest, access: Access, *, form: InviteForm | None = None) -> HttpResponse:
    managing = access.may(Permission.MEMBER_MANAGE)
    context = {
        "access": access,
        "tab": "settings",
        "part": "members",
        "members": [_row(access, member) for member in members_of(access=access)],
        "roles": roles_to_assign(access=access),
        "meanings": [(role.capitalize(), meaning) for role, meaning in MEANING.items()],
        "managing": managing,
        "form": form or InviteForm(access=access),
        "invitations": invitations_of(access=access) if managing else [],
        "left_behind": certificates_of_former_members(access=access) if managing else [],
        "now": now(),
    }
    return render(request, "tenants/members.html", context, status=422 if form is not None else 200)


def _row(access: Access, member: Membership) -> dict[str, Any]:
    return {"member": member, "manageable": may_manage(access=access, member=member), "me": member.user_id == access.user.id}
