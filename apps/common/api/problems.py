"""Every error of the API as RFC 9457 `application/problem+json`: type, title, status, detail, code, errors by field, request id."""

import math
from collections.abc import Mapping
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response

from apps.common.errors import CarinaError, Forbidden, NotFound

log = structlog.get_logger(__name__)
CONTENT_TYPE = "application/problem+json"
TYPES = "/api/v1/problems/"
"""`type` of a problem is this address followed by its code; the address answers with what the code means."""


class BadRequest(CarinaError):
    """The request itself cannot be understood: its body, a header or a query parameter."""


class TooLarge(CarinaError):
    """The body is larger than any request of this API needs."""

    status = 413
    code = "body_too_large"
    title = "Too large"


class LengthRequired(CarinaError):
    """The body came without a Content-Length."""

    status = 411
    code = "length_required"
    title = "Length required"


class Unavailable(CarinaError):
    """Something the portal needs does not answer now; the same request may succeed in `retry_after` seconds."""

    status = 503
    code = "unavailable"
    title = "Not available now"
    retry_after = 2


class Mistake(CarinaError):
    """A mistake in Carina itself; the log has the details under the request's id."""

    status = 500
    code = "internal"
    title = "A mistake in Carina itself"


MISTAKE = Mistake("Something went wrong here, not with your request; tell the operator the request_id of this answer.")
DATABASE_SILENT = Unavailable("The portal's database does not answer now; send the same request again in a few seconds.")


class _FromFramework(CarinaError):
    """An error of the REST framework, with the status and the title of its kind."""

    def __init__(self, error: exceptions.APIException, *, code: str, title: str, detail: str) -> None:
        super().__init__(detail, code=code)
        self.status, self.title = error.status_code, title


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """Return the answer for any exception of a view (the REST framework's EXCEPTION_HANDLER).

    What is not anticipated becomes a 500 that names the request's id and nothing else, and is logged with its traceback.
    """
    request: HttpRequest = context["request"]
    known = _known(error)
    if known is None:
        log.error("api_mistake", path=request.path, exc_info=error)
        got_request_exception.send(sender=type(context.get("view")), request=getattr(request, "_request", request))
        known = MISTAKE
    else:
        log.info("api_refused", status=known.status, code=known.code)
    return Response(body(error=known, request=request), status=known.status, headers=_headers(error, known), content_type=CONTENT_TYPE)


def answer(*, error: CarinaError, request: HttpRequest) -> JsonResponse:
    """Return the answer for an error outside the REST framework's views."""
    response = JsonResponse(body(error=error, request=request), status=error.status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    if wait := getattr(error, "retry_after", None):
        response["Retry-After"] = str(wait)
    return response


def outside_views(*, status: int, request: HttpRequest) -> JsonResponse:
    """Return the answer for a request below /api/ that failed before any view saw it: a bad Host, a session that cannot be read …"""
    known: dict[int, CarinaError] = {
        400: BadRequest("The request cannot be understood: its header Host, or another one, is not what this portal accepts."),
        403: Forbidden("You may not do this."),
        404: NotFound("There is nothing at this address."),
        503: DATABASE_SILENT,
    }
    return answer(error=known.get(status, MISTAKE), request=request)


def body(*, error: CarinaError, request: HttpRequest) -> dict[str, Any]:
    """Return the members of the problem document."""
    return {
        "type": f"{TYPES}{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "errors": error.errors,
        "request_id": request.META.get("carina.request_id", ""),
    }


def _known(error: Exception) -> CarinaError | None:
    match error:
        case CarinaError():
            return error
        case Http404():
            return NotFound("There is nothing at this address.")
        case PermissionDenied():
            return Forbidden("You may not do this.")
        case exceptions.APIException():
            return _framework(error)
        case OperationalError() | InterfaceError():
            log.warning("database_unavailable", exc_info=error)
            return DATABASE_SILENT
    return None


def _framework(error: exceptions.APIException) -> CarinaError:
    match error:
        case exceptions.NotAuthenticated():
            return _FromFramework(
                error, code="not_authenticated", title="Not signed in",
                detail="Send an API token in the header “Authorization: Bearer <token>”; tokens are made in the portal's settings.",
            )  # fmt: skip
        case exceptions.AuthenticationFailed():
            return _FromFramework(error, code=str(error.get_codes()), title="Not signed in", detail=str(error.detail))
        case exceptions.MethodNotAllowed():
            return _FromFramework(
                error, code="method_not_allowed", title="Method not allowed",
                detail=f"{str(error.args[0])[:20] if error.args else 'This method'} is not possible here; the header Allow lists what is.",
            )  # fmt: skip
        case exceptions.NotAcceptable():
            return _FromFramework(
                error,
                code="not_acceptable",
                title="Not acceptable",
                detail="This address answers with JSON: send “Accept: application/json”, or no Accept at all.",
            )
        case exceptions.UnsupportedMediaType():
            return _FromFramework(
                error,
                code="unsupported_media_type",
                title="Unsupported media type",
                detail="Send the body as JSON, with “Content-Type: application/json”.",
            )
        case exceptions.Throttled():
            seconds = math.ceil(getattr(error, "wait", None) or 1)
            return _FromFramework(
                error, code="too_many_requests", title="Too many requests",
                detail=f"Too many requests; the next one is possible in {seconds} {'second' if seconds == 1 else 'seconds'}.",
            )  # fmt: skip
        case exceptions.NotFound():
            return NotFound("There is nothing at this address.")
        case exceptions.PermissionDenied():
            return Forbidden("You may not do this.")
    return _FromFramework(error, code="bad_request", title="Bad request", detail=str(error.detail))


def _headers(error: Exception, known: CarinaError) -> dict[str, str]:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    wait = getattr(error, "wait", None) or getattr(known, "retry_after", None)
    if wait:
        headers["Retry-After"] = str(math.ceil(wait))
    return headers
