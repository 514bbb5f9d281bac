from decimal import Decimal, InvalidOperation

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.common.pages import DomainForm

NO_NUMBER = _("Write the amount as a number, such as 50.")


class TopUpForm(DomainForm):
    """How much credit to buy, in the account's currency."""

    amount = forms.CharField(
        label=_("Amount"),
        error_messages={"required": NO_NUMBER},
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "decimal", "maxlength": 12}),
    )

    def clean_amount(self) -> Decimal:
        """Return the amount that was typed."""
        try:
            return Decimal(self.cleaned_data["amount"].strip())
        except InvalidOperation:
            raise forms.ValidationError(NO_NUMBER) from None
