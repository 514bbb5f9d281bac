"""Operators' pages of the price book: what holds, what follows, and a new price, whose effect is shown before it is saved."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.billing.estimates.preview import preview_price
from apps.billing.models import Price
from apps.billing.prices.changes import set_price, withdraw_price
from apps.billing.prices.listing import Series, price_list, unpriced_flavors
from apps.common.clock import now
from apps.common.errors import NotFound
from apps.common.pages import refusals_as_messages, refusals_at
from apps.dashboard.billing_forms import PriceForm
from apps.dashboard.gate import operator_of, operator_page
from apps.hosts.models import Flavor


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page
def prices(request: HttpRequest) -> HttpResponse:
    """Show the price book with the form of a new price; a POST shows what that price would mean and saves nothing."""
    if request.method != "POST":
        return _book(request, PriceForm(initial=_first_values(request)))
    form = PriceForm(request.POST)
    if form.is_valid():
        with refusals_at(form):
            preview = preview_price(by=operator_of(request).actor, **form.asked())
            return _preview(request, form, preview)
    return _book(request, form)


@require_POST
@operator_page
def price_save(request: HttpRequest) -> HttpResponse:
    """Save the price that was shown."""
    form = PriceForm(request.POST)
    if form.is_valid():
        with refusals_at(form):
            price = set_price(by=operator_of(request).actor, **form.asked())
            start = f"{price.starts_at:%Y-%m-%d %H:%M:%S} UTC"
            messages.success(
                request, _("The price of %(flavor)s is saved. It begins on %(start)s.") % {"flavor": price.flavor, "start": start}
            )
            return redirect("dashboard:operator-price-history", flavor_id=price.flavor_id)
    return _book(request, form)


@require_safe
@operator_page
def price_history(request: HttpRequest, flavor_id: UUID) -> HttpResponse:
    """Show all prices a flavor has, had and will have."""
    flavor = Flavor.objects.filter(id=flavor_id).first()
    if flavor is None:
        raise NotFound(_("There is no such flavor."))
    context = {"flavor": flavor, "series": price_list(at=now(), flavor=flavor), "now": now(), "tab": "billing", "part": "prices"}
    return render(request, "operators/billing/price_history.html", context)


@require_POST
@operator_page
def price_withdraw(request: HttpRequest, price_id: int) -> HttpResponse:
    """Take back a price that has not begun."""
    price = Price.objects.filter(id=price_id).first()
    if price is None:
        raise NotFound(_("There is no such price."))
    with refusals_as_messages(request):
        withdraw_price(by=operator_of(request).actor, price_id=price_id)
        messages.success(request, _("The price is withdrawn; what holds before it goes on."))
    return redirect("dashboard:operator-price-history", flavor_id=price.flavor_id)


def _book(request: HttpRequest, form: PriceForm) -> HttpResponse:
    context = {
        "rows": price_list(at=now()), "unpriced": unpriced_flavors(), "form": form, "tab": "billing", "part": "prices",
    }  # fmt: skip
    return render(request, "operators/billing/prices.html", context, status=422 if form.errors else 200)


def _preview(request: HttpRequest, form: PriceForm, preview: Any) -> HttpResponse:
    sent = _as_sent(form.data)
    context = {
        "preview": preview, "fields": sent, "again": urlencode(sent), "at_once": form.asked()["starts_at"] is None, "tab": "billing",
        "part": "prices",
    }  # fmt: skip
    return render(request, "operators/billing/price_preview.html", context)


def _as_sent(data: Any) -> dict[str, str]:
    """Return what was sent, to be sent once more when it is saved, or put into the form again."""
    return {name: data[name] for name in PriceForm.base_fields if data.get(name)}


def _first_values(request: HttpRequest) -> dict[str, Any]:
    """Return what the form begins with: what the address names, with the price that holds there."""
    asked: QueryDict = request.GET
    first: dict[str, Any] = {name: asked.get(name, "") for name in PriceForm.base_fields if asked.get(name)}
    first.setdefault("currency", settings.CURRENCY)
    if {"per_hour", "ends"} & set(first):
        return first
    held = next((row for row in price_list(at=now()) if _is_meant(row, first)), None)
    if held is not None and held.current is not None and held.current.per_hour is not None:
        first["per_hour"] = f"{held.current.per_hour.normalize():f}"
        first["tiers"] = "\n".join(f"{tier['from_hours']} {tier['per_hour']}" for tier in held.current.tiers)
    return first


def _is_meant(row: Series, first: dict[str, Any]) -> bool:
    cloud = row.any.cloud.name if row.any.cloud is not None else ""
    return (row.flavor.name, cloud, row.currency) == (first.get("flavor"), first.get("cloud", ""), first.get("currency"))
