"""Whatever happens to hosts, and however clocks, calendars and prices behave: what is billed is what a count by hand says."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.billing.models import MeteredHost
from apps.billing.periods import Period
from apps.billing.prices.book import price_book
from apps.billing.usage.measured import Used, used_by
from apps.billing.usage.rating import Bill, Terms, bill, charges
from apps.billing.usage.rollups import roll_account
from apps.billing.usage.spend import usage_of
from tests.integration.billing.lives import DAY, SET_BACK, STEADY, STORIES, Key, Story, World

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(900)]  # hundreds of stories, on a machine that may be busy


@pytest.fixture
def world() -> World:
    return World()


def rated(world: World, used: list[Used]) -> Bill:
    book = price_book(currency=world.story.currency)
    return bill(found=charges(used=used, rates=book.rates), terms=Terms(), currency=world.story.currency)


def raw(world: World, period: Period, *, as_of: timedelta = 60 * DAY) -> list[Used]:
    book = price_book(currency=world.story.currency)
    return used_by(tenant_id=world.tenant.id, period=period, as_of=period.start + as_of, book=book)


def by_key(used: list[Used]) -> dict[Key, int]:
    return {(each.bay_id, each.cloud_id, each.flavor_id, each.price_id): each.seconds for each in used}


@STEADY
@given(story=STORIES, asked=st.timedeltas(timedelta(0), 40 * DAY))
@example(story=SET_BACK, asked=5 * DAY)
def test_a_months_charges_are_the_integral_of_the_price_over_what_is_billed(world: World, story: Story, asked: timedelta) -> None:
    with world.told(story):
        world.play(story.events)
        assert world.intervals() == world.ledger.intervals()
        metered = Counter(MeteredHost.objects.values_list("host", flat=True))
        assert set(metered) >= set(world.ledger.intervals())
        assert set(metered.values()) <= {1}
        month = story.month
        for as_of in (60 * DAY, asked):
            used = raw(world, month, as_of=as_of)
            assert by_key(used) == world.ledger.seconds(period=month, as_of=month.start + as_of)
            found = rated(world, used)
            assert found.usage == world.ledger.amount(period=month, as_of=month.start + as_of, currency=story.currency)
            assert found.usage == found.net == sum(found.amounts, Decimal(0))


@STEADY
@given(story=STORIES, cuts=st.lists(st.tuples(st.integers(0, 50), st.floats(0.01, 0.99)), min_size=1, max_size=8))
def test_cutting_an_interval_into_two_changes_nothing(world: World, story: Story, cuts: list[tuple[int, float]]) -> None:
    with world.told(story):
        world.play(story.events)
        if not world.intervals():
            return
        before = raw(world, story.month)
        world.split(cuts)
        after = raw(world, story.month)
        assert after == before
        assert rated(world, after) == rated(world, before)


@STEADY
@given(
    story=STORIES,
    rolls=st.lists(st.tuples(st.integers(0, 15), st.timedeltas(timedelta(0), 20 * DAY)), min_size=1, max_size=3).map(sorted),
    window=st.tuples(st.integers(-80, 800), st.integers(1, 900)),
    asked=st.timedeltas(timedelta(0), 45 * DAY),
)
def test_sums_by_day_and_intervals_say_the_same_whenever_days_were_summed(
    world: World, story: Story, rolls: list[tuple[int, timedelta]], window: tuple[int, int], asked: timedelta
) -> None:
    with world.told(story):
        played = 0
        for upto, later in rolls:
            world.play(story.events[played:upto])
            played = max(played, upto)
            roll_account(tenant_id=world.tenant.id, at=world.clock + later)
        world.play(story.events[played:])
        begins = story.month.start + timedelta(hours=window[0])
        for period in (story.month, Period(start=begins, end=begins + timedelta(hours=window[1]))):
            for as_of in (period.end, period.start + asked):
                summed = usage_of(account=world.account, period=period, as_of=as_of)
                assert summed == raw(world, period, as_of=as_of - period.start)
                assert by_key(summed) == world.ledger.seconds(period=period, as_of=as_of)
