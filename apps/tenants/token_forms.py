from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from apps.common.clock import now
from apps.common.pages import DomainForm
from apps.tenants.context import Access
from apps.tenants.roles import Role
from apps.tenants.token_issue import STANDING, longest_days

LIFETIMES = (7, 30, 90, 365)
USUAL_DAYS = 90


class TokenForm(DomainForm):
    """A new API token: what it is for, what it may do, until when."""

    name = forms.CharField(label=_("What it is for"), required=False, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one thing the token may do.")},
    )
    expires_at = forms.ChoiceField(label=_("Valid for"))

    def __init__(self, *args: Any, access: Access, scopes: Iterable[str], **kwargs: Any) -> None:
        """`scopes` are those that may be chosen; those that change who gets in are chosen only by hand."""
        longest, possible = longest_days(tenant=access.tenant), sorted(scopes)
        lifetimes = sorted({days for days in LIFETIMES if days < longest} | {min(longest, LIFETIMES[-1]), longest})
        usual = [scope for scope in possible if scope not in STANDING]
        kwargs.setdefault("initial", {"scopes": usual, "expires_at": str(min(USUAL_DAYS, longest))})
        super().__init__(*args, **kwargs)
        self.fields["scopes"].choices = [(scope, scope) for scope in possible]  # type: ignore[attr-defined]
        self.fields["expires_at"].choices = [(str(days), _days(days)) for days in lifetimes]  # type: ignore[attr-defined]

    def expiry(self) -> datetime:
        """Return until when the token shall be valid."""
        return now() + timedelta(days=int(self.cleaned_data["expires_at"]))


class ServiceAccountForm(DomainForm):
    """A service account: its name and its role."""

    name = forms.CharField(label=_("Name"), widget=forms.TextInput(attrs={"autocomplete": "off"}))
    role = forms.ChoiceField(label=_("Role"))

    def __init__(self, *args: Any, roles: Iterable[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role, role.capitalize()) for role in roles]  # type: ignore[attr-defined]


class DeleteServiceAccountForm(DomainForm):
    """The name, typed again by whoever deletes."""

    confirm = forms.CharField(widget=forms.TextInput(attrs={"autocomplete": "off"}))


class MaximumForm(DomainForm):
    """How long tokens of the organisation may live; empty for as long as the portal allows."""

    max_token_days = forms.IntegerField(label=_("Longest lifetime in days"), required=False, widget=forms.NumberInput(attrs={"min": 1}))


def _days(days: int) -> str:
    return str(_("1 year")) if days == LIFETIMES[-1] else ngettext("%d day", "%d days", days) % days
