"""How the closing of months stands: what is due, what is stuck and why, and when anything was closed last. Reads only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from apps.billing.invoices.books import Books
from apps.billing.invoices.closing import AT_ONCE, SETTLING
from apps.billing.invoices.drafts import draft_of
from apps.billing.models import Account, BilledPeriod
from apps.billing.periods import period_from
from apps.common.errors import CarinaError

PATIENCE = timedelta(days=1)
"""A month that is over for longer and not closed is stuck: runs come every hour."""
MOST_REASONS = 25
LAST_MONTHS = timedelta(days=31)


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """An account whose next period could have been closed since `due_at`; `reason` is empty where nothing is wrong with its draft.

    A time zone that does not exist has no periods: `due_at` is None.
    """

    account: Account
    due_at: datetime | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class MonthState:
    """`due` accounts wait for the next run; of the `stuck_count` that wait for too long, `stuck` are those that wait longest.

    `closed` and `issued` count the periods closed and the invoices written in the last 31 days, `last_closed_at` is the newest.
    """

    due: int
    stuck_count: int
    stuck: tuple[Stuck, ...]
    closed: int
    issued: int
    last_closed_at: datetime | None


def month_state(*, at: datetime) -> MonthState:
    """Return it for all organisations. Call it as the portal itself."""
    due, late = 0, []
    ends: dict[tuple[datetime, str], datetime | None] = {}
    rows = Account.objects.order_by("billed_until", "tenant_id").values_list("tenant_id", "billed_until", "time_zone")
    for tenant_id, billed_until, zone in rows.iterator(chunk_size=AT_ONCE):
        key = (billed_until, zone)
        if key not in ends:
            ends[key] = _due_at(billed_until, zone)
        due_at = ends[key]
        if due_at is None or due_at + PATIENCE <= at:
            late.append((tenant_id, due_at))
        elif due_at <= at:
            due += 1
    shown = late[:MOST_REASONS]
    accounts = Account.objects.select_related("tenant").in_bulk([tenant_id for tenant_id, _ in shown])
    books = Books()
    recent = BilledPeriod.objects.filter(closed_at__gt=at - LAST_MONTHS)
    last = BilledPeriod.objects.order_by("-closed_at").values_list("closed_at", flat=True).first()
    return MonthState(
        due=due,
        stuck_count=len(late),
        stuck=tuple(
            Stuck(account=accounts[tenant_id], due_at=due_at, reason=why_not(account=accounts[tenant_id], at=at, books=books))
            for tenant_id, due_at in shown
        ),
        closed=recent.count(),
        issued=recent.exclude(invoice=None).count(),
        last_closed_at=last,
    )


def why_not(*, account: Account, at: datetime, books: Books) -> str:
    """Return why the account's next period cannot be closed, from a draft that is thrown away; empty if it can."""
    try:
        with transaction.atomic():  # an error of the database is its own, too
            draft_of(account=account, at=at, books=books)
    except CarinaError as error:
        return error.detail
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
        return f"{type(error).__name__}: {error}"
    return ""


def _due_at(billed_until: datetime, zone: str) -> datetime | None:
    try:
        return period_from(start=billed_until, zone=zone).end + SETTLING
    except (KeyError, ValueError, OSError):
        return None
