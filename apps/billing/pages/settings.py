"""The page of a tenant's billing details."""

from collections.abc import Iterable
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from apps.billing.countries import COUNTRIES
from apps.billing.invoices.details import FIELDS, LONGEST_ADDRESS, LONGEST_EMAIL, LONGEST_NAME, change_details, details_of
from apps.billing.models import Account
from apps.billing.terms.accounts import plan_at
from apps.billing.terms.recipients import recipients_of
from apps.common.clock import now
from apps.common.pages import DomainForm, refusals_at
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission

AREAS = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
"""The parts of the tz database that are places; the others are former names and offsets."""


class DetailsForm(DomainForm):
    """How the tenant is billed."""

    legal_name = forms.CharField(
        label=gettext_lazy("Legal name"),
        required=False,
        max_length=LONGEST_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    address = forms.CharField(
        label=gettext_lazy("Address"), required=False, max_length=LONGEST_ADDRESS,
        widget=forms.Textarea(attrs={"rows": 4, "autocomplete": "street-address"}),
    )  # fmt: skip
    country = forms.ChoiceField(
        label=gettext_lazy("Country"),
        required=False,
        choices=[("", "–"), *COUNTRIES.items()],
        widget=forms.Select(attrs={"autocomplete": "country"}),
    )
    vat_id = forms.CharField(
        label=gettext_lazy("VAT id"),
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    email = forms.CharField(
        label=gettext_lazy("Mail address for invoices"), required=False, max_length=LONGEST_EMAIL,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )  # fmt: skip
    time_zone = forms.ChoiceField(label=gettext_lazy("Time zone"))

    def __init__(self, *args: Any, account: Account, **kwargs: Any) -> None:
        kwargs.setdefault("initial", {name: getattr(account, name) for name in FIELDS})
        super().__init__(*args, **kwargs)
        zone = self.fields["time_zone"]
        if isinstance(zone, forms.ChoiceField):  # said for the type checker
            zone.choices = time_zones(and_also=account.time_zone)

    def values(self) -> dict[str, str]:
        """Return all details as they were filled in."""
        return {name: self.cleaned_data[name] for name in FIELDS}


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def details(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the billing details; a POST changes them."""
    account = details_of(access=access)
    form = DetailsForm(request.POST if request.method == "POST" else None, account=account)
    if request.method == "POST":
        access.require(Permission.BILLING_MANAGE)
        if form.is_valid():
            with refusals_at(form):
                change_details(access=access, values=form.values())
                messages.success(request, _("The billing details are saved; invoices issued from now on have them."))
                return redirect("billing:settings", tenant=access.tenant.slug)
    context = {
        "access": access,
        "account": account,
        "country": COUNTRIES.get(account.country, ""),
        "form": form,
        "plan": plan_at(tenant=access.tenant, at=now()),
        "recipients": recipients_of(account),
        "tab": "billing",
        "part": "settings",
    }
    return render(request, "billing/settings.html", context, status=422 if form.errors else 200)


def time_zones(*, and_also: str) -> list[tuple[str, Any]]:
    """Return the choices of a select: UTC, then places by part of the world; and the one that is in force, whatever it is."""
    names = sorted(name for name in available_timezones() if name.partition("/")[0] in AREAS)
    first = list(dict.fromkeys(["UTC", *([and_also] if and_also not in names else [])]))
    return [*((name, name) for name in first), *((area, _places(area, names)) for area in AREAS)]


def _places(area: str, names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, name.removeprefix(f"{area}/").replace("_", " ")) for name in names if name.startswith(f"{area}/")]
