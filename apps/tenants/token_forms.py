from datetime import datetime, timedelta

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.common.clock import now
from apps.common.pages import DomainForm
from apps.tenants.context import Access

EXPIRIES = [("7", _("7 days")), ("30", _("30 days")), ("90", _("90 days")), ("365", _("1 year"))]


class TokenForm(DomainForm):
    """A new API token: what it is for, what it may do, until when."""

    name = forms.CharField(label=_("What it is for"), required=False, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one thing the token may do.")},
    )
    expires_at = forms.ChoiceField(label=_("Valid for"), choices=EXPIRIES)

    def __init__(self, *args: object, access: Access, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["scopes"].choices = [(scope, scope) for scope in sorted(access.permissions)]  # type: ignore[attr-defined]

    def expiry(self) -> datetime:
        """Return until when the token shall be valid."""
        return now() + timedelta(days=int(self.cleaned_data["expires_at"]))
