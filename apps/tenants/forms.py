from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.common.pages import DomainForm
from apps.tenants.context import Access
from apps.tenants.invitations import DEFAULT_DAYS, MOST_DAYS
from apps.tenants.members import roles_to_assign
from apps.tenants.roles import Role

PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class OrganisationForm(DomainForm):
    """A new organisation: its name in addresses, and for people."""

    name = forms.CharField(label=_("Name"), required=False, widget=forms.TextInput(attrs={"autocomplete": "organization"}))
    slug = forms.CharField(label=_("Name in addresses"), required=False, widget=forms.TextInput(attrs=PLAIN))


class RenameForm(DomainForm):
    """Another name for people."""

    name = forms.CharField(label=_("Name"), required=False, widget=forms.TextInput(attrs={"autocomplete": "off"}))


class SecondFactorForm(DomainForm):
    """Whether members must sign in with more than a password."""

    mfa_required = forms.BooleanField(label=_("Only members with a second factor get in"), required=False)


class InviteForm(DomainForm):
    """Whom to invite, as what, for how long."""

    email = forms.CharField(label=_("E-mail address"), required=False, widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    role = forms.ChoiceField(label=_("Role"), initial=Role.VIEWER)
    expires_in_days = forms.IntegerField(
        label=_("Days the invitation is good for"),
        initial=DEFAULT_DAYS,
        widget=forms.NumberInput(attrs={"min": 1, "max": MOST_DAYS, "inputmode": "numeric"}),
    )

    def __init__(self, *args: Any, access: Access, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        role = self.fields["role"]
        role.choices = [(role, role.capitalize()) for role in roles_to_assign(access=access)]  # type: ignore[attr-defined]


class ConfirmForm(DomainForm):
    """The organisation's name in addresses, typed by hand, as the proof that this one is meant."""

    confirm = forms.CharField(label=_("Type the name to confirm"), required=False, widget=forms.TextInput(attrs=PLAIN))

    def __init__(self, *args: Any, slug: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.slug = slug

    def clean_confirm(self) -> str:
        """Return the typed name if it is the organisation's."""
        typed = str(self.cleaned_data["confirm"]).strip()
        if typed != self.slug:
            raise forms.ValidationError(_("This is not its name; type “%(name)s” to delete it."), params={"name": self.slug})
        return typed
