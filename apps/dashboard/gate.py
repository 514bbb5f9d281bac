"""The gate of every page for operators: for everybody else it does not exist."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.common.errors import CarinaError, Forbidden, NotFound
from apps.common.scope import as_system

P = ParamSpec("P")
View = Callable[..., HttpResponse]


def operator_page(view: Callable[Concatenate[HttpRequest, P], HttpResponse]) -> View:
    """Return the view for operators: who is not signed in signs in, everybody else gets 404. No cache keeps what it shows.

    It sees the rows of all tenants. NotFound becomes 404, Forbidden 403, and any other refusal a page with its sentence.
    """

    @wraps(view)
    def page(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not isinstance(request.user, User):
            return redirect_to_login(request.get_full_path())
        if not request.user.is_staff:
            raise Http404(_("There is no such page."))
        try:
            with as_system("operator console"):
                response = view(request, *args, **kwargs)
        except NotFound as error:
            raise Http404(error.detail) from error
        except Forbidden as error:
            raise PermissionDenied(error.detail) from error
        except CarinaError as error:
            response = render(request, "errors/refused.html", {"error": error}, status=error.status)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return page


def require_operator(*, by: User) -> None:
    """Raise NotFound unless `by` is an operator: use cases of operators do not exist for anybody else."""
    if not (by.is_staff and by.is_active):
        raise NotFound("There is no such page.")


def operator_of(request: HttpRequest) -> User:
    """Return the operator who asks, behind the gate; raises NotFound in front of it."""
    if not isinstance(request.user, User) or not request.user.is_staff:
        raise NotFound("There is no such page.")
    return request.user


def searched(request: HttpRequest) -> str:
    """Return what was typed into a page's search box; nothing for what no name can hold."""
    query = request.GET.get("q", "").strip()
    return query if query.isprintable() else ""
