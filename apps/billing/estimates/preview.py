"""What a new price would mean, before it is saved: for everybody whose hosts of that flavor run now, by the code that makes invoices.

Amounts are before plans, credit and tax. A month is the first whole one under the new price; hosts that run now are taken to run all of it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from django.conf import settings
from django.db.models import Count

from apps.audit.services import Actor
from apps.billing.models import Account, Interval, Price
from apps.billing.periods import Period, local_day, month_at
from apps.billing.prices.book import PriceBook, Stretch, Tier
from apps.billing.prices.changes import proposed_price
from apps.billing.usage.measured import Used
from apps.billing.usage.rating import charges
from apps.common.money import rounded
from apps.common.scope import as_system
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import Tenant

TOP = 10
UNSAVED = -1
Place = tuple[UUID, UUID]
"""A bay and the cloud it is on."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What so many hosts cost an hour (by the price before any tier) and in the month, before and after."""

    hosts: int
    bays: int
    hourly_before: Decimal
    hourly_after: Decimal
    month_before: Decimal
    month_after: Decimal

    @property
    def month_difference(self) -> Decimal:
        """How much dearer a month becomes; negative where it becomes cheaper."""
        return self.month_after - self.month_before


@dataclass(frozen=True, kw_only=True)
class TenantEffect:
    """The effect on one tenant."""

    tenant: Tenant
    effect: Effect


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The effect of `price`, which is not saved; it replaces or follows `last`. `top` are the tenants with the largest differences.

    `month` is that of the portal's calendar in which amounts of a month are, `first_day` the day it begins with.
    """

    price: Price
    last: Price | None
    month: Period
    first_day: date
    total: Effect
    tenants: int
    top: tuple[TenantEffect, ...]


def preview_price(
    *,
    by: Actor,
    flavor: Flavor,
    per_hour: Decimal | None,
    currency: str,
    cloud: Cloud | None = None,
    starts_at: datetime | None = None,
    tiers: Sequence[Tier] = (),
) -> Preview:
    """Return what `set_price` with the same arguments would mean; writes nothing and raises the same refusals, but Conflict."""
    price = proposed_price(by=by, flavor=flavor, per_hour=per_hour, currency=currency, cloud=cloud, starts_at=starts_at, tiers=tiers)
    price.id = UNSAVED
    with as_system("price preview"):
        rows = list(Price.objects.filter(flavor=flavor, currency=currency).select_related("flavor", "cloud"))
        kept = [row for row in rows if (row.cloud_id, row.starts_at) != (price.cloud_id, price.starts_at)]
        books = (PriceBook(currency=currency, prices=rows), PriceBook(currency=currency, prices=[*kept, price]))
        month = _first_whole_month(after=price.starts_at)
        found = _effects(price=price, books=books, month=month)
        names = Tenant.objects.in_bulk(found)
    effects = [TenantEffect(tenant=names[tenant_id], effect=effect) for tenant_id, effect in found.items()]
    effects.sort(key=lambda each: (-abs(each.effect.month_difference), -each.effect.hosts, each.tenant.slug))
    series = sorted(
        (row for row in rows if row.cloud_id == price.cloud_id and row.starts_at <= price.starts_at), key=lambda row: row.starts_at
    )
    return Preview(
        price=price,
        last=series[-1] if series else None,
        month=month,
        first_day=local_day(at=month.start, zone=settings.BILLING_TIME_ZONE),
        total=_sum([each.effect for each in effects], currency=currency),
        tenants=len(effects),
        top=tuple(effects[:TOP]),
    )


def _first_whole_month(*, after: datetime) -> Period:
    zone = settings.BILLING_TIME_ZONE
    month = month_at(at=after, zone=zone)
    return month if month.start >= after else month_at(at=month.end, zone=zone)


def _effects(*, price: Price, books: tuple[PriceBook, PriceBook], month: Period) -> dict[UUID, Effect]:
    """Return the effect on each tenant for which there is one."""
    stretches = [_by_cloud(book.stretches(period=month)) for book in books]
    found = {}
    for tenant_id, running in _running(flavor_id=price.flavor_id, currency=price.currency).items():
        before, after = (_month(flavor_id=price.flavor_id, running=running, book=book, stretches=mine)
                         for book, mine in zip(books, stretches, strict=True))  # fmt: skip
        touched = [place for place in running if _holds(price, books[1], place) or before[place] != after[place]]
        if touched:
            found[tenant_id] = Effect(
                hosts=sum(running[place] for place in touched),
                bays=len({bay_id for bay_id, _ in touched}),
                hourly_before=_hourly(price, books[0], running, touched),
                hourly_after=_hourly(price, books[1], running, touched),
                month_before=rounded(amount=sum((before[place] for place in touched), Fraction(0)), currency=price.currency),
                month_after=rounded(amount=sum((after[place] for place in touched), Fraction(0)), currency=price.currency),
            )
    return found


def _running(*, flavor_id: UUID, currency: str) -> dict[UUID, dict[Place, int]]:
    """Return how many hosts of the flavor are billed now, by tenant (of that currency), bay and cloud."""
    rows = (
        Interval.objects.filter(ended_at=None, host__flavor_id=flavor_id)
        .order_by()
        .values_list("tenant_id", "host__bay_id", "host__cloud_id")
        .annotate(hosts=Count("id"))
    )
    found: dict[UUID, dict[Place, int]] = defaultdict(dict)
    for tenant_id, bay_id, cloud_id, hosts in rows:
        found[tenant_id][bay_id, cloud_id] = hosts
    currencies = dict(Account.objects.filter(tenant_id__in=found).values_list("tenant_id", "currency"))
    return {tenant_id: mine for tenant_id, mine in found.items() if currencies.get(tenant_id, settings.CURRENCY) == currency}


def _by_cloud(stretches: Sequence[Stretch]) -> dict[UUID | None, list[Stretch]]:
    found: dict[UUID | None, list[Stretch]] = defaultdict(list)
    for stretch in stretches:
        found[stretch.cloud_id].append(stretch)
    return found


def _month(
    *, flavor_id: UUID, running: dict[Place, int], book: PriceBook, stretches: dict[UUID | None, list[Stretch]]
) -> dict[Place, Fraction]:
    """Return what the hosts that run now cost in a month, exactly, by where they are."""
    used = [
        Used(
            bay_id=bay_id, cloud_id=cloud_id, flavor_id=flavor_id, price_id=stretch.rate.id if stretch.rate else None,
            seconds=hosts * stretch.period.seconds,
        )
        for (bay_id, cloud_id), hosts in running.items()
        for stretch in stretches.get(cloud_id, stretches.get(None, []))
    ]  # fmt: skip
    costs = dict.fromkeys(running, Fraction(0))
    for charge in charges(used=used, rates=book.rates):
        costs[charge.used.bay_id, charge.used.cloud_id] += charge.exact
    return costs


def _holds(price: Price, book: PriceBook, place: Place) -> bool:
    """Tell whether the new price, or the end of a cloud's own, decides what hosts there cost when it begins."""
    if price.per_hour is None:
        return place[1] == price.cloud_id
    rate = book.rate_at(flavor_id=price.flavor_id, cloud_id=place[1], at=price.starts_at)
    return rate is not None and rate.id == price.id


def _hourly(price: Price, book: PriceBook, running: dict[Place, int], touched: Sequence[Place]) -> Decimal:
    total = Decimal(0)
    for place in touched:
        rate = book.rate_at(flavor_id=price.flavor_id, cloud_id=place[1], at=price.starts_at)
        total += running[place] * rate.per_hour if rate is not None else 0
    return total


def _sum(effects: Sequence[Effect], *, currency: str) -> Effect:
    nothing = rounded(amount=0, currency=currency)
    return Effect(
        hosts=sum(each.hosts for each in effects),
        bays=sum(each.bays for each in effects),
        hourly_before=sum((each.hourly_before for each in effects), Decimal(0)),
        hourly_after=sum((each.hourly_after for each in effects), Decimal(0)),
        month_before=sum((each.month_before for each in effects), nothing),
        month_after=sum((each.month_after for each in effects), nothing),
    )
