"""What usage costs, taken apart: by day, bay, flavor, cloud, member or tag. The parts of a breakdown add up to its total, to the cent.

Tiers count a whole month, so every month is rated as a whole and what it costs is shared out by seconds, as on the invoice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from apps.bays.models import Bay
from apps.billing.models import Account
from apps.billing.periods import Period, local_day, month_of
from apps.billing.prices.book import PriceBook
from apps.billing.usage.measured import Used
from apps.billing.usage.spend import usage_by_day, usage_of
from apps.common.errors import InvalidInput
from apps.common.money import apportioned
from apps.hosts.models import Cloud, Flavor

GROUPS = ("day", "bay", "flavor", "cloud", "member")
LONGEST_TAG = 63
Key = tuple[str, ...]
KeyOf = Callable[[date, Used], Any]


@dataclass(frozen=True, kw_only=True)
class RatedMonth:
    """Usage of a calendar month, or of the part of it that was asked for, by day; and what a second under each price costs in it."""

    rows: Sequence[tuple[date, Used]]
    per_second: Mapping[int, Fraction]

    def cost(self, *, used: Used) -> Fraction:
        """Return what a row costs, exactly; nothing without a price."""
        return self.per_second[used.price_id] * used.seconds if used.price_id is not None else Fraction(0)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part: `key` names it for programs, `label` for people. `amount` is rounded so that all parts add up to the total.

    `unpriced` are the seconds of `seconds` that had no price, which is not billed.
    """

    key: str
    label: str
    detail: str
    seconds: int
    unpriced: int
    exact: Fraction
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Usage in parts: days in their order, all others by what they cost, most first."""

    parts: tuple[Part, ...]
    currency: str

    @property
    def total(self) -> Decimal:
        """What all parts cost: the rounded exact sum."""
        return sum((part.amount for part in self.parts), Decimal(0))

    @property
    def seconds(self) -> int:
        """Host-seconds of all parts."""
        return sum(part.seconds for part in self.parts)

    @property
    def unpriced(self) -> int:
        """Those of them without a price."""
        return sum(part.unpriced for part in self.parts)


@dataclass
class Sums:
    """Host-seconds, those without a price among them, and what they cost."""

    seconds: int = 0
    unpriced: int = 0
    exact: Fraction = Fraction(0)


def parse_group(*, text: str) -> str:
    """Return what usage shall be taken apart by: one of GROUPS, or `tag:` and a key. Raises InvalidInput for anything else."""
    kind, _colon, key = text.partition(":")
    if text in GROUPS or (kind == "tag" and key and len(key) <= LONGEST_TAG and key.isprintable()):
        return text
    raise InvalidInput.field("group_by", f"“group_by” must be one of {', '.join(GROUPS)}, or tag: and the key of a tag, such as tag:team.")


def rated_months(*, account: Account, period: Period, as_of: datetime, book: PriceBook) -> Iterator[RatedMonth]:
    """Yield the usage of the period, up to `as_of`, month by month of the account's calendar; one is held at a time."""
    for month, part in months_of(period=period.cut(until=as_of), zone=account.time_zone):
        rows = usage_by_day(account=account, period=part, as_of=as_of, book=book)
        whole = part.start == month.start and part.end == month.cut(until=as_of).end
        used = [used for _, used in rows] if whole else usage_of(account=account, period=month, as_of=as_of, book=book)
        yield RatedMonth(rows=rows, per_second=costs_of_seconds(used=used, book=book))


def costs_of_seconds(*, used: Iterable[Used], book: PriceBook) -> dict[int, Fraction]:
    """Return what a host-second under each price costs on the average, given all that was used in a month: exact, tiers spread over all.

    Prices under which nothing was used have their first tier, for usage that is written while somebody reads.
    """
    seconds = dict.fromkeys(book.rates, 0)
    for each in used:
        if each.price_id is not None:
            seconds[each.price_id] += each.seconds
    return {price_id: book.rates[price_id].cost(seconds=total or 1) / (total or 1) for price_id, total in seconds.items()}


def months_of(*, period: Period, zone: str) -> Iterator[tuple[Period, Period]]:
    """Yield the calendar months there that the period touches, each with its part of the period."""
    start = period.start
    while start < period.end:
        month = month_of(day=local_day(at=start, zone=zone), zone=zone)
        yield month, Period(start=start, end=min(month.end, period.end))
        start = month.end


def sums_by(*, months: Iterable[RatedMonth], key: KeyOf) -> dict[Any, Sums]:
    """Return the sums of all rows with the same key, in the order in which keys come first."""
    found: dict[Any, Sums] = {}
    for month in months:
        # Whole seconds first: fractions are dear, and there is one for each price only.
        seconds: dict[tuple[Any, int | None], int] = defaultdict(int)
        for day, used in month.rows:
            seconds[key(day, used), used.price_id] += used.seconds
        for (name, price_id), total in seconds.items():
            sums = found.setdefault(name, Sums())
            sums.seconds += total
            if price_id is None:
                sums.unpriced += total
            else:
                sums.exact += month.per_second[price_id] * total
    return found


def breakdown(*, account: Account, months: Iterable[RatedMonth], group: str, mine: Mapping[UUID, Bay] | None = None) -> Breakdown:
    """Return usage taken apart by a group, one that `parse_group` returns; `mine` are the bays in it, for who has read them."""
    if group == "day":
        days = sums_by(months=months, key=lambda day, _used: day)
        labels = {day: (f"{day:%Y-%m-%d}", f"{day:%Y-%m-%d}", "") for day in days}
        return _breakdown(account, sorted(days.items()), labels)
    if group == "flavor":
        return _by_name(account, sums_by(months=months, key=lambda _day, used: used.flavor_id), flavors)
    if group == "cloud":
        return _by_name(account, sums_by(months=months, key=lambda _day, used: used.cloud_id), clouds)
    by_bay = sums_by(months=months, key=lambda _day, used: used.bay_id)
    rows = mine if mine is not None else bays(account=account, ids=by_bay)
    if group == "bay":
        labels = {bay_id: (str(bay_id), *bay_words(bay=row)) for bay_id, row in rows.items()}
        return _breakdown(account, _dearest(by_bay), labels)
    if group == "member":
        merged = _merged(by_bay, {bay_id: row.created_by for bay_id, row in rows.items()})
        return _breakdown(account, _dearest(merged), {name: (name, name, "") for name in merged})
    tag = group.partition(":")[2]
    merged = _merged(by_bay, {bay_id: row.tags.get(tag, "") for bay_id, row in rows.items()})
    return _breakdown(account, _dearest(merged), {value: (value, value or _("without this tag"), "") for value in merged})


def bays(*, account: Account, ids: Iterable[UUID]) -> dict[UUID, Bay]:
    """Return the tenant's bays with these ids, also those that are deleted."""
    return {row.id: row for row in Bay.objects.filter(tenant_id=account.tenant_id, id__in=list(ids))}


def flavors(ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return the names of flavors."""
    return dict(Flavor.objects.filter(id__in=list(ids)).values_list("id", "name"))


def clouds(ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return the names of clouds."""
    return dict(Cloud.objects.filter(id__in=list(ids)).values_list("id", "name"))


def bay_words(*, bay: Bay) -> tuple[str, str]:
    """Return what a bay is called, and what is to be said about it."""
    return bay.name, _("deleted") if bay.deleted_at else ""


def tag_keys(*, bays: Iterable[Bay]) -> list[str]:
    """Return the keys of all tags of the bays, sorted."""
    return sorted({key for bay in bays for key in bay.tags})


def _merged(by_bay: Mapping[UUID, Sums], names: Mapping[UUID, str]) -> dict[str, Sums]:
    found: dict[str, Sums] = {}
    for bay_id, sums in by_bay.items():
        total = found.setdefault(names[bay_id], Sums())
        total.seconds += sums.seconds
        total.unpriced += sums.unpriced
        total.exact += sums.exact
    return found


def _by_name(account: Account, found: Mapping[UUID, Sums], names_of: Callable[[Iterable[UUID]], dict[UUID, str]]) -> Breakdown:
    names = names_of(found)
    return _breakdown(account, _dearest(found), {key: (names[key], names[key], "") for key in found})


def _dearest(found: Mapping[Any, Sums]) -> list[tuple[Any, Sums]]:
    return sorted(found.items(), key=lambda item: (-item[1].exact, -item[1].seconds, str(item[0])))


def _breakdown(account: Account, found: Sequence[tuple[Any, Sums]], labels: Mapping[Any, tuple[str, str, str]]) -> Breakdown:
    amounts = apportioned(parts=[sums.exact for _, sums in found], currency=account.currency)
    parts = []
    for (name, sums), amount in zip(found, amounts, strict=True):
        key, label, detail = labels[name]
        parts.append(
            Part(key=key, label=label, detail=detail, seconds=sums.seconds, unpriced=sums.unpriced, exact=sums.exact, amount=amount)
        )
    return Breakdown(parts=tuple(parts), currency=account.currency)
