"""What billing does by itself: each task is safe to run twice, by several workers at once, and after having been missed."""

from typing import Any
from uuid import UUID

from celery import shared_task

from apps.billing.budgets import watching
from apps.billing.credit import expiry
from apps.billing.invoices import closing, mailing
from apps.billing.payments import stripe_events
from apps.billing.receivables import dunning
from apps.billing.usage import rollups
from apps.common.clock import now


@shared_task(name="billing.roll_up")
def roll_up(**_: Any) -> None:
    """Sum the usage of days that are over; there is nothing to do but once a day, and after late usage."""
    rollups.roll_due(at=now())


@shared_task(name="billing.watch_budgets")
def watch_budgets(**_: Any) -> None:
    """Have every tenant with a budget or prepaid credit looked at, a handful by each task so that none waits behind all others."""
    watched = [str(tenant_id) for tenant_id in watching.watched_tenants(at=now())]
    for first in range(0, len(watched), watching.TOGETHER):
        watch_some.apply_async(kwargs={"tenant_ids": watched[first : first + watching.TOGETHER]}, expires=watching.EVERY)


@shared_task(name="billing.watch_some")
def watch_some(*, tenant_ids: list[str], **_: Any) -> None:
    """Look at some tenants."""
    for tenant_id in tenant_ids:
        watching.watch_safely(tenant_id=UUID(tenant_id), at=now())


@shared_task(name="billing.watch_one")
def watch_one(*, tenant_id: str, **_: Any) -> None:
    """Look at one tenant, whose budget or credit has just changed."""
    watching.watch_safely(tenant_id=UUID(tenant_id), at=now())


@shared_task(name="billing.run_month")
def run_month(**_: Any) -> None:
    """Close every month that is over and write its invoices."""
    closing.run_month(at=now())


@shared_task(name="billing.dun")
def dun(**_: Any) -> None:
    """Take the steps of dunning that are due, and send their mails."""
    dunning.run_dunning(at=now())
    dunning.mail_reminders()


@shared_task(name="billing.mail_reminders")
def mail_reminders(**_: Any) -> None:
    """Send mails of dunning that could not be sent before."""
    dunning.mail_reminders()


@shared_task(name="billing.warn_of_credit")
def warn_of_credit(**_: Any) -> None:
    """Tell organisations of credit that ends soon."""
    expiry.warn_of_expiring(at=now())


@shared_task(name="billing.handle_stripe_events")
def handle_stripe_events(**_: Any) -> None:
    """Handle events of Stripe again that could not be handled when they came."""
    stripe_events.handle_waiting(at=now())


@shared_task(name="billing.render_and_mail")
def render_and_mail(**_: Any) -> None:
    """Render and mail invoices that were issued and not mailed yet."""
    mailing.render_and_mail()
