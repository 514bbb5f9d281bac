"""kill -9 of the monthly run at any moment, two schedulers at once: no invoice is missing, none is double, no number has a gap."""

import multiprocessing
import random
import secrets
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.context import ForkProcess
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.models import Count, Sum

from apps.audit.models import AuditEvent
from apps.audit.services import Actor
from apps.billing.credit.grants import grant_credit
from apps.billing.models import Account, BilledPeriod, CreditUse, Interval, Invoice, InvoiceLine, InvoiceSeries, MeteredHost
from apps.billing.periods import Period, period_from
from apps.common.clock import now
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import Tenant
from tests.factories import make_bay, make_cloud, make_flavor, make_tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
TENANTS, KILLS, SCHEDULERS = 60, 50, 2
FIRST, AT = datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, 2, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo"]
"""Where the clock stands at `AT`, it is not July for everybody."""
GRANTED = Decimal("20.00")
MOST_MONTHS, A_BIT = 100, 0.1
"""Between two kills: months closed, and seconds on top."""


def furnish() -> None:
    """Tenants with a host that has run for ever, at a cent an hour; every third has some credit."""
    make_cloud(free=1000)
    make_flavor(price="0.010")
    cloud, flavor = Cloud.objects.get(), Flavor.objects.get()
    for number in range(TENANTS):
        tenant = make_tenant()
        Account.objects.create(tenant=tenant, currency="USD", time_zone=ZONES[number % len(ZONES)], created_at=now(), billed_until=FIRST)
        host = MeteredHost.objects.create(tenant=tenant, host=uuid4(), bay=make_bay(tenant, active=False), cloud=cloud, flavor=flavor)
        Interval.objects.create(tenant=tenant, host=host, started_at=FIRST - timedelta(days=9))
        if number % 3 == 0:
            grant_credit(by=Actor.system("tests"), tenant=tenant, kind="prepaid", amount=GRANTED, currency="USD", reason="Advance")
    Account.objects.update(late_from=None)


def months_of(zone: str) -> list[Period]:
    """The periods that are over for a tenant there."""
    found = [period_from(start=FIRST, zone=zone)]
    while (following := period_from(start=found[-1].end, zone=zone)).end + timedelta(hours=1) <= AT:
        found.append(following)
    return found


def issue_invoices() -> None:
    """What a scheduler runs."""
    with patch("django.utils.timezone.now", lambda: AT):
        call_command("issue_invoices")


def start() -> ForkProcess:
    """Start a run in a process of its own: forked, since a fresh one would take longer to import Django than to do the work."""
    connections.close_all()  # a child must not inherit a connection its parent goes on using
    process = multiprocessing.get_context("fork").Process(target=issue_invoices)
    process.start()
    return process


def killed_runs(dice: random.Random, *, due: int) -> Counter[str]:
    """Keep two schedulers running and kill one after the other at random moments; return whether the kills fell into the work.

    A moment is some months after the last kill (how long a start takes depends on the machine) and a bit: anywhere in a transaction.
    """
    hits: Counter[str] = Counter()
    running = [start() for _ in range(SCHEDULERS)]
    for _ in range(KILLS):
        wanted = BilledPeriod.objects.count() + dice.randint(0, MOST_MONTHS)
        while BilledPeriod.objects.count() < wanted and any(process.is_alive() for process in running):
            time.sleep(0.01)
        time.sleep(dice.uniform(0, A_BIT))
        process = running.pop(dice.randrange(len(running)))
        process.kill()
        process.join()
        hits["at work" if process.exitcode == -9 and BilledPeriod.objects.count() < due else "too late"] += 1
        running.append(start())
    for process in running:
        process.kill()
        process.join()
    return hits


def check(tenant_id: UUID, months: list[Period]) -> None:
    """Every month has its invoice, over what its hours cost."""
    rows = Invoice.objects.filter(tenant_id=tenant_id).order_by("period_start")
    expected = [(month.start, month.end, Decimal(month.seconds // 3600) / 100) for month in months]
    assert list(rows.values_list("period_start", "period_end", "gross")) == expected
    assert Account.objects.get(tenant_id=tenant_id).billed_until == months[-1].end


def test_fifty_kills_of_two_schedulers_lose_double_and_skip_nothing() -> None:
    seed = secrets.randbelow(1_000_000)
    furnish()
    zones = dict(Account.objects.values_list("tenant_id", "time_zone"))
    due = sum(len(months_of(zone)) for zone in zones.values())
    began = time.monotonic()
    hits = killed_runs(random.Random(seed), due=due)
    before_the_end = Invoice.objects.count()
    last = [start(), start()]
    for process in last:
        process.join(timeout=240)
    print(f"seed {seed}: {hits}, {before_the_end} of {due} invoices by runs that were killed, {time.monotonic() - began:.1f} s")
    assert [process.exitcode for process in last] == [0, 0]
    assert hits["at work"] >= KILLS * 4 // 5, "the kills must fall into the work for this test to mean anything"
    assert 0 < before_the_end < due

    for tenant_id, zone in zones.items():
        check(tenant_id, months_of(zone))
    assert Invoice.objects.count() == BilledPeriod.objects.count() == AuditEvent.objects.filter(action="invoice.issued").count() == due
    assert sorted(Invoice.objects.values_list("number", flat=True)) == [f"2026-{number:06}" for number in range(1, due + 1)]
    assert InvoiceSeries.objects.get().last_number == due
    assert InvoiceLine.objects.count() == due
    assert InvoiceLine.objects.aggregate(total=Sum("amount")) == Invoice.objects.aggregate(total=Sum("net"))
    grants = CreditUse.objects.values("grant").annotate(total=Sum("amount"), uses=Count("id")).values_list("total", flat=True)
    assert list(grants) == [GRANTED] * (TENANTS // 3)
    assert Invoice.objects.aggregate(total=Sum("paid"))["total"] == GRANTED * (TENANTS // 3)
    assert Tenant.objects.count() == TENANTS
