"""Every request has an id, in its log lines, in its answer and on its error page."""

import re
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

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
