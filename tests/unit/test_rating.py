"""The price book and what it makes of usage: pure functions, without a database."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise, permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.billing.models import Plan, Price
from apps.billing.periods import Period
from apps.billing.prices.book import PriceBook, Rate, Tier
from apps.billing.usage.measured import Used, merged
from apps.billing.usage.rating import Terms, adjustments, bill, charges

STEADY = settings(deadline=None, derandomize=True, database=None, max_examples=150)
START = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = Period(start=START, end=datetime(2026, 4, 1, tzinfo=UTC))
SMALL, LARGE = UUID(int=1), UUID(int=2)
HERE, THERE, ELSEWHERE = UUID(int=11), UUID(int=12), UUID(int=13)
TIERED = Rate(
    id=1,
    per_hour=Decimal("0.010"),
    tiers=(Tier(from_hours=100, per_hour=Decimal("0.008")), Tier(from_hours=1000, per_hour=Decimal("0.005"))),
)
FLAT = Rate(id=2, per_hour=Decimal("0.030"))
FREE = Rate(id=3, per_hour=Decimal(0))
RATES = {rate.id: rate for rate in (TIERED, FLAT, FREE)}


def price(number: int, per_hour: str | None, days: float, *, cloud: UUID | None = None, flavor: UUID = SMALL, tiers: Any = ()) -> Price:
    """A price that begins so many days after the month."""
    return Price(
        id=number, flavor_id=flavor, cloud_id=cloud, currency="USD", per_hour=None if per_hour is None else Decimal(per_hour),
        tiers=list(tiers), starts_at=START + timedelta(days=days),
    )  # fmt: skip


def book_of(*prices: Price) -> PriceBook:
    return PriceBook(currency="USD", prices=prices)


def price_at(book: PriceBook, days: float, *, cloud: UUID = HERE, flavor: UUID = SMALL) -> int | None:
    rate = book.rate_at(flavor_id=flavor, cloud_id=cloud, at=START + timedelta(days=days))
    return rate.id if rate else None


def used(seconds: int, *, bay: int = 1, cloud: UUID = HERE, flavor: UUID = SMALL, rate: int | None = 1) -> Used:
    return Used(bay_id=UUID(int=bay), cloud_id=cloud, flavor_id=flavor, price_id=rate, seconds=seconds)


# --- the price book ------------------------------------------------------------------------------------------------------------------


def test_a_price_holds_from_its_start_until_the_next_starts() -> None:
    book = book_of(price(2, "0.02", 10), price(1, "0.01", 0), price(3, "0.03", 20))
    assert [price_at(book, day) for day in (-0.01, 0, 9.999, 10, 19.999, 20, 999)] == [None, 1, 1, 2, 2, 3, 3]


def test_the_price_of_a_cloud_comes_before_the_general_one_until_it_is_ended() -> None:
    book = book_of(price(1, "0.01", -9), price(2, "0.05", 5, cloud=HERE), price(3, None, 10, cloud=HERE), price(4, "0.02", 12))
    assert [price_at(book, day) for day in (4, 5, 9, 10, 12)] == [1, 2, 2, 1, 4]
    assert [price_at(book, day, cloud=THERE) for day in (4, 5, 9, 10, 12)] == [1, 1, 1, 1, 4]


def test_a_new_general_price_does_not_touch_a_cloud_with_its_own() -> None:
    book = book_of(price(1, "0.01", 0), price(2, "0.05", 0, cloud=HERE), price(3, "0.02", 3))
    assert (price_at(book, 4), price_at(book, 4, cloud=THERE)) == (2, 3)


def test_a_flavor_without_a_price_there_and_then_cannot_be_had() -> None:
    book = book_of(price(1, "0.05", 5, cloud=HERE), price(2, None, 10, cloud=HERE), price(3, "0.01", 0, flavor=LARGE))
    assert [price_at(book, day) for day in (4, 5, 10)] == [None, 1, None]
    assert price_at(book, 7, cloud=THERE) is None
    assert price_at(book, 7, flavor=UUID(int=99)) is None


def test_a_price_of_nothing_is_a_price() -> None:
    assert price_at(book_of(price(1, "0", 0)), 1) == 1


def test_tiers_are_read_as_they_are_written_down() -> None:
    book = book_of(price(1, "0.01", 0, tiers=[{"from_hours": 1000, "per_hour": "0.008"}]))
    assert book.rates[1].tiers == (Tier(from_hours=1000, per_hour=Decimal("0.008")),)


def test_asking_for_prices_leaves_the_book_as_it_is() -> None:
    book = book_of(price(1, "0.01", 0))
    before = book.stretches(period=MONTH)
    price_at(book, 1, cloud=THERE)
    price_at(book, 1, flavor=LARGE)
    assert book.stretches(period=MONTH) == before


PRICES = st.lists(
    st.tuples(
        st.sampled_from([None, HERE, THERE]),
        st.sampled_from([SMALL, LARGE]),
        st.sampled_from(["0", "0.01", "0.5", None]),
        st.integers(-80, 800),
    ),
    max_size=12,
    unique_by=lambda row: (row[0], row[1], row[3]),
).map(
    lambda rows: [
        price(number, per_hour if cloud or per_hour else "0.02", hours / 24, cloud=cloud, flavor=flavor)
        for number, (cloud, flavor, per_hour, hours) in enumerate(rows, start=1)
    ]
)


def by_hand(prices: Sequence[Price], flavor: UUID, cloud: UUID, at: datetime) -> int | None:
    """Which price holds, by looking at every one."""
    for place in (cloud, None):
        begun = [row for row in prices if (row.flavor_id, row.cloud_id) == (flavor, place) and row.starts_at <= at]
        if begun and (newest := max(begun, key=lambda row: row.starts_at)).per_hour is not None:
            return int(newest.id)
    return None


@STEADY
@given(prices=PRICES, hours=st.lists(st.integers(0, 743), max_size=5))
def test_the_stretches_of_a_month_cover_it_once_and_say_what_holds_at_every_moment(prices: list[Price], hours: list[int]) -> None:
    book = book_of(*prices)
    found = book.stretches(period=MONTH)
    for flavor in {row.flavor_id for row in prices}:
        named = {stretch.cloud_id for stretch in found if stretch.flavor_id == flavor}
        for cloud in (HERE, THERE, ELSEWHERE):
            mine = sorted(
                (each.period, each.rate.id if each.rate else None)
                for each in found
                if each.flavor_id == flavor and each.cloud_id == (cloud if cloud in named else None)
            )
            assert (mine[0][0].start, mine[-1][0].end) == (MONTH.start, MONTH.end)
            assert all(before.end == after.start for (before, _), (after, _) in pairwise(mine))
            moments = [START + timedelta(hours=hour, seconds=1) for hour in hours]
            moments += [each.start for each, _ in mine] + [each.end - timedelta(seconds=1) for each, _ in mine]
            for moment in moments:
                expected = by_hand(prices, flavor, cloud, moment)
                rate = book.rate_at(flavor_id=flavor, cloud_id=cloud, at=moment)
                assert (rate.id if rate else None) == expected
                assert [number for part, number in mine if part.start <= moment < part.end] == [expected]


# --- what usage costs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "cost"),
    [
        (0, "0"), (1, "0.010"), (99, "0.99"), (100, "1.00"), (101, "1.008"), (1000, "8.20"), (1001, "8.205"), (3000, "18.20"),
    ],
)  # fmt: skip
def test_tiers_cost_what_lies_within_each(hours: int, cost: str) -> None:
    assert TIERED.cost(seconds=hours * 3600) == Fraction(cost)


@STEADY
@given(seconds=st.integers(0, 5_000_000), steps=st.dictionaries(st.integers(1, 1200), st.decimals(0, 2, places=4), max_size=4))
def test_tiers_cost_the_sum_over_every_hour(seconds: int, steps: dict[int, Decimal]) -> None:
    tiers = tuple(Tier(from_hours=hours, per_hour=steps[hours]) for hours in sorted(steps))
    whole, rest = divmod(seconds, 3600)

    def of_hour(number: int) -> Fraction:
        return Fraction(next((tier.per_hour for tier in reversed(tiers) if number >= tier.from_hours), Decimal("0.05")))

    expected = sum((of_hour(number) for number in range(whole)), Fraction(0)) + of_hour(whole) * Fraction(rest, 3600)
    assert Rate(id=1, per_hour=Decimal("0.05"), tiers=tiers).cost(seconds=seconds) == expected


def test_tiers_count_the_hours_of_all_bays_and_what_they_save_is_spread_by_hours() -> None:
    found = charges(used=[used(60 * 3600, bay=1), used(140 * 3600, bay=2)], rates=RATES)
    assert sum(charge.exact for charge in found) == TIERED.cost(seconds=200 * 3600) == Fraction("1.80")
    assert [charge.exact for charge in found] == [Fraction("0.54"), Fraction("1.26")]


def test_each_price_has_its_own_tiers() -> None:
    found = charges(used=[used(90 * 3600, rate=1), used(90 * 3600, bay=2, rate=2)], rates=RATES)
    assert [charge.exact for charge in found] == [Fraction("0.90"), Fraction("2.70")]


def test_usage_without_a_price_is_not_charged_and_free_usage_is_listed() -> None:
    found = charges(used=[used(3600, rate=None), used(3600, bay=2, rate=3)], rates=RATES)
    assert [(charge.used.bay_id.int, charge.exact) for charge in found] == [(2, Fraction(0))]


def test_no_usage_is_no_charge() -> None:
    assert charges(used=[used(0)], rates=RATES) == []
    nothing = bill(found=[], terms=Terms(), currency="USD")
    assert (str(nothing.usage), len(nothing.amounts), len(nothing.adjustments), str(nothing.net)) == ("0.00", 0, 0, "0.00")


ROWS = st.lists(
    st.builds(
        used, st.integers(1, 3_000_000), bay=st.integers(1, 6), cloud=st.sampled_from([HERE, THERE]), rate=st.sampled_from([1, 2, 3, None])
    ),
    max_size=12,
)


@STEADY
@given(rows=ROWS, currency=st.sampled_from(["USD", "JPY", "KWD"]))
def test_amounts_sum_to_the_rounded_exact_sum(rows: list[Used], currency: str) -> None:
    found = bill(found=charges(used=rows, rates=RATES), terms=Terms(), currency=currency)
    totals: dict[int, int] = defaultdict(int)
    for each in rows:
        if each.price_id is not None:
            totals[each.price_id] += each.seconds
    exact = sum((RATES[number].cost(seconds=seconds) for number, seconds in totals.items()), Fraction(0))
    assert sum((charge.exact for charge in found.charges), Fraction(0)) == exact
    assert sum(found.amounts, Decimal(0)) == found.usage == found.net
    assert abs(Fraction(found.usage) - exact) <= Fraction({"USD": "0.005", "JPY": "0.5", "KWD": "0.0005"}[currency])


@STEADY
@given(rows=ROWS, random=st.randoms(use_true_random=False))
def test_neither_the_order_of_use_nor_how_it_was_split_changes_an_amount(rows: list[Used], random: Any) -> None:
    whole = bill(found=charges(used=merged(used=rows), rates=RATES), terms=Terms(), currency="USD")
    pieces = []
    for each in rows:
        cut = random.randint(0, each.seconds)
        pieces += [replace(each, seconds=cut), replace(each, seconds=each.seconds - cut)]
    random.shuffle(pieces)
    assert bill(found=charges(used=merged(used=pieces), rates=RATES), terms=Terms(), currency="USD") == whole
    unmerged = bill(found=charges(used=pieces, rates=RATES), terms=Terms(), currency="USD")
    assert (unmerged.usage, unmerged.net) == (whole.usage, whole.net)


def test_of_equals_the_same_one_gets_the_odd_cent_in_whatever_order_they_come() -> None:
    rows = [used(1200, bay=bay, rate=2) for bay in (1, 2, 3)]
    bills = {bill(found=charges(used=order, rates=RATES), terms=Terms(), currency="USD").amounts for order in permutations(rows)}
    assert bills == {(Decimal("0.01"), Decimal("0.01"), Decimal("0.01"))}
    rows = [used(400, bay=bay, rate=2) for bay in (1, 2, 3)]
    bills = {bill(found=charges(used=order, rates=RATES), terms=Terms(), currency="USD").amounts for order in permutations(rows)}
    assert bills == {(Decimal("0.01"), Decimal("0.00"), Decimal("0.00"))}


# --- what terms change ---------------------------------------------------------------------------------------------------------------


def changed(usage: str, *, whole_month: bool = True, currency: str = "USD", **terms: Any) -> list[tuple[str, str]]:
    found = adjustments(usage=Decimal(usage), terms=Terms(title="Plan", **terms), currency=currency, whole_month=whole_month)
    return [(each.kind, str(each.amount)) for each in found]


def test_pay_as_you_go_changes_nothing() -> None:
    assert changed("12.34") == []


def test_a_discount_is_rounded_once() -> None:
    assert changed("10.05", discount_percent=Decimal(10)) == [("discount", "-1.01")]
    assert changed("105", discount_percent=Decimal("0.5"), currency="JPY") == [("discount", "-1")]
    assert changed("0.00", discount_percent=Decimal(10)) == []


def test_an_allowance_is_taken_off_as_far_as_there_is_something() -> None:
    assert changed("12.00", allowance=Decimal(20)) == [("allowance", "-12.00")]
    assert changed("32.00", allowance=Decimal(20)) == [("allowance", "-20.00")]
    assert changed("0.00", allowance=Decimal(20)) == []


def test_a_commitment_is_charged_up_to_and_for_whole_months_only() -> None:
    assert changed("12.00", commitment=Decimal(20)) == [("commitment", "8.00")]
    assert changed("0.00", commitment=Decimal(20)) == [("commitment", "20.00")]
    assert changed("20.00", commitment=Decimal(20)) == []
    assert changed("12.00", commitment=Decimal(20), whole_month=False) == []


def test_discount_comes_before_allowance_and_both_before_the_commitment() -> None:
    found = changed("100.00", discount_percent=Decimal(50), allowance=Decimal(10), commitment=Decimal(70))
    assert found == [("discount", "-50.00"), ("allowance", "-10.00"), ("commitment", "30.00")]


def test_terms_are_those_of_the_plan() -> None:
    plan = Plan(title="Gold", kind=Plan.Kind.COMMITTED, discount_percent=Decimal(5), commitment=Decimal(9), allowance=Decimal(1))
    found = Terms.of(plan=plan)
    assert found == Terms(title="Gold", kind="committed", discount_percent=Decimal(5), commitment=Decimal(9), allowance=Decimal(1))


@STEADY
@given(
    usage=st.decimals(0, 5000, places=2),
    discount=st.decimals(0, 100, places=2),
    allowance=st.decimals(0, 300, places=2),
    commitment=st.decimals(0, 300, places=2),
)
def test_terms_never_make_an_amount_negative_nor_less_than_the_commitment(
    usage: Decimal, discount: Decimal, allowance: Decimal, commitment: Decimal
) -> None:
    terms = Terms(title="Plan", discount_percent=discount, allowance=allowance, commitment=commitment)
    found = adjustments(usage=usage, terms=terms, currency="USD")
    net = usage + sum((each.amount for each in found), Decimal(0))
    assert net >= commitment >= 0
    assert net <= max(usage, commitment)
    assert all(each.amount != 0 and each.amount == each.amount.quantize(Decimal("0.01")) for each in found)
