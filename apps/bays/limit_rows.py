"""A tenant's limits as pages show them: used, asked for, after, at most, each with its unit."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.bays.usage import Usage

LABELS: dict[str, Promise] = {
    "bays": _("Bays"),
    "hosts": _("Hosts"),
    "vcpus": _("vCPUs"),
    "memory_mib": _("Memory"),
    "disk_gib": _("Disk"),
}
GIB = 1024


@dataclass(frozen=True, kw_only=True)
class LimitRow:
    """One limit in words; `unit`, which may be empty, is that of all its numbers. `asked` has a sign, or is empty for nothing."""

    label: Promise
    unit: str
    used: str
    asked: str
    after: str
    limit: str
    part: int
    whole: int
    exceeded: bool
    full: bool


def limit_rows(*, usage: Sequence[Usage]) -> list[LimitRow]:
    """Return the limits as rows, in the order given."""
    return [_row(each) for each in usage]


def _row(usage: Usage) -> LimitRow:
    sign = "+" if usage.asked > 0 else "−"
    return LimitRow(
        label=LABELS[usage.name],
        unit="GiB" if usage.unit in {"MiB", "GiB"} else "",
        used=_number(usage, usage.used),
        asked=f"{sign}{_number(usage, abs(usage.asked))}" if usage.asked else "",
        after=_number(usage, usage.after),
        limit=_number(usage, usage.limit),
        part=min(usage.after, max(usage.limit, 1)),
        whole=max(usage.limit, 1),
        exceeded=usage.after > usage.limit,
        full=usage.used >= usage.limit,
    )


def _number(usage: Usage, number: int) -> str:
    return f"{number / GIB:,.2f}".rstrip("0").rstrip(".") if usage.unit == "MiB" else f"{number:,}"
