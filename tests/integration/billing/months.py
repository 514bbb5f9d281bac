"""Months of use for tests of invoices: rows as the meter writes them, without living through the month."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from apps.bays.models import Bay
from apps.billing.models import Account, Interval, MeteredHost, Plan, Subscription
from apps.common.clock import now
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import Tenant
from tests.factories import make_bay

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


def make_account(tenant: Tenant, *, billed_until: datetime = MARCH, zone: str = "UTC", **more: Any) -> Account:
    """Return the tenant's new account, whose next period begins at `billed_until`."""
    more.setdefault("currency", "USD")
    return Account.objects.create(tenant=tenant, billed_until=billed_until, time_zone=zone, created_at=now(), **more)


def make_plan(tenant: Tenant, *, starts_at: datetime = MARCH, kind: str = Plan.Kind.PAY_AS_YOU_GO, **terms: Any) -> Plan:
    """Return a new plan the tenant has from then on; amounts in dollars."""
    title = str(terms.pop("title", "Special"))
    plan = Plan.objects.create(code=uuid4().hex, title=title, kind=kind, currency="USD", created_at=now(), **terms)
    Subscription.objects.create(tenant=tenant, plan=plan, starts_at=starts_at, created_by="tests", created_at=now())
    return plan


def a_bay(tenant: Tenant, name: str = "web") -> Bay:
    """Return the tenant's bay of that name, made when it is first asked for."""
    return Bay.objects.filter(tenant=tenant, name=name).first() or make_bay(tenant, name, active=False)


def use(
    tenant: Tenant, start: datetime, end: datetime | None, *, hosts: int = 1, bay: str = "web", flavor: str = "c1.small", cloud: str = ""
) -> list[Interval]:
    """Write down that new hosts were active from `start` until `end`."""
    where = Cloud.objects.get(name=cloud) if cloud else Cloud.objects.get(is_default=True)
    rows = []
    for _ in range(hosts):
        host = MeteredHost.objects.create(
            tenant=tenant, host=uuid4(), bay=a_bay(tenant, bay), cloud=where, flavor=Flavor.objects.get(name=flavor)
        )
        rows.append(Interval.objects.create(tenant=tenant, host=host, started_at=start, ended_at=end, ended_by="deleted" if end else ""))
    return rows
