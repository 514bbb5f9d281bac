from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from apps.common.errors import CarinaError, Forbidden
from apps.tenants.context import Access
from apps.tenants.token_forms import TokenForm
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission
from apps.tenants.tokens import NewToken, create_token, live_tokens, revoke_token


@sensitive_variables("new")
@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def tokens(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the asker's tokens; a POST makes one and shows its text this once."""
    access.require(Permission.TOKEN_MANAGE)
    if request.method != "POST":
        return _page(request, access, form=_empty(access), new=None)
    form = TokenForm(request.POST, access=access)
    new = None
    if form.is_valid():
        asked = form.cleaned_data
        try:
            new = create_token(access=access, name=asked["name"], scopes=asked["scopes"], expires_at=form.expiry())
        except Forbidden:
            raise
        except CarinaError as error:
            form.blame(error)
    return _page(request, access, form=_empty(access) if new else form, new=new)


@require_POST
@tenant_page
def token_revoke(request: HttpRequest, access: Access, token: str) -> HttpResponse:
    """Revoke one of the asker's tokens."""
    revoke_token(access=access, token_id=token)
    messages.success(request, _("The token is revoked; whoever still uses it is refused from now on."))
    return redirect("tenants:tokens", tenant=access.tenant.slug)


def _empty(access: Access) -> TokenForm:
    return TokenForm(access=access, initial={"scopes": sorted(access.permissions), "expires_at": "90"})


def _page(request: HttpRequest, access: Access, *, form: TokenForm, new: NewToken | None) -> HttpResponse:
    context = {"access": access, "form": form, "new": new, "tokens": live_tokens(access=access), "tab": "tokens"}
    return render(request, "tenants/tokens.html", context, status=422 if form.errors else 200)
