"""What being overdue leads to: the steps of dunning an invoice has reached, and the hold on growth that stands while one is restricted."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from apps.billing.models import Account, Invoice, Reminder
from apps.billing.periods import local_day
from apps.billing.receivables.owed import owed, with_credited
from apps.billing.terms.accounts import account_of
from apps.common.money import in_words
from apps.tenants.holds import set_holds
from apps.tenants.models import Tenant

FAMILY = "payment_overdue"
"""The code of the hold."""
RESTRICTION = "restriction"
"""The last step; those before it are `reminder-1`, `reminder-2` …"""
NAMED = 5
"""Invoices that the sentence of a hold names; it counts the others."""


def steps() -> list[tuple[str, int]]:
    """Return the steps in their order, each with how many days after the due day it is taken."""
    *reminders, last = settings.DUNNING_DAYS
    return [*((f"reminder-{number}", days) for number, days in enumerate(reminders, start=1)), (RESTRICTION, last)]


def step_reached(*, invoice: Invoice, account: Account, at: datetime) -> str:
    """Return the last step whose day has begun where the account is; empty while there is none."""
    today = local_day(at=at, zone=account.time_zone)
    reached = [name for name, days in steps() if today >= invoice.due_on + timedelta(days=days)]
    return reached[-1] if reached else ""


def unpaid_invoices(*, tenant_id: UUID) -> list[Invoice]:
    """Return the invoices of a tenant on which something is owed, the oldest debt first."""
    rows = Invoice.objects.filter(tenant_id=tenant_id, kind=Invoice.Kind.INVOICE, state=Invoice.State.OPEN).defer("pdf")
    rows = with_credited(invoices=rows).select_related("issuer").order_by("due_on", "issued_at", "id")
    return [row for row in rows if owed(invoice=row) > 0]


@transaction.atomic
def refresh_hold(*, tenant_id: UUID) -> bool:
    """Let the hold say what is true now: it stands while something is owed on an invoice that was restricted. Return whether it stands.

    Call it in the transaction of whatever changes what is owed: payments, refunds, credit notes. The account's row is locked, so that of
    a payment and a run of dunning at the same moment the later one sees what the earlier one did.
    """
    tenant = Tenant.objects.get(id=tenant_id)
    account_of(tenant=tenant)
    Account.objects.select_for_update(no_key=True).get(tenant_id=tenant_id)
    restricted = set(Reminder.objects.filter(tenant_id=tenant_id, step=RESTRICTION).values_list("invoice_id", flat=True))
    unpaid = [invoice for invoice in unpaid_invoices(tenant_id=tenant_id) if invoice.id in restricted] if restricted else []
    set_holds(tenant_id=tenant_id, family=FAMILY, sentences={FAMILY: _sentence(unpaid, tenant)} if unpaid else {})
    return bool(unpaid)


def invoice_page(*, tenant_slug: str, number: str) -> str:
    """Return the full address of an invoice's page."""
    return settings.BASE_URL + reverse("billing:invoice", args=[tenant_slug, number])


def _sentence(invoices: list[Invoice], tenant: Tenant) -> str:
    named = [f"{row.number} ({in_words(amount=owed(invoice=row), currency=row.currency)})" for row in invoices[:NAMED]]
    if len(invoices) > NAMED:
        named.append(f"{len(invoices) - NAMED} more")
    listed = f"{', '.join(named[:-1])} and {named[-1]}" if len(named) > 1 else named[0]
    what = f"Invoice {listed} is" if len(invoices) == 1 else f"Invoices {listed} are"
    page = settings.BASE_URL + reverse("billing:invoices", args=[tenant.slug])
    return (
        f"{what} overdue: no new bays and no further hosts until {'it is' if len(invoices) == 1 else 'they are'} paid, at {page}. "
        "What runs goes on, and nothing is deleted."
    )
