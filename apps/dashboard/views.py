"""Pages of the portal itself: home, and the mails of a stack without a mail server."""

import re

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.accounts.models import User
from apps.common.mailbox import Mail, read_mails, shows_mails_to
from apps.common.scope import in_tenant
from apps.dashboard.organisation_pages import first_page
from apps.tenants.invitation_views import waiting_invitation
from apps.tenants.models import Membership, Tenant
from apps.tenants.pages import last_tenant_id
from apps.tenants.services import ensure_personal_tenant, tenants_of

LINK = re.compile(r"https?://[^\s<>\"]+")


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Say what this is; whoever is signed in goes to the organisation they were in last, to their bays or the form for the first one."""
    if not isinstance(request.user, User):
        return render(request, "dashboard/home.html")
    if waiting_invitation(request=request):
        return redirect("tenants:invitation")
    tenant = _last_used(request, request.user)
    return redirect(_first_page(request.user, tenant), tenant=tenant.slug)


@never_cache
@require_safe
def mails(request: HttpRequest) -> HttpResponse:
    """List the mails this stack has written; there is no such page where mails are really sent."""
    return render(request, "dashboard/mails.html", {"mails": _mails(request), "address": request.GET.get("to", "")})


@never_cache
@require_safe
def mail(request: HttpRequest, mail_id: str) -> HttpResponse:
    """Show one mail as text, with its links to click."""
    found = next((mail for mail in _mails(request) if mail.id == mail_id), None)
    if found is None:
        raise Http404(_("There is no such mail (any more)."))
    return render(request, "dashboard/mail.html", {"mail": found, "body": with_links(text=found.body)})


def with_links(*, text: str) -> SafeString:
    """Return plain text as HTML in which nothing but http(s) addresses is a link."""
    parts, end = [], 0
    for match in LINK.finditer(text):
        parts += [conditional_escape(text[end : match.start()]), format_html('<a href="{0}">{0}</a>', match[0])]
        end = match.end()
    return mark_safe("".join([*parts, conditional_escape(text[end:])]))  # noqa: S308 - every part is escaped above


def _mails(request: HttpRequest) -> list[Mail]:
    if not shows_mails_to(request=request):
        raise Http404(_("This portal sends its mails, or shows them only on the machine it runs on."))
    return read_mails()


def _last_used(request: HttpRequest, user: User) -> Tenant:
    mine = list(tenants_of(user=user))
    last = last_tenant_id(request=request)
    return next((tenant for tenant in mine if str(tenant.id) == last), mine[0] if mine else None) or ensure_personal_tenant(user=user)


def _first_page(user: User, tenant: Tenant) -> str:
    with in_tenant(tenant.id):
        return first_page(tenant=tenant, permissions=Membership.objects.get(tenant=tenant, user=user).permissions)
