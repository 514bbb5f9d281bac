"""The organisations of whoever is signed in: a list, and a form for one more."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from apps.accounts.models import User
from apps.common.errors import CarinaError
from apps.tenants.forms import OrganisationForm
from apps.tenants.models import Membership
from apps.tenants.services import create_tenant, slug_from


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def organisations(request: HttpRequest) -> HttpResponse:
    """Show the asker's organisations with their roles; a POST makes another one, which they own."""
    if not isinstance(request.user, User):  # said for the type checker: the decorator lets nobody else in
        return redirect("account_login")
    form = OrganisationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        name, slug = form.cleaned_data["name"], form.cleaned_data["slug"]
        try:
            tenant = create_tenant(by=request.user, slug=slug or (slug_from(text=name) if name.strip() else ""), name=name)
        except CarinaError as error:
            form.blame(error)
        else:
            messages.success(request, _("%s is yours. Invite the others, or create its first bay.") % tenant.name)
            return redirect("dashboard:members", tenant=tenant.slug)
    mine = Membership.objects.filter(user=request.user, tenant__deleted_at=None).select_related("tenant")
    context = {"form": form, "memberships": mine.order_by("-tenant__personal", "tenant__name", "id"), "tab": "organisations"}
    return render(request, "tenants/organisations.html", context, status=422 if form.errors else 200)
