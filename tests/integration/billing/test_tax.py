"""Which tax is on an invoice depends on where seller and customer are, what the customer is, and on the day."""

from datetime import date
from decimal import Decimal

import pytest

from apps.billing.models import Account, Issuer, TaxRate
from apps.billing.taxes.rules import OUTSIDE, REVERSE_CHARGE, Tax, is_vat_id, tax_for

pytestmark = pytest.mark.django_db
DAY = date(2026, 3, 31)


@pytest.fixture(autouse=True)
def _rates() -> None:
    for country, percent, day in [("DE", 16, date(2020, 7, 1)), ("DE", 19, date(2021, 1, 1)), ("FR", 20, date(2014, 1, 1)), ("CH", 8, DAY)]:
        TaxRate.objects.create(country=country, name="VAT", percent=Decimal(percent), starts_on=day)


def tax(*, seller: str = "DE", customer: str = "", vat_id: str = "", on: date = DAY) -> Tax:
    return tax_for(issuer=Issuer(country=seller), account=Account(country=customer, vat_id=vat_id), on=on)


@pytest.mark.parametrize(
    ("seller", "customer", "vat_id", "percent", "text"),
    [
        ("DE", "DE", "", 19, ""),
        ("DE", "DE", "DE123456789", 19, ""),  # a business of the seller's own country pays the seller's tax
        ("DE", "", "", 19, ""),
        ("DE", "FR", "", 20, ""),
        ("DE", "IT", "", 19, ""),  # no rate for Italy is configured
        ("DE", "FR", "FR40303265045", 0, REVERSE_CHARGE),
        ("DE", "FR", "fr 40 303 265 045", 0, REVERSE_CHARGE),
        ("DE", "FR", "FR123", 20, ""),
        ("DE", "FR", "DE123456789", 20, ""),  # of another country than the address
        ("DE", "GR", "EL123456789", 0, REVERSE_CHARGE),
        ("DE", "US", "", 0, OUTSIDE),
        ("DE", "CH", "CHE123456789", 0, OUTSIDE),
        ("CH", "CH", "", 8, ""),
        ("CH", "DE", "DE123456789", 0, ""),
        ("US", "US", "", 0, ""),
        ("", "", "", 0, ""),
        ("", "DE", "", 0, ""),
    ],
)
def test_the_tax_by_seller_and_customer(seller: str, customer: str, vat_id: str, percent: int, text: str) -> None:
    found = tax(seller=seller, customer=customer, vat_id=vat_id)
    assert (found.percent, found.text) == (Decimal(percent), text)


@pytest.mark.parametrize(("day", "percent"), [(date(2020, 6, 30), 0), (date(2020, 12, 31), 16), (date(2021, 1, 1), 19)])
def test_the_rate_is_the_newest_that_has_begun_on_the_day(day: date, percent: int) -> None:
    assert tax(customer="DE", on=day).percent == percent


def test_a_rate_of_the_destination_that_has_not_begun_is_not_used() -> None:
    assert tax(customer="FR", on=date(2013, 1, 1)).percent == 0
    TaxRate.objects.create(country="IT", percent=Decimal(22), starts_on=date(2027, 1, 1))
    assert tax(customer="IT").percent == 19


@pytest.mark.parametrize(
    ("net", "currency", "amount"), [("10.55", "EUR", "2.00"), ("-10.55", "EUR", "-2.00"), ("0.03", "EUR", "0.01"), ("105", "JPY", "20")]
)
def test_tax_is_rounded_once_half_up(net: str, currency: str, amount: str) -> None:
    assert Tax(percent=Decimal(19)).on(net=Decimal(net), currency=currency) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "DE", "DE12345678", "DE1234567890", "XX123456789", "DE12345678A", "DE١٢٣٤٥٦٧٨٩"])
def test_what_cannot_be_a_german_vat_id(text: str) -> None:
    assert not is_vat_id(text=text, country="DE")


@pytest.mark.parametrize(
    ("text", "country"),
    [("DE 123.456-789", "DE"), ("ATU12345678", "AT"), ("NL123456789B01", "NL"), ("IE1234567FA", "IE"), ("ESX1234567X", "ES"),
     ("EL123456789", "GR"), ("LT123456789012", "LT"), ("SE123456789001", "SE")],
)  # fmt: skip
def test_what_can_be_a_vat_id(text: str, country: str) -> None:
    assert is_vat_id(text=text, country=country)
    assert not is_vat_id(text=text, country="US")
