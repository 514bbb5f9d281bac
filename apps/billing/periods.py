"""Half-open stretches of time and the calendar they come from: [from, until), months and days of a time zone, whatever its clocks do.

Days have 23, 24 or 25 hours where clocks change, months 672 to 745: nothing here counts by adding hours to a local time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

HOUR = 3600


@dataclass(frozen=True, kw_only=True, order=True)
class Period:
    """From `start` until just before `end`, both in UTC."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> int:
        """Its length."""
        return max(0, int((self.end - self.start).total_seconds()))

    def cut(self, *, until: datetime) -> "Period":
        """Return the part before `until`; of no length if that is before it."""
        return Period(start=self.start, end=max(self.start, min(self.end, until)))


def is_time_zone(*, name: str) -> bool:
    """Tell whether the name is one of the IANA time zone database."""
    return name in available_timezones()


def midnight(*, day: date, zone: str) -> datetime:
    """Return when the day begins there, in UTC: where clocks skip midnight, the moment they skip it."""
    return datetime.combine(day, time(), tzinfo=ZoneInfo(zone)).astimezone(UTC)


def local_day(*, at: datetime, zone: str) -> date:
    """Return the day of the calendar there. Where clocks go back over midnight, the day that had begun goes on (St. John's until 2010)."""
    day = at.astimezone(ZoneInfo(zone)).date()
    following = day + timedelta(days=1)
    return following if midnight(day=following, zone=zone) <= at else day


def month_of(*, day: date, zone: str) -> Period:
    """Return the calendar month the day is in."""
    first = day.replace(day=1)
    return Period(start=midnight(day=first, zone=zone), end=midnight(day=next_month(day=first), zone=zone))


def month_at(*, at: datetime, zone: str) -> Period:
    """Return the calendar month there that the moment is in."""
    return month_of(day=local_day(at=at, zone=zone), zone=zone)


def period_from(*, start: datetime, zone: str) -> Period:
    """Return what is left of the calendar month there from `start` on: what is invoiced next when all before `start` has been."""
    return Period(start=start, end=month_at(at=start, zone=zone).end)


def days_of(*, period: Period, zone: str) -> Iterator[tuple[date, Period]]:
    """Return the days of the calendar there that the period touches, each with its part of the period; a day that was skipped is none."""
    day = local_day(at=period.start, zone=zone)
    while (start := midnight(day=day, zone=zone)) < period.end:
        following = day + timedelta(days=1)
        part = Period(start=max(start, period.start), end=min(midnight(day=following, zone=zone), period.end))
        if part.seconds:
            yield day, part
        day = following


def next_month(*, day: date) -> date:
    """Return the first day of the month after that of `day`."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
