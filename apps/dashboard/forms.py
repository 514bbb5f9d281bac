from datetime import UTC, datetime

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from apps.common.pages import DomainForm
from apps.dashboard.models import Announcement
from apps.hosts.models import Cloud
from apps.tenants.limits import GIB, LIMITS, limits_of
from apps.tenants.models import Tenant
from apps.tenants.quota_requests import LONGEST_TEXT

LIMIT_LABELS = {
    "max_bays": _("Bays"),
    "max_hosts": _("Hosts"),
    "max_vcpus": _("vCPUs"),
    "max_memory_mib": _("Memory (GiB)"),
    "max_disk_gib": _("Disk (GiB)"),
}
MOMENT = "%Y-%m-%dT%H:%M"


class ReasonForm(DomainForm):
    """Why something is done to an account."""

    reason = forms.CharField(
        label=_("Reason"),
        error_messages={"required": _("Say why: the audit log keeps it.")},
        widget=forms.TextInput(attrs={"maxlength": 500}),
    )


class SupportForm(DomainForm):
    """Why, and for how long, an operator looks at an organisation."""

    reason = forms.CharField(
        label=_("Reason, which its owners read"),
        error_messages={"required": _("Say why: the owners of the organisation read it.")},
        widget=forms.TextInput(attrs={"maxlength": 500}),
    )
    minutes = forms.TypedChoiceField(
        label=_("For"), coerce=int, initial="30", choices=[("15", _("15 minutes")), ("30", _("30 minutes")), ("60", _("60 minutes"))]
    )


class FlavorForm(DomainForm):
    """What may be changed of a flavor."""

    enabled = forms.BooleanField(label=_("Offered"), required=False)


class LimitsForm(DomainForm):
    """An organisation's limits, by the names of its columns; memory in GiB."""

    def __init__(self, data: QueryDict | None = None, *, tenant: Tenant) -> None:
        self._now = limits_of(tenant=tenant)
        super().__init__(data, initial={column: number // _step(column) for column, number in self._now.items()})
        for column, limit in LIMITS.items():
            self.fields[column] = forms.IntegerField(
                label=LIMIT_LABELS[column],
                min_value=0,
                max_value=limit.ceiling // _step(column),
                error_messages={"required": _("A number is needed; 0 is one."), "invalid": _("Write a whole number, such as 10.")},
                widget=forms.NumberInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
            )

    def changed(self) -> dict[str, int]:
        """Return the limits that differ from now, in the units of their columns; memory shown rounded and left as it is stays as it is."""
        typed = {column: self.cleaned_data[column] for column in LIMITS}
        return {column: value * _step(column) for column, value in typed.items() if value != self._now[column] // _step(column)}


def _step(column: str) -> int:
    return GIB if column == "max_memory_mib" else 1


class DecisionForm(DomainForm):
    """What an operator answers to a request for more."""

    answer = forms.CharField(label=_("Answer"), required=False, widget=forms.Textarea(attrs={"rows": 2, "maxlength": LONGEST_TEXT}))
    decision = forms.ChoiceField(
        choices=[("approve", _("Approve")), ("refuse", _("Refuse"))], error_messages={"required": _("Approve or refuse.")}
    )


class _Moment(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format=MOMENT)


class AnnouncementForm(DomainForm):
    """What is announced, how much it matters, from when to when, and of which cloud."""

    text = forms.CharField(
        label=_("Text"),
        error_messages={"required": _("Write what you announce.")},
        widget=forms.Textarea(attrs={"rows": 2, "maxlength": 500}),
    )
    level = forms.ChoiceField(label=_("Level"), choices=Announcement.Level.choices, initial=Announcement.Level.INFO)
    starts_at = forms.DateTimeField(label=_("From (UTC)"), required=False, input_formats=[MOMENT], widget=_Moment())
    ends_at = forms.DateTimeField(label=_("To (UTC)"), required=False, input_formats=[MOMENT], widget=_Moment())
    cloud = forms.ModelChoiceField(
        label=_("Cloud"), required=False, queryset=Cloud.objects.order_by("name"), empty_label=_("The whole portal"), to_field_name="name"
    )

    def moment(self, name: str) -> datetime | None:
        """Return the moment of a field in UTC; None if it is left empty."""
        at: datetime | None = self.cleaned_data[name]
        return at.astimezone(UTC) if at is not None else None
