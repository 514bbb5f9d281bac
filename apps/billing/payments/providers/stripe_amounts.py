"""Amounts as Stripe counts them: whole numbers of a currency's smallest unit, with its own exceptions (https://docs.stripe.com/currencies)."""

from decimal import Decimal

from apps.common.errors import Conflict
from apps.common.money import rounded, smallest

DIFFERENT_DECIMALS = {"ISK": 2}
"""Currencies whose smallest unit at Stripe is not that of ISO 4217 (“Special cases”)."""
THREE_DECIMALS = 3


def in_minor(*, amount: Decimal, currency: str) -> int:
    """Return an amount as Stripe counts it. Raises Conflict for what it cannot write: less than its smallest unit, or nothing."""
    minor = amount.scaleb(_decimals(currency))
    # “These API calls require the least-significant digit to be 0” (https://docs.stripe.com/currencies, “Three-decimal currencies”).
    step = 10 if _decimals(currency) == THREE_DECIMALS else 1
    if minor <= 0 or minor != int(minor) or int(minor) % step:
        raise Conflict(f"Stripe cannot take exactly {amount} {currency}; pay by bank transfer.", code="payment_refused")
    return int(minor)


def from_minor(*, minor: int, currency: str) -> Decimal:
    """Return an amount that Stripe named, in units of its currency."""
    return rounded(amount=Decimal(minor).scaleb(-_decimals(currency)), currency=currency)


def _decimals(currency: str) -> int:
    return DIFFERENT_DECIMALS.get(currency, -int(smallest(currency=currency).as_tuple().exponent))
