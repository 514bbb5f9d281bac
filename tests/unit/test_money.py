from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.common.money import apportioned, in_words, rounded, smallest

STEADY = settings(deadline=None, derandomize=True, database=None, max_examples=200)
CURRENCIES = st.sampled_from(["USD", "EUR", "JPY", "KWD", "XAF"])
AMOUNTS = st.fractions(min_value=-10_000, max_value=10_000, max_denominator=7200) | st.decimals(-5, 5, places=3).map(Fraction)


@pytest.mark.parametrize(("currency", "unit"), [("USD", "0.01"), ("EUR", "0.01"), ("HUF", "0.01"), ("JPY", "1"), ("KWD", "0.001")])
def test_a_currency_has_a_smallest_unit(currency: str, unit: str) -> None:
    assert str(smallest(currency=currency)) == unit


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("0.005", "USD", "0.01"), ("-0.005", "USD", "-0.01"), ("0.0049999", "USD", "0.00"), ("-0.0049999", "USD", "0.00"),
        ("2.675", "USD", "2.68"), ("1.015", "EUR", "1.02"), ("0.5", "JPY", "1"), ("-0.5", "JPY", "-1"), ("1.4999", "JPY", "1"),
        ("0.0005", "KWD", "0.001"), ("-1.2345", "KWD", "-1.235"), ("7", "USD", "7.00"), ("0", "JPY", "0"),
    ],
)  # fmt: skip
def test_halves_are_rounded_away_from_zero_to_the_smallest_unit(amount: str, currency: str, written: str) -> None:
    assert str(rounded(amount=Decimal(amount), currency=currency)) == written


def test_an_exact_third_is_rounded_once() -> None:
    assert rounded(amount=Fraction(1, 3) + Fraction(1, 3) + Fraction(1, 3), currency="USD") == 1
    assert rounded(amount=Fraction(2, 3), currency="USD") == Decimal("0.67")


@STEADY
@given(amount=AMOUNTS, currency=CURRENCIES)
def test_what_is_rounded_is_at_most_half_a_unit_off_and_the_same_for_both_signs(amount: Fraction, currency: str) -> None:
    unit, written = Fraction(smallest(currency=currency)), rounded(amount=amount, currency=currency)
    assert abs(Fraction(written) - amount) <= unit / 2
    assert (Fraction(written) / unit).denominator == 1
    assert rounded(amount=-amount, currency=currency) == -written
    if abs(Fraction(written) - amount) == unit / 2:
        assert abs(written) > abs(amount)


@STEADY
@given(parts=st.lists(AMOUNTS, max_size=40), currency=CURRENCIES)
@example(parts=[Fraction(1, 3)] * 3, currency="USD")
@example(parts=[Fraction(-1, 200)], currency="USD")
@example(parts=[Fraction(1, 200), Fraction(-1, 200)], currency="USD")
def test_parts_sum_to_the_rounded_sum_and_each_is_less_than_a_unit_off(parts: list[Fraction], currency: str) -> None:
    unit, found = Fraction(smallest(currency=currency)), apportioned(parts=parts, currency=currency)
    assert len(found) == len(parts)
    assert sum(found, Decimal(0)) == rounded(amount=sum(parts, Fraction(0)), currency=currency)
    assert all(abs(Fraction(written) - part) < unit for written, part in zip(found, parts, strict=True))
    assert all((Fraction(written) / unit).denominator == 1 for written in found)


@STEADY
@given(parts=st.lists(AMOUNTS, min_size=2, max_size=12, unique=True), currency=CURRENCIES)
def test_the_order_of_parts_changes_neither_their_sum_nor_those_with_remainders_of_their_own(parts: list[Fraction], currency: str) -> None:
    unit = Fraction(smallest(currency=currency))
    shuffled = sorted(parts, key=lambda part: (part.denominator, part))
    before, after = apportioned(parts=parts, currency=currency), apportioned(parts=shuffled, currency=currency)
    assert sum(before) == sum(after)
    if len({(part / unit) % 1 for part in parts}) == len(parts):
        assert dict(zip(parts, before, strict=True)) == dict(zip(shuffled, after, strict=True))


def test_the_odd_cent_goes_to_the_largest_remainder_and_among_equals_to_the_first() -> None:
    assert apportioned(parts=[Decimal("1.001"), Decimal("1.006"), Decimal("1.003")], currency="USD") == [1, Decimal("1.01"), 1]
    assert apportioned(parts=[Fraction(1, 3)] * 3, currency="USD") == [Decimal("0.34"), Decimal("0.33"), Decimal("0.33")]
    assert apportioned(parts=[Fraction(1, 2)] * 3, currency="JPY") == [1, 1, 0]


def test_nothing_is_apportioned_to_nothing() -> None:
    assert apportioned(parts=[], currency="USD") == []
    assert [str(part) for part in apportioned(parts=[0, Decimal("0.00")], currency="USD")] == ["0.00", "0.00"]


def test_many_small_parts_do_not_vanish() -> None:
    found = apportioned(parts=[Decimal("0.004")] * 1000, currency="USD")
    assert (sum(found), set(found)) == (4, {Decimal("0.00"), Decimal("0.01")})


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234.5", "USD", "$1,234.50"), ("-3", "EUR", "\N{MINUS SIGN}€3.00"), ("0.008", "USD", "$0.008"), ("1.500", "USD", "$1.50"),
        ("3", "CHF", "CHF\N{NO-BREAK SPACE}3.00"), ("1200", "JPY", "JPY\N{NO-BREAK SPACE}1,200"),
        ("1.5", "KWD", "KWD\N{NO-BREAK SPACE}1.500"), ("100", "GBP", "£100.00"), ("0", "USD", "$0.00"),
        ("0.01234567", "USD", "$0.01234567"),
    ],
)  # fmt: skip
def test_amounts_are_written_with_their_currency_and_never_shortened(amount: str, currency: str, text: str) -> None:
    assert in_words(amount=Decimal(amount), currency=currency) == text


def test_who_wants_more_decimals_gets_them() -> None:
    assert in_words(amount=Decimal("0.5"), currency="USD", decimals=4) == "$0.5000"
