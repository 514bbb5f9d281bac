"""Sums of usage by day, so that pages of tenants with millions of intervals are quick: made by one statement of the database for a range of
days that are over, and made anew from the day on which an interval changes (the database notes it in `Account.rolled_until`).

A day is summed when it has been over for an hour: transactions that meter take seconds. Should one take longer, its intervals are late
like any others: it waits for the lock of the account's row and then lowers `rolled_until`, or it comes first and is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import Min, Q

from apps.billing.models import Account, DailyUsage, Interval
from apps.billing.periods import Period, days_of, local_day, midnight
from apps.billing.prices.book import PriceBook, price_book, price_books
from apps.billing.usage.measured import USED, parameters

log = structlog.get_logger()
MARGIN = timedelta(hours=1)
DAYS_AT_ONCE = 31
SUM = f"""
INSERT INTO billing_dailyusage (tenant_id, day, bay_id, cloud_id, flavor_id, price_id, seconds)
SELECT %(tenant)s, day, bay_id, cloud_id, flavor_id, price_id, seconds FROM ({USED}) AS summed
"""  # noqa: S608 - two constants


@dataclass
class Rolled:
    """What a round did: how many days of how many accounts were summed, and whose could not be."""

    accounts: int = 0
    days: int = 0
    failed: list[UUID] = field(default_factory=list)


def roll_due(*, at: datetime) -> Rolled:
    """Sum the days that are over of every account that has any, each on its own; who is being rolled by somebody else is passed over."""
    done = Rolled()
    due = _due(at=at)
    books = price_books() if due else {}
    for tenant_id in due:
        try:
            days = roll_account(tenant_id=tenant_id, at=at, books=books, wait=False)
        except Exception:
            # The next round tries again; what is not summed is read from intervals meanwhile, so nobody sees a wrong amount.
            log.exception("usage could not be summed", tenant=str(tenant_id))
            done.failed.append(tenant_id)
        else:
            done.accounts += 1
            done.days += days
    return done


def roll_account(*, tenant_id: UUID, at: datetime, books: Mapping[str, PriceBook] | None = None, wait: bool = True) -> int:
    """Sum what there is to sum for a tenant and return how many days that were: those that changed since, and those that are over by now.

    Each month or so is a transaction of its own. Without `wait` nothing is done while somebody else has locked the account.
    """
    days = 0
    while more := _roll_some(tenant_id, at, books, wait=wait):
        days += more
    return days


def forget_rollups(*, account: Account) -> None:
    """Have all sums made anew, as after another time zone (other days) or currency (other prices); until then intervals are read.

    Call it in the transaction of the change, with the account's row locked.
    """
    account.rolled_until = None
    account.save(update_fields=["rolled_until"])


def over_until(*, at: datetime, zone: str) -> date:
    """Return the first day there that cannot be summed yet: all before have been over for an hour or longer."""
    return local_day(at=at - MARGIN, zone=zone)


def _due(*, at: datetime) -> list[UUID]:
    found: list[UUID] = []
    for zone in Account.objects.values_list("time_zone", flat=True).distinct().order_by("time_zone"):
        limit = midnight(day=over_until(at=at, zone=zone), zone=zone)
        mine = Account.objects.filter(Q(rolled_until=None) | Q(rolled_until__lt=limit), time_zone=zone)
        found += mine.order_by("tenant_id").values_list("tenant_id", flat=True)
    return found


def _roll_some(tenant_id: UUID, at: datetime, books: Mapping[str, PriceBook] | None, *, wait: bool) -> int:
    with transaction.atomic():
        account = Account.objects.select_for_update(skip_locked=not wait).filter(tenant_id=tenant_id).first()
        if account is None:
            return 0
        zone, limit = account.time_zone, over_until(at=at, zone=account.time_zone)
        sums = DailyUsage.objects.filter(tenant_id=tenant_id)
        if account.rolled_until is None:
            sums.delete()  # they were of another calendar, or of nothing
        first = _first_to_sum(account, limit)
        end = min(limit, first + timedelta(days=DAYS_AT_ONCE))
        until = midnight(day=end, zone=zone)
        if account.rolled_until is not None and account.rolled_until >= until:
            return 0
        sums.filter(day__gte=first, day__lt=end).delete()
        _sum(account, Period(start=midnight(day=first, zone=zone), end=until), books)
        account.rolled_until = until
        account.save(update_fields=["rolled_until"])
        return (end - first).days


def _first_to_sum(account: Account, limit: date) -> date:
    since = account.rolled_until
    if since is None:
        since = Interval.objects.filter(tenant_id=account.tenant_id).aggregate(first=Min("started_at"))["first"]
    return min(limit, local_day(at=since, zone=account.time_zone)) if since is not None else limit


def _sum(account: Account, period: Period, books: Mapping[str, PriceBook] | None) -> None:
    days = list(days_of(period=period, zone=account.time_zone))
    if not days:
        return
    book = books.get(account.currency) if books is not None else price_book(currency=account.currency)
    stretches = book.stretches(period=period) if book is not None else []
    with connection.cursor() as cursor:
        cursor.execute(SUM, parameters(tenant_id=account.tenant_id, parts=days, as_of=period.end, stretches=stretches))
