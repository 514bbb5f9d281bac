"""The account area's own pages; the others are allauth's views with our templates."""

from typing import Any, cast

from allauth.account.models import EmailAddress
from allauth.core.internal.ratelimit import consume_or_429
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from requests import RequestException

from apps.accounts.models import User
from apps.audit.services import record


@require_safe
@never_cache
@login_required
def your_account(request: HttpRequest) -> HttpResponse:
    """Show what there is to know and to change about one's account, in one look."""
    user = cast("User", request.user)
    factors = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    codes = next((factor for factor in factors if factor.type == Authenticator.Type.RECOVERY_CODES), None)
    context: dict[str, Any] = {
        "address": user.email,
        "pending": EmailAddress.objects.filter(user=user, verified=False).exclude(email__iexact=user.email).first(),
        "totp": next((factor for factor in factors if factor.type == Authenticator.Type.TOTP), None),
        "passkeys": [factor for factor in factors if factor.type == Authenticator.Type.WEBAUTHN],
        "codes": codes,
        "codes_left": len(codes.wrap().get_unused_codes()) if codes else 0,
        "session_count": len(UserSession.objects.purge_and_list(user)),
        "connected": list(SocialAccount.objects.filter(user=user)) if settings.OIDC_ISSUER else [],
    }
    return render(request, "account/your_account.html", context)


@require_POST
@login_required
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign out one other device of one's own."""
    user = cast("User", request.user)
    session = UserSession.objects.filter(pk=pk, user=user).first()
    if session is None:
        raise Http404(_("This session is not there any more."))
    if session.session_key == request.session.session_key:
        messages.error(request, _("This is the session you are using. To end it, sign out."))
        return redirect("usersessions_list")
    with transaction.atomic():
        session.end()
        record(
            by=user.actor, action="account.session_ended", sentence="signed out another session", tenant_id=None,
            target_id=str(user.id), target_label=user.email, data={"address": session.ip},
        )  # fmt: skip
    messages.success(request, _("That session is signed out."))
    return redirect("usersessions_list")


@never_cache
def single_sign_on(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Lead to the provider by a page of its own: a form may not be sent on to another site, our content policy says."""
    limited = consume_or_429(request, app="allauth.account", action="login")
    if limited is not None:
        return limited
    answer = _or_explain(request, provider_id, openid_connect.login)
    if request.method != "POST" or not isinstance(answer, HttpResponseRedirect):
        return answer
    return render(request, "socialaccount/continue.html", {"target": answer["Location"], "provider_name": settings.OIDC_NAME})


@never_cache
def single_sign_on_return(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Take whoever comes back from the provider."""
    return _or_explain(request, provider_id, openid_connect.callback)


def _or_explain(request: HttpRequest, provider_id: str, view: Any) -> HttpResponse:
    try:
        return cast("HttpResponse", view(request, provider_id))
    except (RequestException, KeyError, ValueError):  # out of reach, or what it answers is not OpenID Connect
        return render(request, "socialaccount/refused.html", {"why": "unreachable", "provider_name": settings.OIDC_NAME}, status=503)
