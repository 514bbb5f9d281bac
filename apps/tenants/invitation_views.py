"""What the link of an invitation leads to: a page that says who invites whom to what, with one button.

The link's secret leaves the address at once: its hash goes to the session, and the page has an address that may be seen, logged and
come back to after signing in. Opening the link changes nothing else, so that a mail scanner may follow it.
"""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.models import User
from apps.common.errors import CarinaError, Forbidden, NotFound
from apps.tenants.acceptance import Offer, Standing, accept, find_offer
from apps.tenants.invitations import digest_of
from apps.tenants.pages import remember_tenant
from apps.tenants.roles import MEANING, Role

KEY, SEEN = "invitation", "invitation_seen"


@sensitive_variables("secret")
@never_cache
@require_safe
def invitation_link(request: HttpRequest, secret: str) -> HttpResponse:
    """Take the secret out of the address."""
    request.session[KEY] = digest_of(secret=secret)
    request.session.pop(SEEN, None)
    return redirect("tenants:invitation")


@never_cache
@require_safe
def invitation(request: HttpRequest) -> HttpResponse:
    """Show the invitation whose link was opened in this browser, or that it is not valid any more."""
    offer = _offer(request)
    if offer is not None and offer.standing is Standing.MEMBER:
        return _enter(request, offer.tenant.id, _("You are a member of %s.") % offer.tenant.name)
    if offer is not None and isinstance(request.user, User):
        request.session[SEEN] = True
    return _page(request, offer, status=200 if offer else 404)


@never_cache
@require_POST
def invitation_accept(request: HttpRequest) -> HttpResponse:
    """Become a member."""
    if not isinstance(request.user, User):
        return redirect(_sign_in())
    try:
        member = accept(by=request.user, digest=request.session.get(KEY, ""))
    except (NotFound, Forbidden):
        return _page(request, _offer(request), status=409)
    except CarinaError as error:
        return render(request, "errors/refused.html", {"error": error}, status=error.status)
    return _enter(request, member.tenant_id, _("Welcome to %s.") % member.tenant.name)


@never_cache
@require_POST
def invitation_switch(request: HttpRequest) -> HttpResponse:
    """Sign out, to come back to the same invitation with another account."""
    digest = request.session.get(KEY, "")
    logout(request)
    request.session[KEY] = digest
    return redirect(_sign_in())


def waiting_invitation(*, request: HttpRequest) -> bool:
    """Tell whether an invitation for who is signed in was opened in this browser and not shown to them yet: they signed in for it."""
    if request.session.get(SEEN) or KEY not in request.session:
        return False
    offer = _offer(request)
    return offer is not None and offer.standing is Standing.MINE


def _offer(request: HttpRequest) -> Offer | None:
    digest = request.session.get(KEY, "")
    try:
        return find_offer(digest=digest, user=request.user if isinstance(request.user, User) else None) if digest else None
    except NotFound:
        return None


def _page(request: HttpRequest, offer: Offer | None, *, status: int) -> HttpResponse:
    here = urlencode({"next": reverse("tenants:invitation")})
    role = MEANING[Role(offer.invitation.role)] if offer else ""
    return render(request, "tenants/invitation.html", {"offer": offer, "role_means": role, "next": here}, status=status)


def _enter(request: HttpRequest, tenant_id: UUID, sentence: str) -> HttpResponse:
    for key in (KEY, SEEN):
        request.session.pop(key, None)
    messages.success(request, sentence)
    response = redirect("home")
    remember_tenant(request=request, response=response, tenant_id=tenant_id)
    return response


def _sign_in() -> str:
    return f"{reverse('account_login')}?{urlencode({'next': reverse('tenants:invitation')})}"
