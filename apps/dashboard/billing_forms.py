"""Forms of the operators' pages of billing: they read text into values; the rules are those of `apps.billing`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.billing.countries import COUNTRIES
from apps.billing.currencies import KNOWN
from apps.billing.models import CreditGrant, Invoice, Issuer, Payment, Plan
from apps.billing.payments.attention import LONGEST_NOTE
from apps.billing.payments.providers.base import PROVIDERS
from apps.billing.prices.book import Tier
from apps.common.money import in_words
from apps.common.pages import DomainForm
from apps.hosts.models import Cloud, Flavor

MOMENT = "%Y-%m-%dT%H:%M"
NUMBER_FAULT = gettext_lazy("Write a number, such as 0.025.")
DIGITS = 24
"""The most digits of a number anybody can mean; the domain says which of them can be."""
CURRENCIES = [(code, code) for code in sorted(KNOWN)]
NO_COUNTRY = [("", "–"), *COUNTRIES.items()]


class _Moment(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format=MOMENT)


class _Day(forms.DateInput):
    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


def _number(label: Any, *, required: bool = True, **more: Any) -> forms.DecimalField:
    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
    faults = {"required": gettext_lazy("A number is needed; 0 is one."), "invalid": NUMBER_FAULT}
    return forms.DecimalField(label=label, required=required, widget=widget, error_messages=faults, max_digits=DIGITS, **more)


def _text(label: Any, longest: int, *, required: bool = True, **more: Any) -> forms.CharField:
    widget = forms.TextInput(attrs={"maxlength": longest, "autocomplete": "off"})
    return forms.CharField(
        label=label, required=required, widget=widget, error_messages={"required": gettext_lazy("Write something here.")}, **more
    )


def _lines(label: Any, *, rows: int = 3) -> forms.CharField:
    return forms.CharField(label=label, required=False, widget=forms.Textarea(attrs={"rows": rows}))


class PriceForm(DomainForm):
    """A new price: of what, how much, from when on. `ends` means that a cloud's own price ends."""

    flavor: Any = forms.ModelChoiceField(
        label=gettext_lazy("Flavor"),
        queryset=Flavor.objects.order_by("host_kind", "memory_mib", "name"),
        empty_label=gettext_lazy("Choose one"),
        to_field_name="name",
        error_messages={"required": gettext_lazy("Choose a flavor.")},
    )
    cloud: Any = forms.ModelChoiceField(
        label=gettext_lazy("Cloud"),
        required=False,
        queryset=Cloud.objects.order_by("name"),
        empty_label=gettext_lazy("Every cloud without a price of its own"),
        to_field_name="name",
    )
    currency = forms.ChoiceField(label=gettext_lazy("Currency"), choices=CURRENCIES)
    per_hour = _number(gettext_lazy("Price of one host an hour"), required=False)
    starts_at = forms.DateTimeField(label=gettext_lazy("From (UTC)"), required=False, input_formats=[MOMENT], widget=_Moment())
    tiers = _lines(gettext_lazy("Tiers"))
    ends = forms.BooleanField(label=gettext_lazy("End the cloud’s own price: back to the general one"), required=False)

    def clean_tiers(self) -> list[Tier]:
        """Read a tier from every line: host-hours, then the price beyond them."""
        return [_tier(line) for line in str(self.cleaned_data["tiers"]).splitlines() if line.strip()]

    def clean(self) -> dict[str, Any]:
        """Ask for a price unless one ends."""
        values = super().clean() or self.cleaned_data
        if not values.get("ends") and values.get("per_hour") is None and "per_hour" not in self.errors:
            self.add_error("per_hour", _("A price is needed; 0 is one."))
        return values

    def asked(self) -> dict[str, Any]:
        """Return the arguments of `set_price` and `preview_price`."""
        values = self.cleaned_data
        at: datetime | None = values["starts_at"]
        return {
            "flavor": values["flavor"], "cloud": values["cloud"], "currency": values["currency"], "tiers": values["tiers"],
            "per_hour": None if values["ends"] else values["per_hour"], "starts_at": at.astimezone(UTC) if at is not None else None,
        }  # fmt: skip


def _tier(line: str) -> Tier:
    words = line.replace(":", " ").split()
    try:
        hours, per_hour = words
        return Tier(from_hours=int(hours.replace(",", "")), per_hour=Decimal(per_hour))
    except (ValueError, InvalidOperation):
        raise forms.ValidationError(
            _("“%s” is no tier: write host-hours a month and the price beyond them, such as 1000 0.008.") % line.strip()[:40]
        ) from None


class PlanForm(DomainForm):
    """A new plan."""

    title = _text(gettext_lazy("Title"), 80)
    code = _text(gettext_lazy("Code"), 40)
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=Plan.Kind.choices, initial=Plan.Kind.PAY_AS_YOU_GO)
    currency = forms.ChoiceField(label=gettext_lazy("Currency"), required=False, choices=[("", gettext_lazy("Any")), *CURRENCIES])
    allowance = _number(gettext_lazy("Allowance a month"), required=False)
    discount_percent = _number(gettext_lazy("Discount (percent)"), required=False)
    commitment = _number(gettext_lazy("Commitment a month"), required=False)


class IssuerForm(DomainForm):
    """Who writes invoices, and how they are paid."""

    code = _text(gettext_lazy("Code"), 16)
    legal_name = _text(gettext_lazy("Legal name"), 200)
    address = _lines(gettext_lazy("Address"))
    country = forms.ChoiceField(label=gettext_lazy("Country"), required=False, choices=NO_COUNTRY)
    vat_id = _text(gettext_lazy("VAT number"), 20, required=False)
    email = forms.CharField(label=gettext_lazy("E-mail address"), required=False, widget=forms.EmailInput(attrs={"maxlength": 254}))
    payment_text = _lines(gettext_lazy("How to pay"))
    payment_days = forms.IntegerField(label=gettext_lazy("Days to pay"), initial=14, widget=forms.NumberInput())

    @classmethod
    def of(cls, issuer: Issuer) -> "IssuerForm":
        """Return the form filled with an issuer."""
        form = cls(initial={field: getattr(issuer, field) for field in cls.base_fields})
        return form.fixed()

    def fixed(self) -> "IssuerForm":
        """Let the code be read only: it names the issuer."""
        self.fields["code"].widget.attrs["readonly"] = True
        return self


class TaxRateForm(DomainForm):
    """A tax rate from a day on."""

    country = forms.ChoiceField(label=gettext_lazy("Country"), choices=NO_COUNTRY)
    name = _text(gettext_lazy("Name on invoices"), 20, initial="VAT")
    percent = _number(gettext_lazy("Percent"))
    starts_on = forms.DateField(label=gettext_lazy("From"), widget=_Day(), error_messages={"required": gettext_lazy("Say from which day.")})


class CurrencyForm(DomainForm):
    """The currency of an account."""

    currency = forms.ChoiceField(label=gettext_lazy("Currency"), choices=CURRENCIES)


class SubscribeForm(DomainForm):
    """Another plan for an organisation."""

    plan: Any = forms.ModelChoiceField(label=gettext_lazy("Plan"), queryset=Plan.objects.none(), empty_label=None)
    immediately = forms.BooleanField(label=gettext_lazy("From the beginning of this month already"), required=False)

    def __init__(self, *args: Any, currency: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered: Any = self.fields["plan"]
        offered.queryset = Plan.objects.filter(retired_at=None, currency__in=["", currency]).order_by("title", "code")
        offered.label_from_instance = lambda plan: f"{plan.title} ({plan.code})"


class CreditForm(DomainForm):
    """Credit for an organisation, in its currency. `once` lets a form that is sent twice grant once."""

    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=[(kind.value, kind.label) for kind in CreditGrant.Kind])
    amount = _number(gettext_lazy("Amount"))
    reason = _text(gettext_lazy("Reason"), 200)
    expires_at = forms.DateField(label=gettext_lazy("Expires on"), required=False, widget=_Day())
    once = forms.UUIDField(widget=forms.HiddenInput())


class PaymentForm(DomainForm):
    """Money that came for an invoice."""

    amount = _number(gettext_lazy("Amount"))
    reference = _text(gettext_lazy("Reference"), 200)
    received_at = forms.DateField(
        label=gettext_lazy("Received on"), widget=_Day(), error_messages={"required": gettext_lazy("Say on which day.")}
    )
    provider = forms.ChoiceField(label=gettext_lazy("By"), choices=[(name, name.capitalize()) for name in PROVIDERS])


class RefundForm(DomainForm):
    """Money that went back: the total so far, of one payment."""

    payment = forms.ChoiceField(label=gettext_lazy("Payment"))
    amount = _number(gettext_lazy("Gone back altogether"))
    received_at = forms.DateField(
        label=gettext_lazy("Went back on"), widget=_Day(), error_messages={"required": gettext_lazy("Say on which day.")}
    )

    def __init__(self, *args: Any, payments: Sequence[Payment], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(str(each.id), f"{each.reference}: {in_words(amount=each.amount, currency=each.currency)}") for each in payments]
        self.fields["payment"].choices = choices  # type: ignore[attr-defined] # a ChoiceField has them


class SettledForm(DomainForm):
    """What was done about an event."""

    note = _text(gettext_lazy("What was done about it"), LONGEST_NOTE)


class CreditNoteForm(DomainForm):
    """What of an invoice is taken back: all that is left, or an amount for some of its lines."""

    reason = _text(gettext_lazy("Reason, which the customer reads"), 1000)
    whole = forms.BooleanField(label=gettext_lazy("All that is left of the invoice"), required=False)

    def __init__(self, *args: Any, invoice: Invoice, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.positions = list(invoice.lines.order_by("position").values_list("position", flat=True))
        for position in self.positions:
            self.fields[f"line_{position}"] = _number(_("Take back of line %s") % position, required=False)

    def lines(self) -> list[tuple[int, Decimal]] | None:
        """Return the amounts by position; None for all that is left."""
        if self.cleaned_data["whole"]:
            return None
        typed = [(position, self.cleaned_data[f"line_{position}"]) for position in self.positions]
        return [(position, amount) for position, amount in typed if amount is not None]
