"""The page of usage: a month's spend, by day and by bay, flavor, cloud, member or tag; and the same as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from apps.billing.periods import HOUR
from apps.billing.terms.accounts import account_of
from apps.billing.usage.breakdowns import Part, parse_group
from apps.billing.usage.date_ranges import parse_month
from apps.billing.usage.files import usage_file_of
from apps.billing.usage.reports import Report, month_before, months_to_choose, report_of
from apps.common.clock import now
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission

GROUPS = {
    "bay": gettext_lazy("Bay"),
    "flavor": gettext_lazy("Flavor"),
    "cloud": gettext_lazy("Cloud"),
    "member": gettext_lazy("Member"),
    "tag": gettext_lazy("Tag"),
}


MOST_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class Row:
    """A part of the breakdown as a row of the page; `free` and `partly` say that all or some of it had no price."""

    part: Part
    hours: str
    percent: int
    free: bool
    partly: bool


@require_safe
@tenant_page
def usage(request: HttpRequest, access: Access) -> HttpResponse:
    """Show a month, this one unless another is asked for."""
    access.require(Permission.BILLING_READ)
    moment, account = now(), account_of(tenant=access.tenant)
    account.tenant = access.tenant
    asked = request.GET.get("by", "bay").strip()
    group = asked if asked in GROUPS else parse_group(text=asked)
    if group == "day":
        group = "bay"  # days are in the chart
    month = parse_month(text=request.GET.get("month", "").strip(), zone=account.time_zone, at=moment)
    report = report_of(account=account, month=month, group=group, at=moment)
    choices = months_to_choose(tenant=access.tenant, account=account, at=moment)
    rows = _rows(report)
    shown = len(rows) if len(rows) <= MOST_ROWS + 1 or "all" in request.GET else MOST_ROWS
    context = {
        "access": access, "tab": "billing", "part": "usage", "account": account, "report": report,
        "groups": GROUPS, "group": group.partition(":")[0], "asked": group,
        "rows": rows[:shown], "others": _others(rows[shown:]), "hours": _hours(report.breakdown.seconds),
        "months": choices, "before": month_before(day=month.first),
        "earlier": next((each for each in choices if each < month.first), None),
        "later": next((each for each in reversed(choices) if each > month.first), None),
        "range": urlencode({"from": f"{month.first}", "to": f"{month.end}"}),
    }  # fmt: skip
    return render(request, "billing/usage.html", context)


@require_safe
@tenant_page
def usage_file(request: HttpRequest, access: Access, kind: str) -> HttpResponse:
    """Return usage as a file, of this month unless other days are asked for."""
    access.require(Permission.BILLING_READ)
    account = account_of(tenant=access.tenant)
    account.tenant = access.tenant
    return usage_file_of(account=account, parameters=request.GET.dict(), kind=kind)


def _rows(report: Report) -> list[Row]:
    total = sum(part.exact for part in report.breakdown.parts)
    return [
        Row(
            part=part, hours=_hours(part.seconds), percent=round(part.exact * 100 / total) if total else 0,
            partly=0 < part.unpriced < part.seconds, free=part.unpriced == part.seconds,
        )
        for part in report.breakdown.parts
    ]  # fmt: skip


def _others(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return what the dearest rows leave over, as one: they are many, and cost little."""
    if not rows:
        return None
    amount = sum((row.part.amount for row in rows), Decimal(0))
    return {"count": len(rows), "hours": _hours(sum(row.part.seconds for row in rows)), "amount": amount}


def _hours(seconds: int) -> str:
    return f"{seconds / HOUR:,.1f}"
