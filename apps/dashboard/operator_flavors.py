"""Operators' page of flavors: sizes and list prices as they are, the offer to be changed."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.bays.pricing import prices_for
from apps.common.pages import refusals_at
from apps.dashboard.flavors import change_flavor
from apps.dashboard.forms import FlavorForm
from apps.dashboard.gate import operator_of, operator_page
from apps.hosts.models import Flavor


@require_safe
@operator_page
def flavors(request: HttpRequest) -> HttpResponse:
    """List all flavors, those not offered too."""
    return _page(request)


@require_POST
@operator_page
def flavor_change(request: HttpRequest, flavor_id: UUID) -> HttpResponse:
    """Offer one, or no longer."""
    form = FlavorForm(request.POST, auto_id=f"id_{flavor_id}_%s")
    if form.is_valid():
        with refusals_at(form):
            flavor = change_flavor(by=operator_of(request), flavor_id=flavor_id, enabled=form.cleaned_data["enabled"])
            messages.success(request, _("%s is saved. Bays that exist keep their hosts.") % flavor.name)
            return redirect("dashboard:operator-flavors")
    return _page(request, changed=flavor_id, form=form)


def _page(request: HttpRequest, *, changed: UUID | None = None, form: FlavorForm | None = None) -> HttpResponse:
    prices = prices_for(tenant=None)
    rows = []
    for flavor in Flavor.objects.order_by("host_kind", "memory_mib", "name"):
        shown = form if form is not None and flavor.id == changed else None
        shown = shown or FlavorForm(initial={"enabled": flavor.enabled}, auto_id=f"id_{flavor.id}_%s")
        rows.append({"flavor": flavor, "price": prices.per_hour(flavor=flavor, cloud=None), "form": shown})
    return render(request, "operators/flavors.html", {"rows": rows, "tab": "flavors"}, status=422 if form is not None else 200)
