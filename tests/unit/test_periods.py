from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.billing.periods import Period, days_of, is_time_zone, local_day, midnight, month_at, month_of, next_month, period_from

STEADY = settings(deadline=None, derandomize=True, database=None, max_examples=200)
ODD_ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo", "Pacific/Apia", "Asia/Kathmandu",
    "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Kiritimati", "America/St_Johns", "America/Havana",
    "Africa/Casablanca", "Antarctica/Troll", "Asia/Tehran", "America/Nuuk", "Pacific/Pago_Pago",
]  # fmt: skip
ZONES = st.sampled_from(ODD_ZONES)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001
HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-03-29", "Europe/Berlin", 23), ("2026-10-25", "Europe/Berlin", 25), ("2026-03-08", "America/New_York", 23),
        ("2026-11-01", "America/New_York", 25), ("2026-06-01", "Europe/Berlin", 24), ("2018-11-04", "America/Sao_Paulo", 23),
        ("2018-02-17", "America/Sao_Paulo", 25), ("2026-03-29", "Asia/Beirut", 23), ("2026-10-24", "Asia/Beirut", 25),
        ("2026-04-05", "Australia/Lord_Howe", 24.5), ("2026-10-04", "Australia/Lord_Howe", 23.5), ("2026-03-29", "Antarctica/Troll", 22),
        ("2011-12-30", "Pacific/Apia", 0), ("2011-12-31", "Pacific/Apia", 24), ("2026-03-29", "UTC", 24),
    ],
)  # fmt: skip
def test_a_day_is_as_long_as_the_clocks_there_make_it(day: str, zone: str, hours: float) -> None:
    first = date.fromisoformat(day)
    assert midnight(day=first + timedelta(days=1), zone=zone) - midnight(day=first, zone=zone) == hours * HOUR


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-02-14", "UTC", 28 * 24), ("2024-02-29", "UTC", 29 * 24), ("2000-02-29", "Europe/Berlin", 29 * 24),
        ("2100-02-28", "UTC", 28 * 24), ("2026-03-31", "Europe/Berlin", 31 * 24 - 1), ("2026-10-01", "Europe/Berlin", 31 * 24 + 1),
        ("2026-04-30", "Europe/Berlin", 30 * 24), ("2011-12-05", "Pacific/Apia", 30 * 24), ("2026-12-31", "Asia/Kathmandu", 31 * 24),
        ("2026-04-09", "Australia/Lord_Howe", 30 * 24 + 0.5),
    ],
)  # fmt: skip
def test_a_month_is_as_long_as_its_days(day: str, zone: str, hours: float) -> None:
    month = month_of(day=date.fromisoformat(day), zone=zone)
    assert month.seconds == hours * 3600


def test_a_month_begins_at_the_midnight_of_its_place_not_of_greenwich() -> None:
    assert month_of(day=date(2026, 7, 9), zone="Asia/Kathmandu") == Period(start=utc("2026-06-30 18:15"), end=utc("2026-07-31 18:15"))
    assert month_of(day=date(2026, 7, 9), zone="Pacific/Chatham").start == utc("2026-06-30 11:15")
    assert month_at(at=utc("2026-07-01 03:59:59"), zone="America/New_York").end == utc("2026-07-01 04:00")
    assert month_at(at=utc("2026-07-01 04:00"), zone="America/New_York").start == utc("2026-07-01 04:00")


def test_where_midnight_is_skipped_the_day_begins_when_it_is_skipped() -> None:
    begins = midnight(day=date(2018, 11, 4), zone="America/Sao_Paulo")
    assert begins == utc("2018-11-04 03:00")
    assert begins.astimezone(ZoneInfo("America/Sao_Paulo")).isoformat() == "2018-11-04T01:00:00-02:00"
    assert midnight(day=date(2026, 3, 29), zone="Asia/Beirut") == utc("2026-03-28 22:00")


def test_where_midnight_comes_twice_the_day_begins_with_the_first_and_goes_on() -> None:
    assert midnight(day=date(2026, 11, 1), zone="America/Havana") == utc("2026-11-01 04:00")
    # at 00:01 of the first of November the clocks went back to 23:01 of October
    again_october = utc("2009-11-01 02:45")
    assert again_october.astimezone(ZoneInfo("America/St_Johns")).isoformat() == "2009-10-31T23:15:00-03:30"
    assert local_day(at=again_october, zone="America/St_Johns") == date(2009, 11, 1)
    assert month_at(at=again_october, zone="America/St_Johns").start == utc("2009-11-01 02:30")


def test_a_day_that_was_skipped_is_not_listed() -> None:
    days = [day.day for day, _ in days_of(period=month_of(day=date(2011, 12, 1), zone="Pacific/Apia"), zone="Pacific/Apia")]
    assert days == [*range(1, 30), 31]


def test_what_is_left_of_a_month_ends_with_it() -> None:
    assert period_from(start=utc("2026-02-10 07:00"), zone="Europe/Berlin") == Period(
        start=utc("2026-02-10 07:00"), end=utc("2026-02-28 23:00")
    )


def test_a_tenant_that_moves_is_billed_for_every_second_once() -> None:
    berlin = month_of(day=date(2026, 5, 1), zone="Europe/Berlin")
    onwards = period_from(start=berlin.end, zone="America/New_York")
    assert (onwards.start, onwards.end) == (utc("2026-05-31 22:00"), utc("2026-06-01 04:00"))
    assert period_from(start=onwards.end, zone="America/New_York").end == utc("2026-07-01 04:00")


def test_a_cut_period_never_has_a_negative_length() -> None:
    period = Period(start=utc("2026-02-10 07:00"), end=utc("2026-02-11 07:00"))
    assert period.cut(until=utc("2026-02-10 08:00")).seconds == 3600
    assert period.cut(until=utc("2026-02-12 08:00")) == period
    assert period.cut(until=utc("2026-02-09")).seconds == 0


@pytest.mark.parametrize(
    ("name", "known"), [("Europe/Berlin", True), ("UTC", True), ("Europe/Nowhere", False), ("", False), ("../x", False)]
)
def test_time_zones_are_those_of_the_database_of_time_zones(name: str, known: bool) -> None:
    assert is_time_zone(name=name) is known


@STEADY
@given(day=st.dates(date(1, 1, 1), date(9000, 1, 1)))
def test_the_next_month_begins_on_the_first_after_this_one(day: date) -> None:
    following = next_month(day=day)
    assert (following.day, following.month) == (1, day.month % 12 + 1)
    assert timedelta(0) < following - day <= timedelta(days=31)


@STEADY
@given(at=MOMENTS, zone=ZONES)
@example(at=utc("2009-11-01 02:45"), zone="America/St_Johns")
@example(at=utc("2011-12-30 10:00"), zone="Pacific/Apia")
def test_every_moment_is_in_its_day_and_in_its_month(at: datetime, zone: str) -> None:
    day, month = local_day(at=at, zone=zone), month_at(at=at, zone=zone)
    assert midnight(day=day, zone=zone) <= at < midnight(day=day + timedelta(days=1), zone=zone)
    assert month.start <= at < month.end
    assert month == month_of(day=day, zone=zone)
    left = period_from(start=at, zone=zone)
    assert (left.start, left.end) == (at, month.end)


@STEADY
@given(at=MOMENTS, zone=ZONES)
def test_months_follow_each_other_without_a_gap(at: datetime, zone: str) -> None:
    month = month_at(at=at, zone=zone)
    following = month_at(at=month.end, zone=zone)
    assert following.start == month.end
    assert month_at(at=month.start - timedelta(seconds=1), zone=zone).end == month.start
    assert timedelta(days=27) < following.end - following.start < timedelta(days=32)


@STEADY
@given(start=MOMENTS, length=st.timedeltas(timedelta(seconds=1), timedelta(days=90)), zone=ZONES)
@example(start=utc("2011-12-28 23:00"), length=timedelta(days=4), zone="Pacific/Apia")
@example(start=utc("2009-11-01 02:45"), length=timedelta(days=1), zone="America/St_Johns")
@example(start=utc("2018-11-04 02:59:59"), length=timedelta(seconds=2), zone="America/Sao_Paulo")
def test_the_days_of_a_period_cover_it_exactly(start: datetime, length: timedelta, zone: str) -> None:
    period = Period(start=start, end=start + timedelta(seconds=length // timedelta(seconds=1)))
    days = list(days_of(period=period, zone=zone))
    assert (days[0][1].start, days[-1][1].end) == (period.start, period.end)
    assert all(before.end == after.start for (_, before), (_, after) in pairwise(days))
    assert all(before < after for (before, _), (after, _) in pairwise(days))
    assert sum(part.seconds for _, part in days) == period.seconds
    for day, part in days:
        assert part.seconds > 0
        assert local_day(at=part.start, zone=zone) == local_day(at=part.end - timedelta(seconds=1), zone=zone) == day


@STEADY
@given(at=MOMENTS, zone=ZONES)
def test_a_period_of_no_length_has_no_days(at: datetime, zone: str) -> None:
    assert list(days_of(period=Period(start=at, end=at), zone=zone)) == []
