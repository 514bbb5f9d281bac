"""Who sends a request: an API token in a header, or a browser's session. Nothing in the address is ever taken for a token."""

from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apps.accounts.models import User
from apps.common.api.failures import count_failure
from apps.common.errors import Forbidden
from apps.common.origin import address_in
from apps.tenants.models import ApiToken
from apps.tenants.token_text import looks_like_secret, looks_like_token
from apps.tenants.tokens import find_token

CHALLENGE = 'Bearer realm="carina"'
OTHER_HEADER = "X-Auth-Token"


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`, or `X-Auth-Token: <token>` as OpenStack's clients send it."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return user and token, or None for a request without one; raises AuthenticationFailed for any other.

        An address that fails too often gets TooManyFailures instead.
        """
        try:
            return _authenticate(request)
        except AuthenticationFailed:
            count_failure(address=address_in(request.META))
            raise

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return CHALLENGE


class BrowserSession(SessionAuthentication):
    """The portal's own pages: the session cookie, and for changes the CSRF token in the header X-CSRFToken."""

    def enforce_csrf(self, request: Request) -> None:
        """Raise Forbidden unless the request proves to come from a page of the portal."""
        try:
            super().enforce_csrf(request)
        except Exception as error:
            raise Forbidden(
                "A change with a browser's session needs the header X-CSRFToken of a page of this portal; "
                "programs send an API token instead.",
                code="csrf_failed",
            ) from error


def _authenticate(request: Request) -> tuple[User, ApiToken] | None:
    text = _token_text(request)
    if text is None:
        _refuse_token_in_address(request)
        return None
    if not looks_like_token(text=text):
        raise AuthenticationFailed(
            "This is not an API token of this portal: it is cut off, mistyped or from elsewhere.", code="token_malformed"
        )
    token = find_token(text=text, address=address_in(request.META))
    if token is None:
        raise AuthenticationFailed(
            "This API token is unknown, expired or revoked, or whoever it is for lost access; make a new one in the portal's settings.",
            code="token_invalid",
        )
    return token.user, token


def _token_text(request: Request) -> str | None:
    header = get_authorization_header(request)
    if not header:
        return request.headers.get(OTHER_HEADER)
    scheme, _, text = header.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise AuthenticationFailed("The header must read “Authorization: Bearer <token>”.", code="token_malformed")
    return text.strip()


def _refuse_token_in_address(request: Request) -> None:
    values = [value for _, several in request.GET.lists() for value in several]
    if any(looks_like_token(text=value) or looks_like_secret(text=value) for value in values):
        raise AuthenticationFailed(
            "A token in an address is not accepted, since addresses end up in logs: revoke this one and send a new one in the header "
            "“Authorization: Bearer <token>”.",
            code="token_in_address",
        )  # fmt: skip
