"""Pages for what goes wrong, with the request's id. None of them needs the database."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader

from apps.common.api import problems


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001 - Django passes it
    """Answer 400."""
    return _page(request, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 403 with the sentence that says what is missing."""
    return _page(request, 403, _sentence(exception))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 404, with the sentence of the domain where there is one."""
    return _page(request, 404, _sentence(exception))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 503 while the database does not answer, else 500."""
    out_of_reach = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    response = _page(request, 503 if out_of_reach else 500)
    if out_of_reach:
        response["Retry-After"] = "5"
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 - Django passes it
    """Answer 403 to a form that was not sent from one of our pages, or so long after that its proof is gone."""
    return _page(request, 403, template="403_csrf.html")


def _sentence(exception: Exception | None) -> str:
    first = exception.args[0] if exception is not None and exception.args else ""
    return first if isinstance(first, str) else ""  # what the URL resolver raises carries a dict


def _page(request: HttpRequest, status: int, sentence: str = "", *, template: str = "") -> HttpResponse:
    if request.path.startswith("/api/"):
        return problems.outside_views(status=status, request=request)
    context = {"sentence": sentence, "request_id": request.META.get("carina.request_id", "")}
    return HttpResponse(loader.render_to_string(template or f"{status}.html", context), status=status)
