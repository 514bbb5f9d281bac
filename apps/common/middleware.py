"""What every request begins with: an id, in its log lines, in its answer and on its error page; and a scope for the database."""

import re
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from apps.common.scope import as_nobody, as_system, enter_user

ACCEPTED = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Return middleware that takes over a proxy's X-Request-ID if it is harmless, or makes one."""

    def middleware(request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        identity = given if ACCEPTED.fullmatch(given) else uuid.uuid4().hex
        request.META["carina.request_id"] = identity
        with structlog.contextvars.bound_contextvars(request_id=identity):
            response = get_response(request)
        response["X-Request-ID"] = identity
        return response

    return middleware


def scope(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Return middleware with which a request sees no tenant's rows, but for what is its signed-in user's own.

    Pages and the API enter a tenant once they have checked that the user belongs to it. Django's admin pages see all: they are for
    operators only.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        with as_nobody():
            # Without the cookie there is no session: asking for the user would only make the answer vary by cookie.
            user = request.user if settings.SESSION_COOKIE_NAME in request.COOKIES else None
            if user is not None and user.is_authenticated:
                enter_user(user.pk)
                if user.is_staff and request.path.startswith(reverse("admin:index")):
                    with as_system("admin pages"):
                        return get_response(request)
            return get_response(request)

    return middleware
