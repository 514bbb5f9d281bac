from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from apps.common.errors import NotFound
from apps.common.pages import refusals_at
from apps.tenants.context import Access
from apps.tenants.models import ServiceAccount
from apps.tenants.pages import tenant_page
from apps.tenants.roles import PERMISSIONS, Role
from apps.tenants.service_accounts import (
    change_service_account,
    create_service_account,
    create_service_token,
    delete_service_account,
    find_service_account,
    roles_to_give,
    service_accounts,
    tokens_of_account,
)
from apps.tenants.token_forms import DeleteServiceAccountForm, ServiceAccountForm, TokenForm
from apps.tenants.token_issue import NewToken
from apps.tenants.tokens import revoke_token

CHANGE_IDS = "id_change_%s"
"""Ids of the fields of one form, where another form on the page has fields of the same names."""


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def accounts(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the programs of the organisation; a POST makes one and leads to its page."""
    rows = service_accounts(access=access)
    roles = roles_to_give(access=access)
    form = ServiceAccountForm(request.POST or None, roles=roles, initial={"role": Role.OPERATOR})
    if request.method == "POST" and form.is_valid():
        with refusals_at(form):
            made = create_service_account(access=access, name=form.cleaned_data["name"], role=form.cleaned_data["role"])
            messages.success(request, _("The service account is there. Give it a token next."))
            return redirect("tenants:service_account", tenant=access.tenant.slug, account=made.id)
    context = {"access": access, "accounts": rows, "form": form, "tab": "tokens", "part": "accounts"}
    return render(request, "tenants/service_accounts.html", context, status=422 if form.errors else 200)


@sensitive_variables("new")
@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def account(request: HttpRequest, access: Access, account: str) -> HttpResponse:
    """Show a service account; a POST makes a token for it and shows its text this once."""
    row = find_service_account(access=access, account_id=account)
    if request.method != "POST":
        return _page(request, access, row)
    form = _token_form(access, row, request)
    new = None
    if form.is_valid():
        asked = form.cleaned_data
        with refusals_at(form):
            new = create_service_token(
                access=access, account_id=account, name=asked["name"], scopes=asked["scopes"], expires_at=form.expiry()
            )
    return _page(request, access, row, new=new, token_form=None if new else form)


@require_POST
@tenant_page
def account_change(request: HttpRequest, access: Access, account: str) -> HttpResponse:
    """Rename a service account or change its role."""
    row = find_service_account(access=access, account_id=account)
    form = ServiceAccountForm(request.POST, roles=_roles(access, row), auto_id=CHANGE_IDS)
    if form.is_valid():
        with refusals_at(form):
            change_service_account(access=access, account_id=account, name=form.cleaned_data["name"], role=form.cleaned_data["role"])
            messages.success(request, _("The service account is changed."))
            return redirect("tenants:service_account", tenant=access.tenant.slug, account=account)
    return _page(request, access, row, change_form=form)


@require_POST
@tenant_page
def account_delete(request: HttpRequest, access: Access, account: str) -> HttpResponse:
    """Delete a service account whose name was typed."""
    row = find_service_account(access=access, account_id=account)
    form = DeleteServiceAccountForm(request.POST)
    if form.is_valid() and form.cleaned_data["confirm"] == row.name:
        delete_service_account(access=access, account_id=account)
        messages.success(request, _("%s is deleted; its tokens are refused from now on.") % row.name)
        return redirect("tenants:service_accounts", tenant=access.tenant.slug)
    if form.is_valid():
        form.add_error("confirm", _("This is not its name; type “%s”.") % row.name)
    return _page(request, access, row, delete_form=form)


@require_POST
@tenant_page
def account_token_revoke(request: HttpRequest, access: Access, account: str, token: str) -> HttpResponse:
    """Revoke a token of a service account."""
    row = find_service_account(access=access, account_id=account)
    if not tokens_of_account(access=access, account=row).filter(id=token).exists():
        raise NotFound("The service account has no such token.", code="token_not_found")
    revoke_token(access=access, token_id=token)
    messages.success(request, _("The token is revoked; whoever still uses it is refused from now on."))
    return redirect("tenants:service_account", tenant=access.tenant.slug, account=account)


def _roles(access: Access, row: ServiceAccount) -> list[Role]:
    """Return the roles to choose from: those the asker may give, and the one it has."""
    return sorted({*roles_to_give(access=access), _role(row)}, key=list(Role).index)


def _role(row: ServiceAccount) -> Role:
    return Role(row.role)  # type: ignore[attr-defined]  # annotated


def _change_form(access: Access, row: ServiceAccount) -> ServiceAccountForm:
    return ServiceAccountForm(roles=_roles(access, row), auto_id=CHANGE_IDS, initial={"name": row.name, "role": _role(row)})


def _token_form(access: Access, row: ServiceAccount, request: HttpRequest | None = None) -> TokenForm:
    return TokenForm(request.POST if request else None, access=access, scopes=PERMISSIONS[_role(row)] & access.permissions)


def _page(
    request: HttpRequest,
    access: Access,
    row: ServiceAccount,
    *,
    new: NewToken | None = None,
    token_form: TokenForm | None = None,
    change_form: ServiceAccountForm | None = None,
    delete_form: DeleteServiceAccountForm | None = None,
) -> HttpResponse:
    given = [form for form in (token_form, change_form, delete_form) if form is not None]
    context = {
        "access": access, "account": row, "tab": "tokens", "part": "accounts", "new": new,
        "tokens": tokens_of_account(access=access, account=row),
        "form": token_form or _token_form(access, row),
        "change_form": change_form or _change_form(access, row),
        "rest_path": f"/tenants/{access.tenant.slug}/service-accounts/{row.id}",
        "delete_form": delete_form or DeleteServiceAccountForm(),
    }  # fmt: skip
    return render(request, "tenants/service_account.html", context, status=422 if any(form.errors for form in given) else 200)
