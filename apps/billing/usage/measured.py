"""What was used: host-seconds of a tenant in a period, summed by the database from intervals, by bay, cloud, flavor and price.

Intervals that still run count until `as_of`. The sums are exact whole numbers, so it does not matter how often an interval was split.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import connection

from apps.billing.periods import Period
from apps.billing.prices.book import PriceBook, Stretch

USED = """
WITH stretch AS (
    SELECT * FROM unnest(%(flavors)s::uuid[], %(clouds)s::uuid[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(prices)s::bigint[])
        AS stretch(flavor_id, cloud_id, start_at, end_at, price_id)
), part AS (
    SELECT * FROM unnest(%(days)s::date[], %(day_starts)s::timestamptz[], %(day_ends)s::timestamptz[]) AS part(day, start_at, end_at)
), mine AS MATERIALIZED (
    SELECT part.day, h.bay_id, h.cloud_id, h.flavor_id, GREATEST(i.started_at, part.start_at) AS started_at,
        LEAST(i.ended_at, part.end_at, %(as_of)s) AS ended_at
    FROM billing_interval i JOIN billing_meteredhost h ON h.id = i.host_id
        JOIN part ON part.start_at < LEAST(i.ended_at, %(as_of)s) AND part.end_at > i.started_at
    WHERE i.tenant_id = %(tenant)s AND i.started_at < LEAST(%(end)s, %(as_of)s) AND (i.ended_at > %(start)s OR i.ended_at IS NULL)
)
SELECT mine.day, mine.bay_id, mine.cloud_id, mine.flavor_id, stretch.price_id,
    SUM(EXTRACT(EPOCH FROM LEAST(mine.ended_at, stretch.end_at) - GREATEST(mine.started_at, stretch.start_at)))::bigint AS seconds
FROM mine LEFT JOIN stretch ON stretch.flavor_id = mine.flavor_id
    AND (stretch.cloud_id = mine.cloud_id OR stretch.cloud_id IS NULL AND NOT EXISTS (
        SELECT FROM stretch own WHERE own.flavor_id = mine.flavor_id AND own.cloud_id = mine.cloud_id))
    AND stretch.start_at < mine.ended_at AND stretch.end_at > mine.started_at
WHERE mine.ended_at > mine.started_at
GROUP BY 1, 2, 3, 4, 5
"""
"""A parameter for each name is made by `parameters`; what it selects is summed for each part of time and its day."""


@dataclass(frozen=True, kw_only=True)
class Used:
    """So many host-seconds of a flavor on a cloud in a bay under one price; no price where the book has none, which is not billed."""

    bay_id: UUID
    cloud_id: UUID
    flavor_id: UUID
    price_id: int | None
    seconds: int


def used_by(*, tenant_id: UUID, period: Period, as_of: datetime, book: PriceBook) -> list[Used]:
    """Return what the tenant used in the period, up to `as_of`, cut where prices change; in a fixed order."""
    return used_in(tenant_id=tenant_id, period=period, as_of=as_of, stretches=book.stretches(period=period))


def used_in(*, tenant_id: UUID, period: Period, as_of: datetime, stretches: Sequence[Stretch]) -> list[Used]:
    """The same, for whoever asks for many tenants with the same stretches of prices."""
    parts = [(None, period)]
    with connection.cursor() as cursor:
        cursor.execute(f"{USED} ORDER BY 2, 3, 4, 5", parameters(tenant_id=tenant_id, parts=parts, as_of=as_of, stretches=stretches))
        return [_used(row) for _, *row in cursor.fetchall()]


def used_on_days(
    *, tenant_id: UUID, days: Sequence[tuple[date, Period]], as_of: datetime, stretches: Sequence[Stretch]
) -> list[tuple[date, Used]]:
    """Return what was used on each of the days, which follow one another, up to `as_of`; by day, then in the same fixed order."""
    if not days:
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"{USED} ORDER BY 1, 2, 3, 4, 5", parameters(tenant_id=tenant_id, parts=days, as_of=as_of, stretches=stretches))
        return [(day, _used(row)) for day, *row in cursor.fetchall()]


def parameters(
    *, tenant_id: UUID, parts: Sequence[tuple[date | None, Period]], as_of: datetime, stretches: Sequence[Stretch]
) -> dict[str, Any]:
    """Return the parameters of `USED` for parts of time that follow one another, one at least."""
    return {
        "tenant": tenant_id, "start": parts[0][1].start, "end": parts[-1][1].end, "as_of": as_of.replace(microsecond=0),
        "days": _array(day for day, _ in parts),
        "day_starts": _array(part.start for _, part in parts), "day_ends": _array(part.end for _, part in parts),
        "flavors": _array(each.flavor_id for each in stretches), "clouds": _array(each.cloud_id for each in stretches),
        "starts": _array(each.period.start for each in stretches), "ends": _array(each.period.end for each in stretches),
        "prices": _array(each.rate.id if each.rate else None for each in stretches),
    }  # fmt: skip


def merged(*, used: Iterable[Used]) -> list[Used]:
    """Return the same usage with one row for each bay, cloud, flavor and price."""
    sums: dict[tuple[UUID, UUID, UUID, int | None], int] = {}
    for each in used:
        key = (each.bay_id, each.cloud_id, each.flavor_id, each.price_id)
        sums[key] = sums.get(key, 0) + each.seconds
    return [
        Used(bay_id=bay_id, cloud_id=cloud_id, flavor_id=flavor_id, price_id=price_id, seconds=seconds)
        for (bay_id, cloud_id, flavor_id, price_id), seconds in sums.items()
        if seconds
    ]


def _array(values: Iterable[date | UUID | int | None]) -> str:
    """Return an array as PostgreSQL reads it. A list would do as well, but takes a run of ten thousand invoices a fifth of its time."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"


def _used(row: Sequence[Any]) -> Used:
    bay_id, cloud_id, flavor_id, price_id, seconds = row
    return Used(bay_id=bay_id, cloud_id=cloud_id, flavor_id=flavor_id, price_id=price_id, seconds=seconds)
