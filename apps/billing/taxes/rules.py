"""Which tax is on what is sold to a tenant: the rules for services sold electronically within, into and out of the European Union.

Directive 2006/112/EC: services to businesses are taxed where the business is (Article 44) and by itself (Article 196), electronic services
to consumers where they live (Article 58). A VAT id makes a business; that it is valid is checked when it is entered, here only that it
can be one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from apps.billing.models import Account, Issuer, TaxRate
from apps.common.money import rounded

REVERSE_CHARGE = "Reverse charge: the recipient is liable for the VAT (Article 196 of Directive 2006/112/EC)."
OUTSIDE = "Not subject to VAT: the place of supply is outside the EU."
VAT_IDS = {
    "AT": r"U\d{8}", "BE": r"[01]\d{9}", "BG": r"\d{9,10}", "CY": r"\d{8}[A-Z]", "CZ": r"\d{8,10}", "DE": r"\d{9}", "DK": r"\d{8}",
    "EE": r"\d{9}", "ES": r"[A-Z0-9]\d{7}[A-Z0-9]", "FI": r"\d{8}", "FR": r"[A-HJ-NP-Z0-9]{2}\d{9}", "GR": r"\d{9}", "HR": r"\d{11}",
    "HU": r"\d{8}", "IE": r"\d[A-Z0-9+*]\d{5}[A-Z]{1,2}", "IT": r"\d{11}", "LT": r"(\d{9}|\d{12})", "LU": r"\d{8}", "LV": r"\d{11}",
    "MT": r"\d{8}", "NL": r"\d{9}B\d{2}", "PL": r"\d{10}", "PT": r"\d{9}", "RO": r"\d{2,10}", "SE": r"\d{12}", "SI": r"\d{8}",
    "SK": r"\d{10}",
}  # fmt: skip
"""What follows the country in a VAT id, by country of the EU (https://ec.europa.eu/taxation_customs/vies/#/faq, question 11)."""
PREFIXES = {"GR": "EL"}
"""Where a VAT id does not begin with the ISO code of its country."""


@dataclass(frozen=True, kw_only=True)
class Tax:
    """The tax on a net amount: its name and percent, and the sentence an invoice must carry about it, if any."""

    name: str = ""
    percent: Decimal = Decimal(0)
    text: str = ""

    def on(self, *, net: Decimal, currency: str) -> Decimal:
        """Return the tax on the amount, rounded once to the smallest unit of the currency."""
        return rounded(amount=Fraction(net) * Fraction(self.percent) / 100, currency=currency)


def in_eu(*, country: str) -> bool:
    """Tell whether the country (ISO 3166-1, two letters) is in the European Union."""
    return country in VAT_IDS


def is_vat_id(*, text: str, country: str) -> bool:
    """Tell whether the text can be a VAT id of that country of the EU; spaces, dots and dashes in it do not count."""
    if not in_eu(country=country):
        return False
    plain = re.sub(r"[\s.\-]", "", text).upper()
    return re.fullmatch(PREFIXES.get(country, country) + VAT_IDS[country], plain, re.ASCII) is not None


def tax_for(*, issuer: Issuer, account: Account, on: date, rates: Iterable[TaxRate] | None = None) -> Tax:
    """Return the tax on what the issuer sells the account's tenant on that day.

    A tenant that has not said where it is counts as one of the issuer's own country. `rates` are all there are, for who has read them.
    """
    known = [rate for rate in (TaxRate.objects.all() if rates is None else rates) if rate.starts_on <= on]
    home, there = issuer.country.upper(), (account.country or issuer.country).upper()
    if there == home:
        return _rate(known, home)
    if not in_eu(country=home):
        return Tax()
    if not in_eu(country=there):
        return Tax(text=OUTSIDE)
    if is_vat_id(text=account.vat_id, country=there):
        return Tax(name="VAT", text=REVERSE_CHARGE)
    return _rate(known, there if any(rate.country == there for rate in known) else home)


def _rate(known: Iterable[TaxRate], country: str) -> Tax:
    mine = [rate for rate in known if rate.country == country]
    newest = max(mine, key=lambda rate: rate.starts_on, default=None)
    return Tax(name=newest.name, percent=newest.percent) if newest is not None else Tax()
