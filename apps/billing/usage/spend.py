"""What a tenant has used and what it costs: of any period, from sums by day where there are any and from intervals where there are none.

Sums by day (`usage.rollups`) give what intervals would give, to the second; so does this, however much of it was summed so far.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Sum

from apps.billing.models import Account, DailyUsage
from apps.billing.periods import Period, days_of, local_day, midnight, month_at
from apps.billing.prices.book import PriceBook, price_book
from apps.billing.terms.accounts import plan_at
from apps.billing.usage.measured import Used, merged, used_by, used_on_days
from apps.billing.usage.period_terms import terms_in
from apps.billing.usage.rating import Bill, Terms, bill, charges


@dataclass(frozen=True, kw_only=True)
class Spend:
    """A month until a moment. `forecast_bill` is that of the whole month if what runs now runs on and nothing else starts."""

    period: Period
    bill: Bill
    forecast_bill: Bill

    @property
    def spent(self) -> Decimal:
        """What was spent so far, after what the plan changes and before tax."""
        return self.bill.net

    @property
    def forecast(self) -> Decimal:
        """What will have been spent at the month's end if nothing starts or ends until then."""
        return self.forecast_bill.net

    @property
    def currency(self) -> str:
        """The currency of both."""
        return self.bill.currency


@dataclass(frozen=True, kw_only=True)
class Summed:
    """The part of a period that was summed by day: the days from `first` until before `end`, which are the moments of `period`."""

    first: date
    end: date
    period: Period


def usage_of(*, account: Account, period: Period, as_of: datetime, book: PriceBook | None = None) -> list[Used]:
    """Return what the tenant used in the period, up to `as_of`: the same rows as `used_by`, without looking at every interval."""
    book = book or price_book(currency=account.currency)
    part = summed_part(account=account, period=period, as_of=as_of)
    if part is None:
        return used_by(tenant_id=account.tenant_id, period=period, as_of=as_of, book=book)
    found = _sums(account=account, part=part)
    for rest in (Period(start=period.start, end=part.period.start), Period(start=part.period.end, end=period.end)):
        if rest.seconds and rest.start < as_of:
            found += used_by(tenant_id=account.tenant_id, period=rest, as_of=as_of, book=book)
    return in_order(used=merged(used=found))


def usage_by_day(*, account: Account, period: Period, as_of: datetime, book: PriceBook) -> list[tuple[date, Used]]:
    """Return the same, with the day of the account's calendar for each row; in the order of days."""
    part = summed_part(account=account, period=period, as_of=as_of)
    before, after = (Period(start=period.start, end=part.period.start), part.period.end) if part else (None, period.start)
    found = _by_day(account, before, as_of, book) if before is not None else []
    if part is not None:
        found += _sums_by_day(account=account, part=part)
    return [*found, *_by_day(account, Period(start=after, end=period.end), as_of, book)]


def spend_of(*, account: Account, period: Period, as_of: datetime, book: PriceBook | None = None) -> Bill:
    """Return what the tenant's use of a month, or the part of one, costs up to `as_of`; a commitment counts once the period is over."""
    book = book or price_book(currency=account.currency)
    used = usage_of(account=account, period=period, as_of=as_of, book=book)
    terms = terms_of(account=account, period=period)
    return bill_of(used=used, book=book, terms=terms, whole_month=as_of >= period.end)


def month_so_far(*, account: Account, at: datetime) -> Spend:
    """Return what the calendar month of the account costs that the moment is in: until then, and until its end if nothing changes."""
    book = price_book(currency=account.currency)
    period = month_to_bill(account=account, at=at)
    used = usage_of(account=account, period=period, as_of=at, book=book)
    return spend_from(account=account, period=period, used=used, at=at, book=book)


def spend_from(*, account: Account, period: Period, used: list[Used], at: datetime, book: PriceBook) -> Spend:
    """Return the same, for who has read already what was `used` of the month until `at`."""
    ahead = Period(start=at.replace(microsecond=0), end=period.end)
    going_on = used_by(tenant_id=account.tenant_id, period=ahead, as_of=period.end, book=book) if ahead.seconds else []
    terms = terms_of(account=account, period=period)
    return Spend(
        period=period,
        bill=bill_of(used=used, book=book, terms=terms, whole_month=at >= period.end),
        forecast_bill=bill_of(used=merged(used=[*used, *going_on]), book=book, terms=terms, whole_month=True),
    )


def terms_of(*, account: Account, period: Period) -> Terms:
    """Return the account's terms for a month, or a part of one: those in force when it begins.

    Raises Conflict where these have amounts in another currency.
    """
    plan = plan_at(tenant=account.tenant, at=period.start)
    return terms_in(plan=plan, period=period, zone=account.time_zone, currency=account.currency)


def bill_of(*, used: Iterable[Used], book: PriceBook, terms: Terms, whole_month: bool) -> Bill:
    """Return what so much use of a month costs under the terms."""
    return bill(found=charges(used=used, rates=book.rates), terms=terms, currency=book.currency, whole_month=whole_month)


def month_to_bill(*, account: Account, at: datetime) -> Period:
    """Return the account's calendar month the moment is in, without what of it was invoiced with the month before (by another calendar)."""
    month = month_at(at=at, zone=account.time_zone)
    return Period(start=account.billed_until, end=month.end) if month.start < account.billed_until < min(at, month.end) else month


def summed_part(*, account: Account, period: Period, as_of: datetime) -> Summed | None:
    """Return which days of the period sums by day say everything about; None if there is none."""
    if account.rolled_until is None:
        return None
    zone = account.time_zone
    first = local_day(at=period.start, zone=zone)
    if midnight(day=first, zone=zone) < period.start:
        first += timedelta(days=1)
    # A day that changed after it was summed lowers `rolled_until` to a moment inside it: that day, and all after it, count no more.
    end = local_day(at=min(account.rolled_until, period.end, as_of), zone=zone)
    if first >= end:
        return None
    return Summed(first=first, end=end, period=Period(start=midnight(day=first, zone=zone), end=midnight(day=end, zone=zone)))


def in_order(*, used: Iterable[Used]) -> list[Used]:
    """Return the rows in the order of `used_by`: by bay, cloud, flavor and price, those without a price last."""
    return sorted(used, key=_place)


def _place(used: Used) -> tuple[UUID, UUID, UUID, bool, int]:
    return used.bay_id, used.cloud_id, used.flavor_id, used.price_id is None, used.price_id or 0


def _by_day(account: Account, period: Period, as_of: datetime, book: PriceBook) -> list[tuple[date, Used]]:
    until = period.cut(until=as_of)  # no days that are still to come
    if not until.seconds:
        return []
    days, stretches = list(days_of(period=until, zone=account.time_zone)), book.stretches(period=until)
    return used_on_days(tenant_id=account.tenant_id, days=days, as_of=as_of, stretches=stretches)


def _sums_by_day(*, account: Account, part: Summed) -> list[tuple[date, Used]]:
    rows = DailyUsage.objects.filter(tenant_id=account.tenant_id, day__gte=part.first, day__lt=part.end).order_by("day", "bay_id", "id")
    return [
        (day, Used(bay_id=bay_id, cloud_id=cloud_id, flavor_id=flavor_id, price_id=price_id, seconds=seconds))
        for day, bay_id, cloud_id, flavor_id, price_id, seconds in rows.values_list(
            "day", "bay_id", "cloud_id", "flavor_id", "price_id", "seconds"
        )
    ]


def _sums(*, account: Account, part: Summed) -> list[Used]:
    rows = (
        DailyUsage.objects.filter(tenant_id=account.tenant_id, day__gte=part.first, day__lt=part.end)
        .values_list("bay_id", "cloud_id", "flavor_id", "price_id")
        .annotate(total=Sum("seconds"))
        .order_by()
    )
    return [
        Used(bay_id=bay_id, cloud_id=cloud_id, flavor_id=flavor_id, price_id=price_id, seconds=int(seconds))
        for bay_id, cloud_id, flavor_id, price_id, seconds in rows
    ]
