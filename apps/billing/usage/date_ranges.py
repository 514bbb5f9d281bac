"""Ranges of days of an account's calendar, as addresses and the API ask for them: `from` until before `to`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from django.utils.dateparse import parse_date

from apps.billing.periods import Period, local_day, midnight, next_month
from apps.common.errors import InvalidInput

LONGEST_DAYS = 366
EARLIEST, LATEST = date(2000, 1, 1), date(2200, 1, 1)
PARAMETERS = {
    "from": "First day, of the organisation's calendar (2027-01-01). Default: the first of this month.",
    "to": f"First day that is not in it any more (2027-02-01), at most {LONGEST_DAYS} days later. Default: the end of the month of `from`.",
}


@dataclass(frozen=True, kw_only=True)
class DateRange:
    """The days from `first` until before `end`, in the calendar of a time zone."""

    first: date
    end: date
    zone: str

    @property
    def period(self) -> Period:
        """Its moments."""
        return Period(start=midnight(day=self.first, zone=self.zone), end=midnight(day=self.end, zone=self.zone))

    @property
    def words(self) -> str:
        """What it is called in names of files: a month, or its first and last day."""
        if self.first.day == 1 and self.end == next_month(day=self.first):
            return f"{self.first:%Y-%m}"
        return f"{self.first:%Y-%m-%d}-to-{date.fromordinal(self.end.toordinal() - 1):%Y-%m-%d}"


def month_range(*, day: date, zone: str) -> DateRange:
    """Return the calendar month the day is in."""
    first = day.replace(day=1)
    return DateRange(first=first, end=next_month(day=first), zone=zone)


def parse_range(*, parameters: Mapping[str, str], zone: str, at: datetime) -> DateRange:
    """Return the range that the parameters `from` and `to` ask for; what is left out has the default that PARAMETERS says.

    Raises InvalidInput, naming the parameter, for what is no day, or no range of at most LONGEST_DAYS days.
    """
    first = _day("from", parameters) or local_day(at=at, zone=zone).replace(day=1)
    end = _day("to", parameters) or next_month(day=first)
    if end <= first:
        raise InvalidInput.field("to", f"“to” must be later than “from”, which is {first:%Y-%m-%d}: it is the first day left out.")
    if (end - first).days > LONGEST_DAYS:
        raise InvalidInput.field("to", f"From {first:%Y-%m-%d} to {end:%Y-%m-%d} are more than {LONGEST_DAYS} days: ask for fewer at once.")
    return DateRange(first=first, end=end, zone=zone)


def parse_month(*, text: str, zone: str, at: datetime) -> DateRange:
    """Return the month written as 2027-01; this month for an empty text. Raises InvalidInput for what is no month."""
    if not text:
        return month_range(day=local_day(at=at, zone=zone), zone=zone)
    day = _parsed(f"{text}-01")
    if day is None:
        raise InvalidInput.field("month", "“month” must be a month such as 2027-01.")
    return month_range(day=day, zone=zone)


def _day(name: str, parameters: Mapping[str, str]) -> date | None:
    text = parameters.get(name, "").strip()
    if not text:
        return None
    day = _parsed(text)
    if day is None:
        raise InvalidInput.field(name, f"“{name}” must be a day such as 2027-01-31.")
    return day


def _parsed(text: str) -> date | None:
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return day if day is not None and EARLIEST <= day <= LATEST else None
