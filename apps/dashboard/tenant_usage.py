"""What an organisation uses of what it may have, in words for operators."""

from dataclasses import dataclass

from django.contrib.humanize.templatetags.humanize import intcomma
from django.utils.translation import gettext as _

from apps.bays.presenters import Look, Words
from apps.bays.usage import usage_after
from apps.tenants.models import Tenant

MIB = 1024


@dataclass(frozen=True, kw_only=True)
class UsageView:
    """One limit, with the numbers as people read them."""

    name: str
    label: Words
    used: int
    limit: int
    used_words: str
    limit_words: str

    @property
    def over(self) -> bool:
        """Whether more is used than allowed now."""
        return self.used > self.limit


def usage_of(*, tenant: Tenant) -> list[UsageView]:
    """Return the limits of an organisation with what is used of each."""
    labels = {"bays": _("Bays"), "hosts": _("Hosts"), "vcpus": _("vCPUs"), "memory_mib": _("Memory"), "disk_gib": _("Disk")}
    return [
        UsageView(
            name=each.name, label=labels.get(each.name, each.name), used=each.used, limit=each.limit,
            used_words=words_of(name=each.name, number=each.used), limit_words=words_of(name=each.name, number=each.limit),
        )
        for each in usage_after(tenant=tenant)
    ]  # fmt: skip


def look_of_tenant(*, tenant: Tenant, usage: list[UsageView]) -> Look:
    """Return how an organisation is, in a word."""
    if tenant.deleted_at is not None:
        return Look(word=_("Deleted"), icon="trash", tone="idle")
    if any(each.over for each in usage):
        return Look(word=_("Over a limit"), icon="alert-triangle", tone="warn")
    if any(each.used == each.limit for each in usage):
        return Look(word=_("At a limit"), icon="info-circle", tone="warn")
    return Look(word=_("Active"), icon="circle-check", tone="good")


def words_of(*, name: str, number: int) -> str:
    """Return a number of the limit `name` as people read it; memory comes in MiB, disk in GiB."""
    if name == "memory_mib":
        return f"{intcomma(round(number / MIB, 1) if number % MIB else number // MIB)} GiB"
    return f"{intcomma(number)} GiB" if name == "disk_gib" else intcomma(number)
