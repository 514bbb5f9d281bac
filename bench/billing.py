"""How long do a month's invoices take, and a usage page, with millions of intervals? And how much memory?

usage: python -m bench.billing [--hosts 100000] [--intervals 5000000] [--tenants 10000] [--months 4] [--parts …] [--profile]

A PostgreSQL of its own (var/bench-billing) with production's durability gets a fresh database, which is dropped at the end. It is filled by
the database itself; every part is then measured in a process of its own, through the code the portal runs and as the portal's role, under
row-level security:

  invoices    closes the last month of all tenants: wall time, invoices a second, peak memory
  together    the same by two runs at once, which share the work
  all-months  closes all months there are, so that every interval is rated
  memory      closes the last month with a tenth of the intervals as well: memory must not grow with them
  page        sums all days, compares the sums with the intervals, and asks for the usage page of a tenant with a fifth of all intervals
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.billing_database import NAME, Size, fill, fresh_database, without_database
from carina_portal.embedded.layout import ROOT
from carina_portal.embedded.portal import full_environment
from carina_portal.embedded.stack import Stack
from carina_portal.embedded.terminal import Terminal

PARTS = ("invoices", "together", "all-months", "memory", "page")
MIB = 1024 * 1024
COMPUTING = "{busy:.1f} s in Python, {database_busy:.1f} s in the database"
"""What was computed, whoever else had the machine meanwhile."""
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--intervals", type=int, default=5_000_000)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--months", type=int, default=4, help="months the intervals are spread over, up to the one that is invoiced")
    parser.add_argument("--requests", type=int, default=200, help="for the usage page")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, separated by commas")
    parser.add_argument(
        "--profile", action="store_true", help="show what the runs of invoices spend their time on; they are slower with it"
    )
    parser.add_argument("--var", type=Path, default=ROOT / "var" / "bench-billing", help="where the database lies meanwhile")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"There is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    stack = Stack(var=options.var, port=8791, incus=False, terminal=Terminal())
    try:
        stack.start_databases()
        bench = Bench(stack=stack, profile=options.profile)
        size = Size(tenants=options.tenants, hosts=options.hosts, intervals=options.intervals, months=options.months)
        table = bench.measure(size=size, parts=parts, requests=options.requests)
    finally:
        stack.stop()
    width = max(len(label) for label, _ in table)
    print(f"\n{size}")
    for label, figure in table:
        print(f"  {label:<{width}}  {figure}")


class Bench:
    """Runs parts on databases of the stack."""

    def __init__(self, *, stack: Stack, profile: bool) -> None:
        owner, portal = stack.developers_env["DATABASE_OWNER_URL"], stack.env["DATABASE_URL"]
        self._server = owner
        self._owner, self._portal = (url.replace("/carina?", f"/{NAME}?") for url in (owner, portal))
        self._env = {**full_environment(stack.env), "DATABASE_URL": self._portal, "CARINA_LOG_LEVEL": "WARNING"}
        self._profile = profile

    def measure(self, *, size: Size, parts: list[str], requests: int) -> list[tuple[str, str]]:
        """Return lines of the table."""
        table: list[tuple[str, str]] = []
        with self._filled(size) as (connection, seconds):
            table.append(("filling the database", seconds))
            if {"invoices", "memory"} & set(parts):
                invoices = self._close(connection, months=1)
                table += _rows_of_invoices("last month", invoices)
                table.append(("last month: intervals", f"{_intervals_of(connection, size):,}"))
            if "together" in parts:
                table += _rows_of_invoices("last month, two runs at once", self._close(connection, months=1, runs=2))
            if "all-months" in parts:
                table += _rows_of_invoices(f"all {size.months} months", self._close(connection, months=size.months))
            if "page" in parts:
                table += _rows_of_sums(self._part("sums"))
                connection.execute("VACUUM ANALYZE billing_dailyusage")  # which the server does by itself a while later
                table += _rows_of_page(self._part("page", "--requests", str(requests)))
        if "memory" in parts:
            with self._filled(size.with_a_tenth_of_the_intervals()) as (connection, _):
                fewer = self._close(connection, months=1)
            table += _rows_of_invoices("last month, a tenth of the intervals", fewer)
            table.append(("memory with ten times the intervals", f"× {invoices['peak_bytes'] / fewer['peak_bytes']:.3f}"))
        return table

    def _close(self, connection: psycopg.Connection, *, months: int, runs: int = 1) -> Figures:
        """Close so many months of all tenants, which have no invoices before, by so many runs at once."""
        connection.execute("TRUNCATE billing_invoice, billing_invoiceline, billing_billedperiod, billing_invoiceseries CASCADE")
        self._part("rewind", "--months", str(months))
        with ThreadPoolExecutor(runs) as pool:
            done = list(pool.map(lambda _: self._part("invoices"), range(runs)))
        row = connection.execute("SELECT count(*), (SELECT sum(net) FROM billing_invoice) FROM billing_invoiceline").fetchone()
        sums: Figures = {name: sum(each[name] for each in done) for name in ("issued", "failed", "busy", "database_busy")}
        worst: Figures = {name: max(each[name] for each in done) for name in ("peak_bytes", "grown_bytes")}
        seconds = max(each["ended"] for each in done) - min(each["started"] for each in done)
        return {**sums, **worst, "seconds": seconds, "lines": row[0] if row else 0, "net": row[1] if row else 0}

    @contextmanager
    def _filled(self, size: Size) -> Iterator[tuple[psycopg.Connection, str]]:
        """Have a database of the size for a while, with a connection of its owner."""
        started = time.monotonic()
        fresh_database(server=self._server)
        try:
            self._run([sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"], DATABASE_URL=self._owner)
            self._part("prepare", "--months", str(size.months))
            with psycopg.connect(self._owner, autocommit=True) as connection:
                fill(connection=connection, size=size)
                seconds = f"{time.monotonic() - started:.0f} s"
                print(f"  filled in {seconds}: {size}", flush=True)
                yield connection, seconds
        finally:
            without_database(server=self._server)

    def _part(self, name: str, *arguments: str) -> Figures:
        """Run a part in a process of its own and return its figures, which it prints last."""
        options = ["--profile"] if self._profile and name == "invoices" else []
        *words, figures = self._run([sys.executable, "-m", "bench.billing_parts", name, *arguments, *options]).strip().splitlines()
        for line in words:
            print(line)
        print(f"  {name}: {figures}", flush=True)
        return dict(json.loads(figures))

    def _run(self, argv: list[str], **env: str) -> str:
        done = subprocess.run(argv, env={**self._env, **env}, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(argv)} failed:\n{done.stdout[-2000:]}")
        return done.stdout


def _rows_of_invoices(what: str, figures: Figures) -> list[tuple[str, str]]:
    rate = figures["issued"] / figures["seconds"]
    return [
        (f"{what}: {figures['issued']:,} invoices", f"{figures['seconds']:.1f} s, {rate:.0f} a second ({figures['failed']} failed)"),
        (f"{what}: computing", COMPUTING.format(**figures)),
        (f"{what}: lines, sum", f"{figures['lines']:,}, {figures['net']}"),
        (f"{what}: peak memory", f"{figures['peak_bytes'] / MIB:.0f} MiB, {figures['grown_bytes'] / MIB:.1f} MiB of it since the start"),
    ]


def _rows_of_sums(figures: Figures) -> list[tuple[str, str]]:
    what = f"summing {figures['days']:,} days of {figures['accounts']:,} tenants"
    return [
        (what, f"{figures['seconds']:.1f} s, {figures['rows']:,} rows ({figures['failed']} failed)"),
        ("  computing", COMPUTING.format(**figures)),
        ("tenants whose sums differ from their intervals", f"{figures['differing']} of {figures['compared']:,}"),
    ]


def _rows_of_page(figures: Figures) -> list[tuple[str, str]]:
    summed, raw = figures["summed"], figures["raw"]
    words = "p50 {p50:.0f} ms, p95 {p95:.0f} ms ({requests} requests; {busy:.0f} ms in Python, {database_busy:.0f} ms in the database)"
    return [
        (f"usage page of a tenant with {figures['intervals']:,} intervals", words.format(**summed)),
        ("the same without sums", f"{words.format(**raw)}, × {raw['p50'] / summed['p50']:.1f}"),
    ]


def _intervals_of(connection: psycopg.Connection, size: Size) -> int:
    query = "SELECT count(*) FROM billing_interval WHERE started_at < %s AND (ended_at > %s OR ended_at IS NULL)"
    row = connection.execute(query, [size.end, size.last_month]).fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    os.umask(0o022)
    main()
