"""One row of each of billing's tables with a tenant, made by hand."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from apps.bays.models import Bay
from apps.billing.models import (
    BilledPeriod,
    Budget,
    BudgetCrossing,
    CreditGrant,
    CreditNotice,
    CreditUse,
    DailyUsage,
    Invoice,
    InvoiceLine,
    Payment,
    Reminder,
    Subscription,
)  # fmt: skip
from apps.billing.periods import month_at
from apps.billing.terms.accounts import account_of, default_issuer, default_plan
from apps.common.clock import now

ONE = Decimal(1)


def one_of_each(*, bay: Bay) -> None:
    """Make the rows for the bay's tenant, which needs none of them; what is metered of its hosts is there already."""
    tenant, moment = bay.tenant, now()
    account = account_of(tenant=tenant)
    month = month_at(at=moment, zone=account.time_zone)
    by = {"created_by": "tests", "created_at": moment}
    Subscription.objects.create(tenant=tenant, plan=default_plan(), starts_at=month.start, **by)
    DailyUsage.objects.create(tenant=tenant, day=month.start.date(), bay=bay, cloud=bay.cloud, flavor=bay.flavor, seconds=1)
    budget = Budget.objects.create(tenant=tenant, name="all", amount=ONE, updated_at=moment, **by)
    BudgetCrossing.objects.create(
        tenant=tenant, budget=budget, period_start=month.start, percent=80, action="mail", spent=ONE, at=moment
    )  # fmt: skip
    invoice = Invoice.objects.create(
        tenant=tenant, issuer=default_issuer(), number=str(uuid4()), period_start=month.start, period_end=month.end, time_zone="UTC",
        currency="USD", seller={}, customer={}, net=ONE, tax=0, gross=ONE, issued_at=moment, due_on=month.end.date(),
    )  # fmt: skip
    BilledPeriod.objects.create(
        tenant=tenant, start=month.start, end=month.end, time_zone="UTC", currency="USD", plan=default_plan(), invoice=invoice,
        closed_at=moment,
    )  # fmt: skip
    InvoiceLine.objects.create(tenant=tenant, invoice=invoice, position=1, kind=InvoiceLine.Kind.USAGE, text="hosts", amount=ONE)
    Payment.objects.create(
        tenant=tenant, invoice=invoice, provider="manual", reference=str(uuid4()), amount=ONE, currency="USD", received_at=moment, **by
    )
    Reminder.objects.create(tenant=tenant, invoice=invoice, step="first", at=moment)
    grant = CreditGrant.objects.create(
        tenant=tenant, kind=CreditGrant.Kind.PROMOTIONAL, amount=ONE, currency="USD", reason="welcome", granted_at=moment,
        expires_at=moment + timedelta(days=90), created_by="tests",
    )  # fmt: skip
    CreditNotice.objects.create(tenant=tenant, grant=grant, left=ONE, at=moment)
    CreditUse.objects.create(tenant=tenant, grant=grant, invoice=invoice, amount=ONE, at=moment)
