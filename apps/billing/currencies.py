"""Currencies prices and accounts may be in: those of ISO 4217 whose smallest unit `apps.common.money` knows."""

from apps.common.errors import InvalidInput
from apps.common.money import DECIMALS

TWO_DECIMALS = (
    "AED AUD BDT BGN BRL CAD CHF CNY COP CZK DKK EGP EUR GBP GEL GHS HKD HUF IDR ILS INR KES KZT LKR MAD MDL MKD MXN MYR NGN NOK NZD "
    "PEN PHP PKR PLN QAR RON RSD SAR SEK SGD THB TRY TWD TZS UAH USD UYU UZS ZAR"
)
KNOWN = frozenset([*TWO_DECIMALS.split(), *DECIMALS])


def check_currency(*, currency: str, field: str = "currency") -> str:
    """Return the currency. Raises InvalidInput for what is no code of ISO 4217 in capital letters, or none that Carina can count in."""
    if currency not in KNOWN:
        raise InvalidInput.field(field, f"“{currency[:10]}” is no currency Carina knows: write its code of ISO 4217, such as USD or EUR.")
    return currency
