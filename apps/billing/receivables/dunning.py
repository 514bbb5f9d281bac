"""Dunning: reminders by days after an invoice was due, and at the end no growth until it is paid. Nothing is ever stopped or deleted.

A step is taken once, as a row; its mail goes out once, by whoever sets `mailed_at`. Both are safe to stop anywhere, to run twice, and to
have been missed: of several steps missed only the newest is taken.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet

from apps.audit.services import Actor, record
from apps.billing.models import Account, Invoice, Reminder
from apps.billing.receivables.overdue import FAMILY, RESTRICTION, invoice_page, refresh_hold, step_reached, steps, unpaid_invoices
from apps.billing.receivables.owed import owed
from apps.billing.terms.accounts import account_of
from apps.billing.terms.recipients import recipients_of
from apps.common.clock import now
from apps.common.mails import send_to_each
from apps.common.money import in_words
from apps.tenants.models import Hold, Tenant

log = structlog.get_logger(__name__)
DUNNING = Actor.system("dunning")


@dataclass(kw_only=True)
class DunningRun:
    """What a run did: how many steps it took, which of them restrict, and for which tenants it could not."""

    taken: int = 0
    restricted: int = 0
    failed: list[UUID] = field(default_factory=list)


def run_dunning(*, at: datetime) -> DunningRun:
    """Take the steps that are due, and let every hold for being overdue say what is true. One tenant's failure stops no other.

    What is due is decided by the day `at` is in where each account is.
    """
    run = DunningRun()
    first = steps()[0][1]
    overdue = Q(state=Invoice.State.OPEN, kind=Invoice.Kind.INVOICE, due_on__lte=(at + timedelta(days=1 - first)).date())
    tenants = set(Invoice.objects.filter(overdue).values_list("tenant_id", flat=True))
    tenants |= set(Hold.objects.filter(code=FAMILY).values_list("tenant_id", flat=True))
    for tenant_id in sorted(tenants):
        try:
            _dun(tenant_id=tenant_id, at=at, run=run)
        except Exception:
            log.exception("dunning_failed", tenant=str(tenant_id))
            run.failed.append(tenant_id)
    return run


@transaction.atomic
def _dun(*, tenant_id: UUID, at: datetime, run: DunningRun) -> None:
    account = account_of(tenant=Tenant.objects.get(id=tenant_id))
    Account.objects.select_for_update(no_key=True).get(tenant_id=tenant_id)
    taken = [invoice for invoice in unpaid_invoices(tenant_id=tenant_id) if _take(invoice=invoice, account=account, at=at)]
    refresh_hold(tenant_id=tenant_id)
    run.taken += len(taken)
    run.restricted += sum(step_reached(invoice=invoice, account=account, at=at) == RESTRICTION for invoice in taken)


def _take(*, invoice: Invoice, account: Account, at: datetime) -> bool:
    """Take the step that the invoice has reached, unless that or a later one was taken. The account is locked: nobody else is at it."""
    order = [name for name, _ in steps()]
    step = step_reached(invoice=invoice, account=account, at=at)
    if not step or set(order[order.index(step) :]) & set(invoice.reminders.values_list("step", flat=True)):
        return False
    Reminder.objects.create(tenant_id=invoice.tenant_id, invoice=invoice, step=step, at=at)
    amount = in_words(amount=owed(invoice=invoice), currency=invoice.currency)
    said = "allowed no growth because of" if step == RESTRICTION else "reminded of"
    record(
        by=DUNNING, action=f"invoice.{'restricted' if step == RESTRICTION else 'reminded'}", tenant_id=invoice.tenant_id,
        target_id=str(invoice.id), target_label=invoice.number, data={"step": step},
        sentence=f"{said} invoice {invoice.number}: {amount} are owed, due on {invoice.due_on}",
    )  # fmt: skip
    return True


def mail_reminders() -> int:
    """Send the mails of steps that were taken, and return of how many. May run in several workers at once.

    Of several steps of one invoice whose mails did not go out, only the newest is sent; of an invoice that is paid by then, none. What
    could not be sent is tried again the next time.
    """
    return sum(_mail(reminder_id=reminder_id) for reminder_id in _unsent().values_list("id", flat=True))


def _unsent() -> QuerySet[Reminder]:
    newer = (
        Reminder.objects.filter(invoice_id__in=_waiting().values("invoice_id")).order_by("invoice_id", "-at", "-id").distinct("invoice_id")
    )
    return Reminder.objects.filter(id__in=newer.values("id"), mailed_at=None).order_by("at", "id")


def _waiting() -> QuerySet[Reminder]:
    return Reminder.objects.filter(mailed_at=None, invoice__state=Invoice.State.OPEN)


def _mail(*, reminder_id: int) -> bool:
    try:
        with transaction.atomic():
            # Whoever sets it sends the mail; a mail that fails takes it back, a crash leaves it to the next run.
            # A plain condition on the row itself: one on its invoice would make it a subquery, which PostgreSQL does not look at again
            # after it has waited for another worker.
            if Reminder.objects.filter(id=reminder_id, mailed_at=None).update(mailed_at=now()) != 1:
                return False
            reminder = Reminder.objects.select_related("invoice__issuer", "tenant").defer("invoice__pdf").get(id=reminder_id)
            if reminder.invoice.state != Invoice.State.OPEN:  # paid since it was found
                transaction.set_rollback(True)
                return False
            _send(reminder)
    except OSError as error:  # smtplib's errors are OSErrors too
        log.warning("reminder_not_sent", reminder=reminder_id, error=type(error).__name__)
        return False
    return True


def _send(reminder: Reminder) -> None:
    """Send each recipient a mail of their own; raises the last error if none of them could be sent, and with nobody to send it to."""
    recipients = recipients_of(account_of(tenant=reminder.tenant))
    if not send_to_each(recipients=recipients, template="billing/email/reminder", context=_context(reminder)):
        raise OSError("nobody to send it to")


def _context(reminder: Reminder) -> dict[str, object]:
    invoice = reminder.invoice
    restriction = dict(steps())[RESTRICTION]
    return {
        "invoice": invoice,
        "tenant": reminder.tenant,
        "owed": in_words(amount=owed(invoice=invoice), currency=invoice.currency),
        "restricted": reminder.step == RESTRICTION,
        "restricted_on": invoice.due_on + timedelta(days=restriction),
        "payment_text": invoice.issuer.payment_text.strip(),
        "page": invoice_page(tenant_slug=reminder.tenant.slug, number=invoice.number),
    }
