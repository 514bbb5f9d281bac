"""Operators' pages of accounts: found by address, shut out and let in again with a reason."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.models import User
from apps.common.clock import now
from apps.common.errors import NotFound
from apps.common.pages import refusals_at
from apps.dashboard.forms import ReasonForm
from apps.dashboard.gate import operator_of, operator_page, searched
from apps.dashboard.people import disable_user, enable_user
from apps.tenants.models import ApiToken

USERS_A_PAGE = 50
KINDS = {
    "": Q(is_service=False),
    "operators": Q(is_staff=True),
    "disabled": Q(is_active=False),
    "programs": Q(is_service=True),
}


@require_safe
@operator_page
def users(request: HttpRequest) -> HttpResponse:
    """List accounts by address."""
    query, which = searched(request), request.GET.get("which", "")
    found = User.objects.filter(KINDS.get(which, KINDS[""])).annotate(tenant_count=Count("memberships"))
    if query:
        found = found.filter(Q(email__icontains=query) | Q(service_account__name__icontains=query))
    page = Paginator(found.select_related("service_account").order_by("email"), USERS_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "operators/users.html", {"page": page, "query": query, "which": which, "tab": "users"})


@require_safe
@operator_page
def user(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Show one account: where it belongs, and whether it may sign in."""
    return _page(request, _get(user_id), ReasonForm())


@require_POST
@operator_page
def user_disable(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Shut the account out at once."""
    done = _("%s is disabled: sessions have ended, tokens are revoked.")
    return _change(request, user_id, disable_user, done)


@require_POST
@operator_page
def user_enable(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Let the account in again."""
    return _change(request, user_id, enable_user, _("%s may sign in again."))


def _change(request: HttpRequest, user_id: UUID, change: Callable[..., User], done: str) -> HttpResponse:
    row = _get(user_id)
    form = ReasonForm(request.POST)
    if form.is_valid():
        with refusals_at(form):
            changed = change(by=operator_of(request), user_id=row.id, reason=form.cleaned_data["reason"])
            messages.success(request, done % changed.email)
            return redirect("dashboard:operator-user", user_id=row.id)
    return _page(request, row, form)


def _get(user_id: UUID) -> User:
    found = User.objects.filter(id=user_id).first()
    if found is None:
        raise NotFound(_("There is no such account."))
    return found


def _page(request: HttpRequest, row: User, form: ReasonForm) -> HttpResponse:
    context = {
        "row": row,
        "memberships": row.memberships.select_related("tenant").order_by("tenant__name", "id"),
        "tokens": ApiToken.objects.filter(user=row, revoked_at=None, expires_at__gt=now()).count(),
        "form": form,
        "own": row.pk == operator_of(request).pk,
        "tab": "users",
    }
    return render(request, "operators/user.html", context, status=422 if form.errors else 200)
