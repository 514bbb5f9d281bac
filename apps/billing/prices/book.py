"""The price book: which price holds for a flavor on a cloud, in a currency, at a moment; and adding prices, which begin later.

A cloud's own price comes before the general one. Which price holds when is worked out here once, as stretches of time, for everybody:
the invoice (which hands them to the database to cut usage by), estimates, and the operator's preview.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from uuid import UUID

from apps.billing.models import Price
from apps.billing.periods import HOUR, Period

FOR_EVER = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Tier:
    """From so many host-hours in a month on, so much an hour."""

    from_hours: int
    per_hour: Decimal


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A price as it is used: its id, what an hour costs, and its tiers, lowest first."""

    id: int
    per_hour: Decimal
    tiers: tuple[Tier, ...] = ()

    def cost(self, *, seconds: int) -> Fraction:
        """Return what so many host-seconds in one month cost together, exactly."""
        steps = [Tier(from_hours=0, per_hour=self.per_hour), *self.tiers]
        cost = Fraction(0)
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            upper = seconds if following is None else min(seconds, following.from_hours * HOUR)
            inside = upper - step.from_hours * HOUR
            if inside > 0:
                cost += Fraction(step.per_hour) * inside / HOUR
        return cost


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """While `period` lasts, hosts of the flavor on the cloud cost `rate`; without one they have no price.

    A cloud of None stands for every cloud not named otherwise.
    """

    flavor_id: UUID
    cloud_id: UUID | None
    period: Period
    rate: Rate | None


class PriceBook:
    """The prices of one currency, as they were read."""

    def __init__(self, *, currency: str, prices: Iterable[Price]) -> None:
        self.currency = currency
        self.rates: dict[int, Rate] = {}
        self._rows: dict[UUID, dict[UUID | None, list[Price]]] = defaultdict(lambda: defaultdict(list))
        for price in sorted(prices, key=lambda price: price.starts_at):
            self._rows[price.flavor_id][price.cloud_id].append(price)
            if price.per_hour is not None:
                self.rates[price.id] = Rate(id=price.id, per_hour=price.per_hour, tiers=_tiers(price))

    def rate_at(self, *, flavor_id: UUID, cloud_id: UUID | None, at: datetime) -> Rate | None:
        """Return the price that holds; None where there is none, which means the flavor cannot be had in this currency there."""
        rows = self._rows.get(flavor_id, {})
        own = _row_at(rows.get(cloud_id, []), at)
        row = own if own is not None and own.per_hour is not None else _row_at(rows.get(None, []), at)
        return self.rates[row.id] if row is not None else None

    def stretches(self, *, period: Period) -> list[Stretch]:
        """Return which price holds when during the period: for each flavor, for clouds with a price of their own and for all others.

        The stretches of a flavor on a cloud cover the whole period, also where there is no price, so that no usage falls between them.
        """
        found = []
        for flavor_id, rows in self._rows.items():
            changes = sorted(
                {price.starts_at for prices in rows.values() for price in prices if period.start < price.starts_at < period.end}
            )
            edges = [period.start, *changes, period.end]
            for start, end in pairwise(edges):
                for cloud_id in dict.fromkeys([None, *rows]):
                    row = _row_at(rows.get(cloud_id, []), start)
                    if cloud_id is not None and (row is None or row.per_hour is None):
                        row = _row_at(rows.get(None, []), start)
                    rate = self.rates[row.id] if row is not None else None
                    found.append(Stretch(flavor_id=flavor_id, cloud_id=cloud_id, period=Period(start=start, end=end), rate=rate))
        return found


def price_book(*, currency: str) -> PriceBook:
    """Return the price book of a currency."""
    return PriceBook(currency=currency, prices=Price.objects.filter(currency=currency))


def price_books() -> Mapping[str, PriceBook]:
    """Return all of them, by currency."""
    by_currency: dict[str, list[Price]] = defaultdict(list)
    for price in Price.objects.all():
        by_currency[price.currency].append(price)
    return {currency: PriceBook(currency=currency, prices=prices) for currency, prices in by_currency.items()}


def _row_at(rows: list[Price], at: datetime) -> Price | None:
    place = bisect_right(rows, at, key=lambda row: row.starts_at)
    return rows[place - 1] if place else None


def _tiers(price: Price) -> tuple[Tier, ...]:
    return tuple(Tier(from_hours=int(tier["from_hours"]), per_hour=Decimal(tier["per_hour"])) for tier in price.tiers)
