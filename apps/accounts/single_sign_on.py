"""Signing in at the company's own identity provider (OpenID Connect): which of its people become which of our users."""

from typing import Any

import structlog
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest
from django.shortcuts import render

from apps.accounts.addresses import drop_claims, holder_of, is_service_address

log = structlog.get_logger()


def verified_address(*, sociallogin: SocialLogin) -> str:
    """Return the address, in lower case, that the provider says it has verified; empty if it says nothing of the kind."""
    said = sociallogin.account.extra_data.get("userinfo") or sociallogin.account.extra_data.get("id_token") or {}
    verified = said.get("email_verified")
    email = str(said.get("email") or "").strip().lower()
    try:
        validate_email(email)
    except ValidationError:
        return ""
    # Some providers write booleans as text; the text "false" must not pass for true.
    proven = verified is True or (isinstance(verified, str) and verified.lower() == "true")
    return email if proven and not is_service_address(email=email) else ""


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """A person of the provider becomes a user of ours by a verified address only, and never becomes one who is there already by itself."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuse, with a page that says why, what must not be linked. Whoever was linked before just signs in."""
        said = sociallogin.account.extra_data
        if "id_token" not in said or (said.get("userinfo") or said["id_token"]).get("sub") != said["id_token"].get("sub"):
            self._refuse(request, "mismatch", status=502)  # OpenID Connect Core 1.0, 5.3.2
        if sociallogin.is_existing:
            return
        email = verified_address(sociallogin=sociallogin)
        if not email:
            self._refuse(request, "unverified")
        if sociallogin.state.get("process") == "connect":
            return
        if holder_of(email=email) is not None:
            self._refuse(request, "in_use", email=email)
        drop_claims(email=email)
        sociallogin.user.email = email  # type: ignore[union-attr]
        for address in sociallogin.email_addresses:
            address.email, address.verified = email, True

    def _refuse(self, request: HttpRequest, why: str, *, status: int = 403, email: str = "") -> None:
        log.warning("single sign-on refused", why=why)
        page = render(
            request, "socialaccount/refused.html", {"why": why, "email": email, "provider_name": settings.OIDC_NAME}, status=status
        )
        raise ImmediateHttpResponse(page)

    def on_authentication_error(  # the arguments are allauth's
        self,
        request: HttpRequest,  # noqa: ARG002
        provider: Any,  # noqa: ARG002
        error: Any = None,
        exception: Any = None,
        extra_context: Any = None,  # noqa: ARG002
    ) -> None:
        """Say in the log what went wrong at the provider; the page tells the visitor only what they can do."""
        log.warning("single sign-on failed", error=str(error), reason=type(exception).__name__ if exception else "")
