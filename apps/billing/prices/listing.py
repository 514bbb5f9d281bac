"""The price book as people read it: what each flavor costs now and from when on, and what it has cost."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.billing.models import Price
from apps.hosts.models import Flavor


@dataclass(frozen=True, kw_only=True)
class Series:
    """The prices of a flavor in a currency, those of one cloud or the general ones; `current` and `following` are as of a moment."""

    flavor: Flavor
    cloud_id: UUID | None
    currency: str
    prices: tuple[Price, ...]
    current: Price | None
    following: Price | None

    @property
    def any(self) -> Price:
        """One of them, for its cloud."""
        return self.prices[0]

    @property
    def holds(self) -> bool:
        """Whether there is a price now; a cloud's own that has ended is none."""
        return self.current is not None and self.current.per_hour is not None


def price_list(*, at: datetime, flavor: Flavor | None = None) -> list[Series]:
    """Return all series (of one flavor), by flavor, general prices first; newest price first in each."""
    rows = Price.objects.select_related("flavor", "cloud").order_by("-starts_at", "-id")
    if flavor is not None:
        rows = rows.filter(flavor=flavor)
    series: dict[tuple[UUID, UUID | None, str], list[Price]] = defaultdict(list)
    for row in rows:
        series[row.flavor_id, row.cloud_id, row.currency].append(row)
    found = [_series(prices, at) for prices in series.values()]
    return sorted(found, key=lambda each: (*order_of(each.flavor), each.currency, each.any.cloud.name if each.any.cloud else ""))


def order_of(flavor: Flavor) -> tuple[str, int, str]:
    """Return a flavor's place in lists."""
    return flavor.host_kind, flavor.memory_mib, flavor.name


def unpriced_flavors() -> list[Flavor]:
    """Return the flavors that are offered and have no price in any currency, now or later: nobody can have them."""
    return list(Flavor.objects.filter(enabled=True, prices=None).order_by("host_kind", "memory_mib", "name"))


def _series(prices: list[Price], at: datetime) -> Series:
    begun = [price for price in prices if price.starts_at <= at]
    ahead = [price for price in prices if price.starts_at > at]
    return Series(
        flavor=prices[0].flavor,
        cloud_id=prices[0].cloud_id,
        currency=prices[0].currency,
        prices=tuple(prices),
        current=begun[0] if begun else None,
        following=ahead[-1] if ahead else None,
    )


def currencies_with_prices() -> set[str]:
    """Return the currencies in which anything has, or will have, a price."""
    return set(Price.objects.exclude(per_hour=None).values_list("currency", flat=True).distinct())
