"""The parts of `bench.billing`, each run in a process of its own on the bench's database; figures are printed last, as JSON."""

import argparse
import cProfile
import json
import os
import pstats
import resource
import statistics
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import django

django.setup()

from django.conf import settings  # noqa: E402 - models only after setup
from django.db import connection  # noqa: E402
from django.test import Client, override_settings  # noqa: E402

from apps.bays.models import Bay, Condition  # noqa: E402
from apps.billing.invoices.closing import run_month  # noqa: E402
from apps.billing.models import Account, DailyUsage, Interval, Price  # noqa: E402
from apps.billing.periods import Period, midnight, month_at  # noqa: E402
from apps.billing.prices.book import price_book  # noqa: E402
from apps.billing.terms.accounts import account_of  # noqa: E402
from apps.billing.usage.measured import used_by  # noqa: E402
from apps.billing.usage.rollups import roll_due  # noqa: E402
from apps.billing.usage.spend import usage_of  # noqa: E402
from apps.common.scope import begin_system, end  # noqa: E402
from apps.hosts.models import Cloud, Flavor  # noqa: E402
from apps.tenants.models import Tenant  # noqa: E402
from bench.billing_database import LARGE_TENANT, MOMENT, first_of  # noqa: E402
from tests.factories import make_bay, make_cloud, make_flavor, make_price, make_tenant, owner_of  # noqa: E402

Figures = dict[str, Any]
RAW_REQUESTS = 20
WARM_UP = 5
SUMS_AND_INTERVALS = """
SELECT count(*) AS compared, count(*) FILTER (WHERE summed IS DISTINCT FROM lived) AS differing FROM (
    SELECT a.tenant_id,
        (SELECT SUM(seconds) FROM billing_dailyusage d WHERE d.tenant_id = a.tenant_id) AS summed,
        (SELECT SUM(EXTRACT(EPOCH FROM LEAST(i.ended_at, a.rolled_until) - i.started_at))::bigint FROM billing_interval i
            WHERE i.tenant_id = a.tenant_id AND i.started_at < a.rolled_until) AS lived
    FROM billing_account a
) AS pair
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["prepare", "rewind", "invoices", "sums", "page"])
    parser.add_argument("--months", type=int, default=1)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    begin_system("bench")
    with patch("django.utils.timezone.now", lambda: MOMENT):
        match options.part:
            case "prepare":
                figures = prepare(months=options.months)
            case "rewind":
                figures = rewind(months=options.months)
            case "invoices":
                figures = invoices(profile=options.profile)
            case "sums":
                figures = sums()
            case _:
                figures = page(requests=options.requests)
    print(json.dumps(figures, default=str))


def prepare(*, months: int) -> Figures:
    """Make clouds, flavors with prices of all kinds, and one tenant with account and bay, of which the database makes the others."""
    clouds: list[Cloud] = [make_cloud("north"), make_cloud("south")]
    flavors: list[Flavor] = [make_flavor(f"c1.size{number}", price=f"0.0{number}1") for number in range(1, 5)]
    for number, flavor in enumerate(flavors, start=1):
        make_price(flavor, f"0.0{number}", currency="EUR", tiers=[{"from_hours": 500, "per_hour": f"0.00{number}"}])
        make_price(flavor, f"0.0{number}2", starts_at=first_of(months=1) + timedelta(days=9 + number, hours=7))
    make_price(flavors[0], "0.0089", cloud=clouds[1], tiers=[{"from_hours": 1000, "per_hour": "0.007"}])
    tenant = make_tenant(LARGE_TENANT)
    Tenant.objects.filter(id=tenant.id).update(created_at=first_of(months=months))
    bay = make_bay(tenant, "first", active=False, flavor=flavors[0].name)
    Bay.objects.filter(id=bay.id).update(condition=Condition.ACTIVE)
    account_of(tenant=tenant)
    Account.objects.filter(tenant=tenant).update(billed_until=first_of(months=1), created_at=first_of(months=months))
    return {"prices": Price.objects.count()}


def rewind(*, months: int) -> Figures:
    """Let so many months of every tenant be due."""
    for zone in Account.objects.values_list("time_zone", flat=True).distinct():
        since = midnight(day=first_of(months=months).date(), zone=zone)
        Account.objects.filter(time_zone=zone).update(billed_until=since, late_from=None)
    return {}


def invoices(*, profile: bool) -> Figures:
    """Close all months that are due."""
    before = peak_bytes()
    profiler = cProfile.Profile() if profile else None
    if profiler:
        profiler.enable()
    started, busy, database = time.monotonic(), time.process_time(), database_seconds()
    run = run_month(at=MOMENT)
    ended, busy, database = time.monotonic(), time.process_time() - busy, database_seconds() - database
    peak = peak_bytes()
    if profiler:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
        pstats.Stats(profiler).sort_stats("cumtime").print_stats("apps|psycopg/cursor", 45)
    return {
        "issued": run.issued, "empty": run.empty, "failed": len(run.failed), "reasons": run.failed[:3], "started": started, "ended": ended,
        "busy": busy, "database_busy": database, "peak_bytes": peak, "grown_bytes": peak - before,
    }  # fmt: skip


def sums() -> Figures:
    """Sum all days of all tenants and compare the sums with the intervals: of all altogether, of the large one row by row."""
    started, busy, database = time.monotonic(), time.process_time(), database_seconds()
    rolled = roll_due(at=MOMENT)
    seconds, busy, database = time.monotonic() - started, time.process_time() - busy, database_seconds() - database
    with connection.cursor() as cursor:
        cursor.execute(SUMS_AND_INTERVALS)
        compared, differing = cursor.fetchone()
    account = Account.objects.get(tenant__slug=LARGE_TENANT)
    differing += sum(not _same(account, month) for month in _months(account))
    return {
        "accounts": rolled.accounts, "days": rolled.days, "failed": len(rolled.failed), "seconds": seconds, "busy": busy,
        "database_busy": database,
        "rows": DailyUsage.objects.count(), "compared": compared, "differing": differing,
    }  # fmt: skip


def page(*, requests: int) -> Figures:
    """Ask for the usage page of the large tenant, with sums and without."""
    tenant = Tenant.objects.get(slug=LARGE_TENANT)
    client = client_of(tenant)
    summed = ask(client, tenant, requests)
    Account.objects.filter(tenant=tenant).update(rolled_until=None)
    raw = ask(client, tenant, min(requests, RAW_REQUESTS))
    return {"intervals": Interval.objects.filter(tenant=tenant).count(), "summed": summed, "raw": raw}


def _months(account: Account) -> list[Period]:
    """The months with usage, the present one included."""
    first = Interval.objects.filter(tenant_id=account.tenant_id).order_by("started_at").values_list("started_at", flat=True)[0]
    found, day = [], month_at(at=first, zone=account.time_zone)
    while day.start < MOMENT:
        found.append(day)
        day = month_at(at=day.end, zone=account.time_zone)
    return found


def _same(account: Account, period: Period) -> bool:
    book = price_book(currency=account.currency)
    summed = usage_of(account=account, period=period, as_of=MOMENT, book=book)
    return summed == used_by(tenant_id=account.tenant_id, period=period, as_of=MOMENT, book=book)


def client_of(tenant: Tenant) -> Client:
    """Return a browser in which the tenant's owner is signed in."""
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(owner_of(tenant))
    return client


def ask(client: Client, tenant: Tenant, requests: int) -> Figures:
    """Return how long the usage page takes, in milliseconds, through the whole portal but for its server."""
    plain = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    middleware = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    times: list[float] = []
    with override_settings(STORAGES=plain, MIDDLEWARE=middleware):
        for number in range(WARM_UP + requests):
            if number == WARM_UP:
                times, busy, database = [], time.process_time(), database_seconds()
            end()  # requests begin with no scope of ours
            started = time.monotonic()
            answer = client.get(f"/t/{tenant.slug}/billing/")
            times.append((time.monotonic() - started) * 1000)
            begin_system("bench")
            if answer.status_code != 200:  # noqa: PLR2004 - OK
                raise SystemExit(f"The usage page answers {answer.status_code}.")
        busy, database = time.process_time() - busy, database_seconds() - database
    return {
        "requests": requests, "p50": statistics.median(times), "p95": sorted(times)[int(requests * 0.95)], "bytes": len(answer.content),
        "busy": busy / requests * 1000, "database_busy": database / requests * 1000,
    }  # fmt: skip


def database_seconds() -> float:
    """Return how long the server's process for our connection has computed so far, in seconds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (process,) = cursor.fetchone()
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def peak_bytes() -> int:
    """Return the most memory this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
