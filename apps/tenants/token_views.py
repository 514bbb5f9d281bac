from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.common.pages import refusals_at
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission
from apps.tenants.token_forms import MaximumForm, TokenForm
from apps.tenants.token_issue import NewToken, longest_days
from apps.tenants.token_policy import set_max_token_days, tokens_beyond
from apps.tenants.tokens import create_token, live_tokens, revoke_token, tokens_of_everyone


@sensitive_variables("new")
@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def tokens(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the asker's tokens; a POST makes one and shows its text this once."""
    access.require(Permission.TOKEN_MANAGE)
    if request.method != "POST":
        return _page(request, access, form=_empty(access), new=None)
    form = TokenForm(request.POST, access=access, scopes=access.permissions)
    new = None
    if form.is_valid():
        asked = form.cleaned_data
        with refusals_at(form):
            new = create_token(access=access, name=asked["name"], scopes=asked["scopes"], expires_at=form.expiry())
    return _page(request, access, form=_empty(access) if new else form, new=new)


@require_POST
@tenant_page
def token_revoke(request: HttpRequest, access: Access, token: str) -> HttpResponse:
    """Revoke one of the asker's tokens, or, for those who manage the organisation, anybody's."""
    revoke_token(access=access, token_id=token)
    messages.success(request, _("The token is revoked; whoever still uses it is refused from now on."))
    if request.POST.get("from") == "everyone":
        return redirect("tenants:tokens_everyone", tenant=access.tenant.slug)
    return redirect("tenants:tokens", tenant=access.tenant.slug)


@require_safe
@tenant_page
def everyone(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the tokens of all members and programs without their text, and, with `?max_token_days=`, what another maximum would cut."""
    access.require(Permission.TENANT_MANAGE)
    return _everyone(request, access, form=_reviewed(request, access) if "max_token_days" in request.GET else None)


@require_POST
@tenant_page
def maximum(request: HttpRequest, access: Access) -> HttpResponse:
    """Set how long tokens may live, and cut those that would live longer."""
    form = MaximumForm(request.POST)
    if form.is_valid():
        with refusals_at(form):
            cut = set_max_token_days(access=access, days=form.cleaned_data["max_token_days"])
            said = ngettext("%d token was cut to it.", "%d tokens were cut to it.", cut) % cut if cut else ""
            messages.success(request, f"{_('The longest lifetime of tokens is set.')} {said}".strip())
            return redirect("tenants:tokens_everyone", tenant=access.tenant.slug)
    access.require(Permission.TENANT_MANAGE)
    return _everyone(request, access, form=form)


def _reviewed(request: HttpRequest, access: Access) -> MaximumForm:
    form = MaximumForm(request.GET)
    if form.is_valid():
        with refusals_at(form):
            tokens_beyond(access=access, days=form.cleaned_data["max_token_days"])
    return form


def _empty(access: Access) -> TokenForm:
    return TokenForm(access=access, scopes=access.permissions)


def _page(request: HttpRequest, access: Access, *, form: TokenForm, new: NewToken | None) -> HttpResponse:
    context = {"access": access, "form": form, "new": new, "tokens": live_tokens(access=access), "tab": "tokens", "part": "mine"}
    return render(request, "tenants/tokens.html", context, status=422 if form.errors else 200)


def _everyone(request: HttpRequest, access: Access, *, form: MaximumForm | None) -> HttpResponse:
    """Render the page; a form that is given and valid is one that was reviewed and waits for its confirmation."""
    shown = form or MaximumForm(initial={"max_token_days": access.tenant.max_token_days})
    reviewed = form is not None and form.is_bound and not form.errors
    days = shown.cleaned_data["max_token_days"] if reviewed else None
    context = {
        "access": access, "tokens": tokens_of_everyone(access=access), "tab": "tokens", "part": "everyone", "back_to": "everyone",
        "form": shown,
        "longest": longest_days(tenant=access.tenant), "reviewed": reviewed, "days": days,
        "beyond": tokens_beyond(access=access, days=days) if reviewed else 0,
    }  # fmt: skip
    return render(request, "tenants/tokens_everyone.html", context, status=422 if shown.errors else 200)
