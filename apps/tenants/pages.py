"""The gate of every page of a tenant: who is not signed in signs in, a stranger sees nothing, a refusal becomes a sentence."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from apps.accounts.models import User
from apps.common.errors import CarinaError, Forbidden, NotFound
from apps.common.scope import enter_tenant
from apps.tenants.context import Access, access_of

P = ParamSpec("P")
View = Callable[..., HttpResponse]
A_YEAR = 31_536_000


def tenant_page(view: Callable[Concatenate[HttpRequest, Access, P], HttpResponse]) -> View:
    """Return the view for `/t/<tenant>/…`, which then gets the asker's Access in place of the tenant's name.

    NotFound becomes 404, Forbidden 403, and any other refusal that the view lets through a page with its sentence. What is shown to
    one member is kept by no cache.
    """

    @wraps(view)
    def page(request: HttpRequest, tenant: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not isinstance(request.user, User):
            return _to_sign_in(request)
        try:
            access = access_of(user=request.user, slug=tenant)
            enter_tenant(access.tenant.id)
            response = view(request, access, *args, **kwargs)
        except NotFound as error:
            raise Http404(error.detail) from error
        except Forbidden as error:
            raise PermissionDenied(error.detail) from error
        except CarinaError as error:
            response = render(request, "errors/refused.html", {"error": error}, status=error.status)
        else:
            remember_tenant(request=request, response=response, tenant_id=access.tenant.id)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return page


def last_tenant_id(*, request: HttpRequest) -> str:
    """Return the id of the tenant whose page this browser showed last, as the browser says: it opens nothing. Empty if there is none."""
    return request.COOKIES.get(_cookie(), "")


def remember_tenant(*, request: HttpRequest, response: HttpResponse, tenant_id: UUID) -> None:
    """Note in the browser which tenant it shows, for the next visit's first page."""
    if last_tenant_id(request=request) != str(tenant_id):
        response.set_cookie(_cookie(), str(tenant_id), max_age=A_YEAR, httponly=True, secure=settings.SESSION_COOKIE_SECURE, samesite="Lax")


def is_fragment(request: HttpRequest) -> bool:
    """Tell whether htmx asks for a part of the page, as opposed to a visitor or htmx restoring a page of its history."""
    htmx: Any = getattr(request, "htmx", None)
    return bool(htmx) and not htmx.history_restore_request


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    if is_fragment(request):
        return HttpResponseClientRedirect(reverse("account_login"))
    return redirect_to_login(request.get_full_path())


def _cookie() -> str:
    return f"carina_tenant_{settings.INSTALLATION}"
