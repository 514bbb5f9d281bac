"""Rates of tax by country. A rate holds from a day on until the next; none begins in the past, where invoices may have been written."""

from datetime import date
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from apps.audit.services import Actor, record
from apps.billing.countries import COUNTRIES
from apps.billing.models import TaxRate
from apps.billing.operators import require_operator
from apps.billing.periods import local_day
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput, NotFound

LONGEST_NAME = 20


def set_tax_rate(*, by: Actor, country: str, percent: Decimal, starts_on: date, name: str = "VAT") -> TaxRate:
    """Let what is sold to a country be taxed so much from a day on, and return the rate; one that begins the same day is replaced.

    Only the first rate of a country may begin in the past: there was none that it could change. Days are those of the portal's time zone.

    Raises Forbidden for those who are no operators, InvalidInput for what no rate can be.
    """
    require_operator(by=by)
    name = name.strip()
    _check(country=country, percent=percent, name=name)
    with transaction.atomic():
        rates = TaxRate.objects.select_for_update().filter(country=country)
        known = {rate.starts_on: rate for rate in rates}
        if known and starts_on < today():
            raise InvalidInput.field("starts_on", "A tax rate never changes in the past: let the new one begin today or later.")
        replaced = known.get(starts_on)
        last = replaced or max(
            (rate for rate in known.values() if rate.starts_on < starts_on), key=lambda rate: rate.starts_on, default=None
        )
        if last is not None and (last.percent, last.name) == (percent, name):
            return last
        rate, _ = TaxRate.objects.update_or_create(country=country, starts_on=starts_on, defaults={"percent": percent, "name": name})
        record(
            by=by,
            action="tax_rate.set",
            sentence=f"set the tax of {COUNTRIES[country]} to {in_words(rate=rate)} from {starts_on:%Y-%m-%d} on, "
            f"{'in place of' if replaced is not None else 'until then'} {in_words(rate=last)}",
            tenant_id=None,
            target_id=country,
            target_label=COUNTRIES[country],
            data={"from": str(last.percent) if last is not None else None, "to": str(percent), "starts_on": starts_on.isoformat()},
        )
    return rate


def withdraw_tax_rate(*, by: Actor, rate_id: int) -> None:
    """Take back a rate that has not begun.

    Raises Forbidden for those who are no operators, NotFound for unknown rates, Conflict for one that has begun.
    """
    require_operator(by=by)
    with transaction.atomic():
        rate = TaxRate.objects.select_for_update().filter(id=rate_id).first()
        if rate is None:
            raise NotFound("There is no such tax rate.")
        if rate.starts_on <= today():
            raise Conflict("This rate has begun and stays. Set another one that begins later.")
        label = COUNTRIES.get(rate.country, rate.country)
        record(
            by=by,
            action="tax_rate.withdrawn",
            sentence=f"withdrew the tax of {label} from {rate.starts_on:%Y-%m-%d} on, {in_words(rate=rate)}",
            tenant_id=None,
            target_id=rate.country,
            target_label=label,
            data={"percent": str(rate.percent), "starts_on": rate.starts_on.isoformat()},
        )
        rate.delete()


def today() -> date:
    """Return the day it is for the portal."""
    return local_day(at=now(), zone=settings.BILLING_TIME_ZONE)


def in_words(*, rate: TaxRate | None) -> str:
    """Return a rate as people read it."""
    return f"{rate.percent.normalize():f} % {rate.name}" if rate is not None else "none"


def _check(*, country: str, percent: Decimal, name: str) -> None:
    if country not in COUNTRIES:
        raise InvalidInput.field("country", "Choose a country.")
    if not percent.is_finite() or not 0 <= percent <= 100 or percent != round(percent, 2):  # noqa: PLR2004 - percent
        raise InvalidInput.field("percent", "The rate lies between 0 and 100 percent, with at most two decimals.")
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidInput.field("name", f"The tax needs a name of at most {LONGEST_NAME} characters, such as VAT: it stands on invoices.")
