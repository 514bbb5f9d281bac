"""Invoices: every month that is over is closed once, with an invoice where there is something to say. May be run at any time, by several.

Months are closed in transactions of a few tenants: their accounts are locked and looked at again, drafts made, numbers taken, all of it
written (`invoices.issuing`), and `billed_until` moved on. Whoever dies in between has done nothing. Where one of them fails, nothing is
written of any, and each gets a transaction of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from itertools import islice
from uuid import UUID

import structlog
from django.db import OperationalError, connection, transaction
from django.db.models import Exists, OuterRef

from apps.billing.invoices.books import Books, with_facts
from apps.billing.invoices.drafts import Draft, draft_of, used_in_next
from apps.billing.invoices.issuing import issue_all
from apps.billing.models import Account, Invoice, MeteredHost, Subscription
from apps.billing.periods import period_from
from apps.billing.terms.accounts import account_of
from apps.common.errors import CarinaError
from apps.common.scope import in_tenant
from apps.tenants.models import Tenant

SETTLING = timedelta(hours=1)
"""How long after its end a month is closed: transactions that were under way then have been written by now."""
AT_ONCE = 500
"""Accounts read at a time."""
TOGETHER = 20
"""Tenants closed in one transaction: most of what each costs alone is the way to the disk and back, and a statement for every row."""
log = structlog.get_logger(__name__)


class Outcome(Enum):
    """What became of an account's next period."""

    NOT_DUE = "not due"
    BUSY = "busy"
    EMPTY = "closed without an invoice"
    ISSUED = "issued"


@dataclass(frozen=True, kw_only=True)
class Closed:
    """What became of it, the invoice if one was issued, and whether the period after it is due as well."""

    outcome: Outcome
    invoice: Invoice | None = None
    more: bool = False


@dataclass(kw_only=True)
class MonthRun:
    """What a run did: invoices issued, months closed without one, accounts with nothing due, and tenants it failed for, with the reason."""

    issued: int = 0
    empty: int = 0
    nothing_due: int = 0
    failed: list[tuple[UUID, str]] = field(default_factory=list)


def run_month(*, at: datetime, tenant_id: UUID | None = None) -> MonthRun:
    """Close every month that is due at the moment, of all tenants or of one; a tenant that is behind is caught up month by month.

    Two runs at once share the work. A tenant for which it fails is logged and reported, and stops no other. Call it as the portal itself.
    """
    run, books = MonthRun(), Books()
    _open_accounts(run, tenant_id)
    busy = False
    waiting = _due(at=at, run=run, tenant_id=tenant_id)
    while some := list(islice(waiting, TOGETHER)):
        busy |= _catch_up_together(some, at=at, books=books, run=run)
    if busy:  # another run has had them, or somebody held an account for a moment
        broken = {failed for failed, _ in run.failed}
        for due in _due(at=at, run=MonthRun(), tenant_id=tenant_id):
            if due not in broken:
                _catch_up(due, at=at, books=books, run=run, wait=True)
    log.info("month_run", issued=run.issued, empty=run.empty, nothing_due=run.nothing_due, failed=len(run.failed))
    return run


def issue_period(*, tenant_id: UUID, at: datetime, books: Books | None = None) -> Invoice | None:
    """Close the tenant's next period if it is due, and return its invoice; None if it is not due or there was nothing to say.

    Raises what `draft_of` raises; then nothing has changed. Call it as the portal itself.
    """
    return close_next(tenant_id=tenant_id, at=at, books=books or Books(), wait=True).invoice


def close_next(*, tenant_id: UUID, at: datetime, books: Books, wait: bool) -> Closed:
    """Close the tenant's next period if it is due; BUSY if another transaction has the account and the caller does not want to `wait`."""
    with in_tenant(tenant_id):
        return close_together(tenant_ids=[tenant_id], at=at, books=books, wait=wait)[tenant_id]


def close_together(*, tenant_ids: Sequence[UUID], at: datetime, books: Books, wait: bool = False) -> dict[UUID, Closed]:
    """Close the next period of each of a few tenants in one transaction, and return what became of each; see `close_next`."""
    books.prepare()
    found = dict.fromkeys(tenant_ids, Closed(outcome=Outcome.NOT_DUE if wait else Outcome.BUSY))
    with transaction.atomic():
        rows = with_facts(accounts=Account.objects.select_related("tenant")).filter(tenant_id__in=tenant_ids)
        accounts = list(rows.select_for_update(of=("self",), no_key=True, skip_locked=not wait).order_by("tenant_id"))
        found.update({account.tenant_id: Closed(outcome=Outcome.NOT_DUE) for account in accounts})
        due = [account for account in accounts if is_due(billed_until=account.billed_until, zone=account.time_zone, at=at)]
        drafts = _drafts_of(due, at=at, books=books)
        invoices = issue_all(drafts=drafts, at=at, books=books)
    for draft, invoice in zip(drafts, invoices, strict=True):
        outcome = Outcome.EMPTY if invoice is None else Outcome.ISSUED
        more = is_due(billed_until=draft.period.end, zone=draft.account.time_zone, at=at)
        found[draft.account.tenant_id] = Closed(outcome=outcome, invoice=invoice, more=more)
    return found


def _drafts_of(accounts: Sequence[Account], *, at: datetime, books: Books) -> list[Draft]:
    """Return the accounts' drafts, each read in its tenant's scope; what they have in common is read once."""
    used = {}
    for account in accounts:
        with in_tenant(account.tenant_id):
            used[account.tenant_id] = used_in_next(account=account, at=at, books=books)
    books.read_bays(ids=[row.bay_id for rows in used.values() for row in rows])
    drafts = []
    for account in accounts:
        with in_tenant(account.tenant_id):
            drafts.append(draft_of(account=account, at=at, books=books, used=used[account.tenant_id]))
    return drafts


def is_due(*, billed_until: datetime, zone: str, at: datetime) -> bool:
    """Tell whether the period that begins at `billed_until` is over for long enough. Raises ZoneInfo's errors for a zone there is not."""
    return _due_at(billed_until, zone) <= at


@lru_cache(maxsize=4096)  # most accounts are of few zones and begin their period together
def _due_at(billed_until: datetime, zone: str) -> datetime:
    return period_from(start=billed_until, zone=zone).end + SETTLING


def _catch_up_together(tenant_ids: Sequence[UUID], *, at: datetime, books: Books, run: MonthRun) -> bool:
    """Close all that is due of a few tenants and count it; return whether somebody else has one of their accounts."""
    left, busy = list(tenant_ids), False
    try:
        while left:
            closed = close_together(tenant_ids=left, at=at, books=books)
            for each in closed.values():
                _count(run, each)
                busy |= each.outcome is Outcome.BUSY
            left = [tenant_id for tenant_id, each in closed.items() if each.more]
    except Exception as error:  # noqa: BLE001 - whose it is shows when each is on its own
        _raise_if_none_answers(error)
        for tenant_id in left:
            busy |= _catch_up(tenant_id, at=at, books=books, run=run, wait=False)
    return busy


def _catch_up(tenant_id: UUID, *, at: datetime, books: Books, run: MonthRun, wait: bool) -> bool:
    """The same for one tenant on its own."""
    try:
        more = True
        while more:
            closed = close_next(tenant_id=tenant_id, at=at, books=books, wait=wait)
            _count(run, closed)
            more = closed.more
    except Exception as error:  # noqa: BLE001 - one tenant must not stop the others
        _note_failure(run, tenant_id, error)
        return False
    return closed.outcome is Outcome.BUSY


def _count(run: MonthRun, closed: Closed) -> None:
    run.issued += closed.outcome is Outcome.ISSUED
    run.empty += closed.outcome is Outcome.EMPTY


def _raise_if_none_answers(error: Exception) -> None:
    """Raise the error again if it is none of a tenant's: the database does not answer."""
    if isinstance(error, OperationalError) and not connection.in_atomic_block and not connection.is_usable():
        raise error


def _note_failure(run: MonthRun, tenant_id: UUID, error: Exception) -> None:
    """Write down why it failed for a tenant. Raises the error again if it is none of the tenant's."""
    _raise_if_none_answers(error)
    sentence = error.detail if isinstance(error, CarinaError) else f"{type(error).__name__}: {error}"
    log.error("month_failed", tenant=str(tenant_id), reason=sentence, exc_info=not isinstance(error, CarinaError))
    run.failed.append((tenant_id, sentence))


def _open_accounts(run: MonthRun, tenant_id: UUID | None) -> None:
    """Give an account to tenants that have none yet but something to bill: hosts that were active, or a plan with a commitment."""
    hosts = MeteredHost.objects.filter(tenant_id=OuterRef("pk"))
    committed = Subscription.objects.filter(tenant_id=OuterRef("pk"), plan__commitment__gt=0)
    rows = Tenant.objects.filter(billing=None).filter(Exists(hosts) | Exists(committed)).order_by("id")
    if tenant_id is not None:
        rows = rows.filter(id=tenant_id)
    some = list(rows[:AT_ONCE])
    while some:
        for tenant in some:
            try:
                account_of(tenant=tenant)
            except Exception as error:  # noqa: BLE001 - as above
                _note_failure(run, tenant.id, error)
        some = list(rows.filter(id__gt=some[-1].id)[:AT_ONCE])


def _due(*, at: datetime, run: MonthRun, tenant_id: UUID | None) -> Iterator[UUID]:
    """Yield tenants with a period that is due, and count the others; a zone that does not exist is due, so that its failure is seen."""
    rows = Account.objects.order_by("tenant_id")
    if tenant_id is not None:
        rows = rows.filter(tenant_id=tenant_id)
    last: UUID | None = None
    while True:
        following = rows.filter(tenant_id__gt=last) if last is not None else rows
        some = list(following.values_list("tenant_id", "billed_until", "time_zone")[:AT_ONCE])
        for last, billed_until, zone in some:
            try:
                due = is_due(billed_until=billed_until, zone=zone, at=at)
            except (KeyError, ValueError, OSError):
                due = True
            if due:
                yield last
            else:
                run.nothing_due += 1
        if len(some) < AT_ONCE:
            return
