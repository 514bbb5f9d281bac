"""Amounts of money: exact until they are written down, then rounded by the one rule there is.

What is used is exact (`Fraction`, in units of the currency). A sum is rounded once, half up to the currency's smallest unit (ISO 4217);
the parts it is shown as are rounded so that they add up to it, by largest remainder
(https://en.wikipedia.org/wiki/Largest_remainders_method).
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

NO_DECIMALS = ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF")
THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
DECIMALS = {**dict.fromkeys(NO_DECIMALS, 0), **dict.fromkeys(THREE_DECIMALS, 3)}
"""Decimals of currencies that do not have two (ISO 4217)."""
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}
Exact = Fraction | Decimal | int


def smallest(*, currency: str) -> Decimal:
    """Return the smallest unit of a currency, such as 0.01."""
    return Decimal(1).scaleb(-DECIMALS.get(currency, 2))


def rounded(*, amount: Exact, currency: str) -> Decimal:
    """Return the amount in whole smallest units, halves away from zero."""
    unit = smallest(currency=currency)
    units = Fraction(amount) / Fraction(unit)
    whole = (2 * abs(units) + 1) // 2
    return (Decimal(int(whole if units >= 0 else -whole)) * unit).quantize(unit)


def apportioned(*, parts: Sequence[Exact], currency: str) -> list[Decimal]:
    """Return the parts in whole smallest units, in their order, such that their sum is the rounded sum of the exact parts.

    Each differs from its exact value by less than one unit; equal remainders go to the earlier part.
    """
    unit = smallest(currency=currency)
    exact = [Fraction(part) / Fraction(unit) for part in parts]
    total = int(rounded(amount=sum(exact, Fraction(0)) * Fraction(unit), currency=currency) / unit)
    floors = [part.numerator // part.denominator for part in exact]
    missing = total - sum(floors)
    by_remainder = sorted(range(len(exact)), key=lambda place: (floors[place] - exact[place], place))
    raised = set(by_remainder[:missing])
    return [(Decimal(floor + (place in raised)) * unit).quantize(unit) for place, floor in enumerate(floors)]


def in_words(*, amount: Decimal, currency: str, decimals: int | None = None) -> str:
    """Return an amount as people read it: $1,234.50, CHF 3.00, JPY 3. It has at least `decimals` decimals (those of the currency unless
    said otherwise), and as many more as it needs.
    """
    least = DECIMALS.get(currency, 2) if decimals is None else decimals
    text = f"{abs(amount):,.{max(least, -int(amount.normalize().as_tuple().exponent))}f}"
    symbol = SYMBOLS.get(currency)
    sign = "\N{MINUS SIGN}" if amount < 0 else ""
    return f"{sign}{symbol}{text}" if symbol else f"{sign}{currency}\N{NO-BREAK SPACE}{text}"
