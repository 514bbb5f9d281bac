"""Accounts as operators read them: what was spent and what is owed, in one row; and what is left of each grant of credit."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from apps.billing.models import Account, CreditGrant, Plan
from apps.billing.periods import local_day
from apps.billing.receivables.overdue import unpaid_invoices
from apps.billing.receivables.owed import owed
from apps.billing.terms.accounts import account_of, plan_at
from apps.billing.usage.spend import Spend, month_so_far
from apps.common.errors import CarinaError
from apps.common.money import rounded
from apps.tenants.models import Tenant


@dataclass(frozen=True, kw_only=True)
class AccountRow:
    """An organisation with what it spent this month, and what it owes by currency. `spend` is None where it cannot be said."""

    tenant: Tenant
    currency: str
    plan: Plan
    spend: Spend | None
    owed: tuple[tuple[Decimal, str], ...]
    overdue: bool


@dataclass(frozen=True, kw_only=True)
class GrantRow:
    """A grant with what invoices have left of it."""

    grant: CreditGrant
    left: Decimal
    expires_on: date | None
    expired: bool


def row_of(*, tenant: Tenant, at: datetime) -> AccountRow:
    """Return the row of an organisation; one that has no account yet has spent nothing and is shown with the portal's defaults."""
    account: Account | None = getattr(tenant, "billing", None)
    if account is None and tenant.metered_hosts.exists():
        account = account_of(tenant=tenant)
    sums: dict[str, Decimal] = {}
    unpaid = unpaid_invoices(tenant_id=tenant.id) if account is not None else []
    for invoice in unpaid:
        sums[invoice.currency] = sums.get(invoice.currency, Decimal(0)) + owed(invoice=invoice)
    return AccountRow(
        tenant=tenant,
        currency=account.currency if account is not None else settings.CURRENCY,
        plan=plan_at(tenant=tenant, at=at),
        spend=spend_so_far(account=account, at=at) if account is not None else None,
        owed=tuple((amount, currency) for currency, amount in sums.items()),
        overdue=any(invoice.due_on < at.date() for invoice in unpaid),
    )


def spend_so_far(*, account: Account, at: datetime) -> Spend | None:
    """Return this month's spend; None where it cannot be computed, which the page of months says more about."""
    try:
        with transaction.atomic():
            return month_so_far(account=account, at=at)
    except (CarinaError, KeyError, ValueError, OSError):  # a plan in another currency, a time zone that does not exist
        return None


def grants_left(*, tenant: Tenant, zone: str, at: datetime) -> list[GrantRow]:
    """Return an organisation's grants, newest first, with the days of its calendar."""
    rows = tenant.credit_grants.annotate(used=Sum("uses__amount")).order_by("-granted_at", "-id")
    return [
        GrantRow(
            grant=grant,
            left=rounded(amount=grant.amount - (grant.used or Decimal(0)), currency=grant.currency),
            expires_on=local_day(at=grant.expires_at, zone=zone) if grant.expires_at is not None else None,
            expired=grant.expires_at is not None and grant.expires_at <= at,
        )
        for grant in rows
    ]
