"""Template tags of billing: amounts with their currency."""

from decimal import Decimal

from django import template

from apps.common.money import in_words

register = template.Library()


@register.filter
def in_currency(amount: Decimal | str | int, currency: str) -> str:
    """Return an amount as people read it, in the currency it is in."""
    return in_words(amount=Decimal(amount), currency=currency)
