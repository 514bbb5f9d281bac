"""Invoices: every month that is over is closed once, with an invoice where there is something to say. May be run at any time, by several.

A tenant's month is one transaction: the account is locked, looked at again, its draft made, a number taken, all of it written, and
`billed_until` moved on. Whoever dies in between has done nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from uuid import UUID

import structlog
from django.db import OperationalError, connection, transaction
from django.db.models import Exists, OuterRef

from apps.audit.services import Actor, record
from apps.billing.accounts import account_of
from apps.billing.books import Books, with_facts
from apps.billing.credit import grant_credit, note_uses
from apps.billing.drafts import Draft, draft_of
from apps.billing.models import Account, BilledPeriod, CreditGrant, Invoice, InvoiceLine, MeteredHost, Subscription
from apps.billing.numbers import next_number
from apps.billing.parties import customer_of, seller_of
from apps.billing.periods import local_day, period_from
from apps.common.errors import CarinaError
from apps.common.money import in_words
from apps.common.scope import in_tenant
from apps.tenants.models import Tenant

SETTLING = timedelta(hours=1)
"""How long after its end a month is closed: transactions that were under way then have been written by now."""
AT_ONCE = 500
"""Accounts read at a time."""
US = Actor.system("invoicing")
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
    for due in _due(at=at, run=run, tenant_id=tenant_id):
        busy |= _catch_up(due, at=at, books=books, run=run, wait=False)
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
    books.prepare()
    with in_tenant(tenant_id), transaction.atomic():
        rows = with_facts(accounts=Account.objects.select_related("tenant"))
        account = rows.select_for_update(of=("self",), no_key=True, skip_locked=not wait).filter(tenant_id=tenant_id).order_by().first()
        if account is None:
            return Closed(outcome=Outcome.NOT_DUE if wait else Outcome.BUSY)
        if not is_due(billed_until=account.billed_until, zone=account.time_zone, at=at):
            return Closed(outcome=Outcome.NOT_DUE)
        draft = draft_of(account=account, at=at, books=books)
        invoice = None if draft.is_nothing else _issue(draft=draft, at=at, books=books)
        _close(draft=draft, invoice=invoice, at=at)
        if invoice is not None:
            _record(draft=draft, invoice=invoice)
    more = is_due(billed_until=draft.period.end, zone=account.time_zone, at=at)
    return Closed(outcome=Outcome.EMPTY if invoice is None else Outcome.ISSUED, invoice=invoice, more=more)


def is_due(*, billed_until: datetime, zone: str, at: datetime) -> bool:
    """Tell whether the period that begins at `billed_until` is over for long enough. Raises ZoneInfo's errors for a zone there is not."""
    return _due_at(billed_until, zone) <= at


@lru_cache(maxsize=4096)  # most accounts are of few zones and begin their period together
def _due_at(billed_until: datetime, zone: str) -> datetime:
    return period_from(start=billed_until, zone=zone).end + SETTLING


def _catch_up(tenant_id: UUID, *, at: datetime, books: Books, run: MonthRun, wait: bool) -> bool:
    """Close all that is due of one tenant and count it; return whether the account was somebody else's."""
    try:
        more = True
        while more:
            closed = close_next(tenant_id=tenant_id, at=at, books=books, wait=wait)
            run.issued += closed.outcome is Outcome.ISSUED
            run.empty += closed.outcome is Outcome.EMPTY
            more = closed.more
    except Exception as error:  # noqa: BLE001 - one tenant must not stop the others
        _note_failure(run, tenant_id, error)
        return False
    return closed.outcome is Outcome.BUSY


def _note_failure(run: MonthRun, tenant_id: UUID, error: Exception) -> None:
    """Write down why it failed for a tenant. Raises the error again if it is none of the tenant's: the database does not answer."""
    if isinstance(error, OperationalError) and not connection.in_atomic_block and not connection.is_usable():
        raise error
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


def _issue(*, draft: Draft, at: datetime, books: Books) -> Invoice:
    """Write the draft down as an invoice. From the number on, all others wait: what can be done before is done before."""
    account, issuer, tax = draft.account, books.issuer, draft.tax_terms
    paid = draft.prepaid_used if draft.gross >= 0 else draft.gross  # what is given back becomes credit, see below
    invoice = Invoice(
        tenant=account.tenant, issuer=issuer, period_start=draft.period.start, period_end=draft.period.end, time_zone=account.time_zone,
        currency=draft.currency, plan=draft.plan.title, seller=seller_of(issuer=issuer), customer=customer_of(account=account),
        net=draft.net, tax=draft.tax, gross=draft.gross, tax_name=tax.name, tax_percent=tax.percent, tax_text=tax.text,
        note="" if draft.gross >= 0 else "The amount in your favour was added to your prepaid credit.",
        issued_at=at, due_on=local_day(at=at, zone=account.time_zone) + timedelta(days=issuer.payment_days),
        paid=paid, state=Invoice.State.OPEN if draft.gross > paid else Invoice.State.PAID,
    )  # fmt: skip
    lines = [
        InvoiceLine(
            tenant=account.tenant, invoice=invoice, position=position, kind=line.kind, text=line.text, bay_id=line.bay_id,
            cloud_id=line.cloud_id, flavor_id=line.flavor_id, price_id=line.price_id, seconds=line.seconds, per_hour=line.per_hour,
            used_from=line.used_from, amount=line.amount,
        )
        for position, line in enumerate(draft.lines, start=1)
    ]  # fmt: skip
    invoice.number = next_number(issuer_id=issuer.id, at=at)
    invoice.save(force_insert=True)
    InvoiceLine.objects.bulk_create(lines)
    if draft.promotions or draft.prepaid:
        note_uses(invoice=invoice, uses=[*draft.promotions, *draft.prepaid], at=at)
    if draft.gross < 0:
        grant_credit(
            by=US, tenant=account.tenant, kind=CreditGrant.Kind.PREPAID, amount=-draft.gross, currency=draft.currency,
            reason=f"In your favour from invoice {invoice.number}", reference=f"invoice {invoice.number}",
        )  # fmt: skip
    return invoice


def _close(*, draft: Draft, invoice: Invoice | None, at: datetime) -> None:
    """Move the account on to its next period, with a note of how this one was closed."""
    account = draft.account
    BilledPeriod.objects.create(
        tenant=account.tenant, start=draft.period.start, end=draft.period.end, time_zone=account.time_zone, currency=draft.currency,
        plan=draft.plan, invoice=invoice, closed_at=at,
    )  # fmt: skip
    Account.objects.filter(pk=account.pk).update(billed_until=draft.period.end, late_from=None)


def _record(*, draft: Draft, invoice: Invoice) -> None:
    amount = in_words(amount=Decimal(invoice.gross), currency=invoice.currency)
    record(
        by=US, action="invoice.issued", sentence=f"issued invoice {invoice.number} over {amount}", tenant_id=invoice.tenant_id,
        target_id=str(invoice.id), target_label=invoice.number,
        data={
            "period_start": draft.period.start.isoformat(), "period_end": draft.period.end.isoformat(), "gross": str(invoice.gross),
            "currency": invoice.currency,
        },
    )  # fmt: skip
