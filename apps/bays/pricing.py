"""The port to prices: what bays ask of whoever knows them. Bays know no price book, no plan, no budget and no credit.

`settings.PRICE_LIST` names who answers by its dotted path: called with `tenant` and `at`, it returns `Prices` as they are at that moment.
They are read once, in a number of queries that does not depend on how many hosts are asked for afterwards.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Protocol, cast
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from apps.common.clock import now
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import Tenant

HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Month:
    """A month of the tenant's calendar, by its first day. Where clocks change it is an hour longer or shorter than its days."""

    first: date
    seconds: int

    @property
    def code(self) -> str:
        """As programs write it: 2026-12."""
        return f"{self.first:%Y-%m}"

    @property
    def hours(self) -> float:
        """Its hours; there are zones whose clocks change by half of one."""
        return self.seconds / HOUR


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """So many hosts of a flavor on a cloud. A cloud of None is one without a price of its own: before it is known where they go."""

    flavor: Flavor
    cloud: Cloud | None
    count: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What hosts cost an hour and in the whole month; None where one of them has no price. `per_month` is rounded, `per_hour` exact."""

    currency: str
    month: Month
    per_hour: Decimal | None
    per_month: Decimal | None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """An amount with what it is, and a sentence about it, which may be empty."""

    label: str
    amount: Decimal
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What hosts would cost if they ran the whole month, and what those cost whose place they take.

    `per_hour` are prices as they stand in the list. `per_month` is by how much the invoice of the month would be higher, before
    promotions and tax; `figures` say how it comes about where it is not the hourly price times the hours: what the plan changes.
    """

    before: Cost
    after: Cost
    figures: Sequence[Figure] = ()

    @property
    def change_per_hour(self) -> Decimal | None:
        """By how much an hour becomes dearer; negative if it becomes cheaper."""
        return _difference(self.after.per_hour, self.before.per_hour)

    @property
    def change_per_month(self) -> Decimal | None:
        """By how much the month becomes dearer."""
        return _difference(self.after.per_month, self.before.per_month)


class Prices(Protocol):
    """The prices of one tenant, or of anybody, at one moment."""

    @property
    def currency(self) -> str:
        """The currency of every amount, such as USD."""

    @property
    def month(self) -> Month:
        """The month of the tenant's calendar that it is."""

    def per_hour(self, *, flavor: Flavor, cloud: Cloud | None) -> Decimal | None:
        """Return what one host costs an hour; None if it has no price there, so that it cannot be had."""

    def why_none(self, *, flavor: Flavor, cloud: Cloud | None) -> str:
        """Return the sentence of why it cannot be had there; empty if it has a price."""

    def per_month(self, *, per_hour: Decimal) -> Decimal:
        """Return what that much an hour comes to in the whole month, rounded, without regard to any plan."""

    def quote(self, *, hosts: Sequence[Hosts], instead_of: UUID | None = None) -> Quote:
        """Return what the hosts would cost beside all else the tenant has, in the place of those of the bay of that id if one is named."""

    def remaining(self) -> Sequence[Figure]:
        """Return what is left of the tenant's budgets and credit now."""


def prices_for(*, tenant: Tenant | None) -> Prices:
    """Return the prices of the tenant in its currency, or for None those that anybody sees, in the portal's currency."""
    return _source(settings.PRICE_LIST)(tenant=tenant, at=now())


def cost_of(*, prices: Prices, hosts: Iterable[Hosts]) -> Cost:
    """Return what the hosts cost by the list, all of them together."""
    sums: list[Decimal] = []
    for each in hosts:
        price = prices.per_hour(flavor=each.flavor, cloud=each.cloud)
        if price is None:
            return Cost(currency=prices.currency, month=prices.month, per_hour=None, per_month=None)
        sums.append(each.count * price)
    per_hour = sum(sums, Decimal(0))
    return Cost(currency=prices.currency, month=prices.month, per_hour=per_hour, per_month=prices.per_month(per_hour=per_hour))


def total_of(*, costs: Sequence[Cost]) -> Cost | None:
    """Return the sum of costs of one tenant, what has no price left out; None for the sum of nothing."""
    if not costs:
        return None
    return Cost(
        currency=costs[0].currency,
        month=costs[0].month,
        per_hour=sum((cost.per_hour for cost in costs if cost.per_hour is not None), Decimal(0)),
        per_month=sum((cost.per_month for cost in costs if cost.per_month is not None), Decimal(0)),
    )


@cache
def _source(path: str) -> Callable[..., Prices]:
    return cast("Callable[..., Prices]", import_string(path))


def _difference(after: Decimal | None, before: Decimal | None) -> Decimal | None:
    return after - before if after is not None and before is not None else None
