"""Accounts: how a tenant is billed, and on which terms."""

from datetime import datetime

from django.conf import settings

from apps.billing.models import Account, Issuer, Plan, Subscription
from apps.billing.periods import month_at
from apps.common.clock import now
from apps.tenants.models import Tenant


def account_of(*, tenant: Tenant) -> Account:
    """Return the tenant's account, made with the portal's defaults when it is first asked for: its first month begins with the tenant."""
    found = Account.objects.filter(tenant=tenant).first()
    if found is not None:
        return found
    zone = settings.BILLING_TIME_ZONE
    account, _ = Account.objects.get_or_create(
        tenant=tenant,
        defaults={
            "currency": settings.CURRENCY,
            "time_zone": zone,
            "created_at": now(),
            "billed_until": month_at(at=tenant.created_at, zone=zone).start,
        },
    )
    return account


def default_plan() -> Plan:
    """Return the plan of everybody who has no other."""
    found = Plan.objects.filter(is_default=True).first()
    if found is not None:
        return found
    terms = {"title": "Pay as you go", "kind": Plan.Kind.PAY_AS_YOU_GO, "is_default": True, "created_at": now()}
    return Plan.objects.get_or_create(code="payg", defaults=terms)[0]


def default_issuer() -> Issuer:
    """Return who writes the invoices."""
    found = Issuer.objects.filter(is_default=True).first()
    return found or Issuer.objects.get_or_create(code="main", defaults={"legal_name": "Carina", "is_default": True})[0]


def plan_at(*, tenant: Tenant, at: datetime) -> Plan:
    """Return the terms in force at the moment."""
    newest = Subscription.objects.filter(tenant=tenant, starts_at__lte=at).select_related("plan").order_by("-starts_at").first()
    return newest.plan if newest is not None else default_plan()
