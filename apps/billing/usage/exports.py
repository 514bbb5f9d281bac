"""Usage as files, in pieces, however much it is: a row for each day, bay, cloud, flavor and price; CSV for spreadsheets, JSON for programs.

Amounts are exact to eight decimals: they are parts of sums that are rounded once, on the invoice. The form other tools read is in
`usage.focus`.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from apps.audit.export import STARTS_A_FORMULA
from apps.bays.models import Bay
from apps.billing.models import Account
from apps.billing.periods import HOUR, Period, days_of
from apps.billing.prices.book import Rate, price_book
from apps.billing.usage.breakdowns import bays, costs_of_seconds, months_of
from apps.billing.usage.date_ranges import DateRange
from apps.billing.usage.measured import Used
from apps.billing.usage.spend import usage_by_day, usage_of
from apps.hosts.models import Cloud, Flavor

COLUMNS = (
    "day", "bay", "bay_id", "created_by", "tags", "cloud", "flavor", "host_seconds", "host_hours", "price_per_hour", "amount", "currency",
)  # fmt: skip
DAYS_AT_ONCE = 4
DECIMALS = 8


@dataclass(frozen=True, kw_only=True)
class Row:
    """What hosts of a flavor on a cloud were used in a bay on a day under one price, and its exact cost: None without a price.

    `month` is the calendar month. An hour costs `per_hour`: the price, or what it comes to where tiers change it.
    """

    day: date
    month: Period
    used: Used
    bay: Bay
    cloud: Cloud
    flavor: Flavor
    rate: Rate | None
    per_hour: Fraction | None

    @property
    def exact(self) -> Fraction | None:
        """What it costs, exactly."""
        return self.per_hour * self.used.seconds / HOUR if self.per_hour is not None else None


def usage_rows(*, account: Account, days: DateRange, as_of: datetime) -> Iterator[Row]:
    """Yield the usage of the days, up to `as_of`, in the order of days; a few days are held at a time."""
    book = price_book(currency=account.currency)
    clouds, flavors = Cloud.objects.in_bulk(), Flavor.objects.in_bulk()
    for month, part in months_of(period=days.period.cut(until=as_of), zone=account.time_zone):
        per_second = costs_of_seconds(used=usage_of(account=account, period=month, as_of=as_of, book=book), book=book)
        days_of_part = list(days_of(period=part, zone=account.time_zone))
        for first in range(0, len(days_of_part), DAYS_AT_ONCE):
            some = days_of_part[first : first + DAYS_AT_ONCE]
            rows = usage_by_day(account=account, period=Period(start=some[0][1].start, end=some[-1][1].end), as_of=as_of, book=book)
            named = bays(account=account, ids={used.bay_id for _, used in rows})
            for day, used in rows:
                yield Row(
                    day=day, month=month, used=used, bay=named[used.bay_id], cloud=clouds[used.cloud_id], flavor=flavors[used.flavor_id],
                    per_hour=per_second[used.price_id] * HOUR if used.price_id is not None else None,
                    rate=book.rates[used.price_id] if used.price_id is not None else None,
                )  # fmt: skip


def as_csv(*, account: Account, days: DateRange, as_of: datetime) -> Iterator[str]:
    """Yield the usage as CSV with a header line. Cells that a spreadsheet would take for a formula begin with an apostrophe."""
    yield line(cells=COLUMNS)
    for row in usage_rows(account=account, days=days, as_of=as_of):
        yield line(cells=[cell(value=value) for value in entry(row=row, account=account).values()])


def as_json(*, account: Account, days: DateRange, as_of: datetime) -> Iterator[str]:
    """Yield the usage as one JSON list of objects; decimal numbers are text, so that no program rounds them."""
    before = "[\n"
    for row in usage_rows(account=account, days=days, as_of=as_of):
        yield before + json.dumps(entry(row=row, account=account), ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def entry(*, row: Row, account: Account) -> dict[str, Any]:
    """Return the row as it stands in a file, by the names of COLUMNS. Without a price it has neither price nor amount."""
    return {
        "day": f"{row.day:%Y-%m-%d}",
        "bay": row.bay.name,
        "bay_id": str(row.bay.id),
        "created_by": row.bay.created_by,
        "tags": row.bay.tags,
        "cloud": row.cloud.name,
        "flavor": row.flavor.name,
        "host_seconds": row.used.seconds,
        "host_hours": decimal_text(exact=Fraction(row.used.seconds, HOUR)),
        "price_per_hour": decimal_text(exact=row.per_hour),
        "amount": decimal_text(exact=row.exact),
        "currency": account.currency,
    }


def decimal_text(*, exact: Fraction | Decimal | None, decimals: int = DECIMALS) -> str:
    """Return a number with so many decimals, halves away from zero; empty for none."""
    if exact is None:
        return ""
    whole = (2 * abs(Fraction(exact)) * 10**decimals + 1) // 2
    return f"{Decimal(int(whole if exact >= 0 else -whole)).scaleb(-decimals):f}"


def cell(*, value: Any) -> str:
    """Return a value as a cell of CSV: text that begins like a formula is made text by an apostrophe; numbers are numbers."""
    if value is None:
        return ""
    if isinstance(value, int | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)
    return f"'{text}" if text.startswith(STARTS_A_FORMULA) else text


def line(*, cells: Iterable[str]) -> str:
    """Return a line of CSV."""
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
