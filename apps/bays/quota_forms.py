from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.common.pages import DomainForm
from apps.tenants.limits import LIMITS, limits_of
from apps.tenants.models import Tenant
from apps.tenants.quota_requests import LONGEST_TEXT, self_approved_limits

GIB = 1024
LABELS = {
    "max_bays": _("Bays"),
    "max_hosts": _("Hosts in all bays"),
    "max_vcpus": _("vCPUs"),
    "max_memory_mib": _("Memory (GiB)"),
    "max_disk_gib": _("Disk (GiB)"),
}


class QuotaForm(DomainForm):
    """Which limits a tenant would like to have, memory in GiB, and what for. It begins with what approves itself."""

    reason = forms.CharField(
        label=_("What it is for"), required=False, max_length=LONGEST_TEXT, widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off"})
    )

    def __init__(self, *args: Any, tenant: Tenant, **kwargs: Any) -> None:
        now, reach = limits_of(tenant=tenant), self_approved_limits()
        first = {column: max(now[column], reach[column]) // _step(column) for column in LIMITS}
        kwargs.setdefault("initial", first)
        super().__init__(*args, **kwargs)
        fields: dict[str, forms.Field] = {
            column: forms.IntegerField(
                label=LABELS[column],
                required=False,
                min_value=0,
                max_value=limit.ceiling // _step(column),
                widget=forms.NumberInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
            )
            for column, limit in LIMITS.items()
        }
        self.fields = {**fields, **self.fields}
        self._now = now

    def wanted(self) -> dict[str, int]:
        """Return the limits asked for, by column, in their own units. Memory that is shown rounded and left as it is stays as it is."""
        found = {}
        for column, now in self._now.items():
            value = self.cleaned_data[column]
            if value is not None and value != now // _step(column):
                found[column] = value * _step(column)
        return found


def _step(column: str) -> int:
    return GIB if column == "max_memory_mib" else 1
