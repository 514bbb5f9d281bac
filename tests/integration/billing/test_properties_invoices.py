"""Invoices of random lives: every period's lines sum to what a count by hand says, whenever months are closed and whatever comes late."""

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from apps.billing.invoices.closing import SETTLING, issue_period, run_month
from apps.billing.invoices.drafts import draft_of
from apps.billing.models import Account, BilledPeriod, Invoice, InvoiceLine
from apps.billing.periods import Period
from apps.billing.usage.rollups import roll_account
from apps.billing.usage.spend import usage_of
from tests.integration.billing.lives import DAY, STEADY, STORIES, Story, World

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(900)]  # hundreds of stories, on a machine that may be busy
FEWER = effort(STEADY, max_examples=50)
ABOUT_USE = [InvoiceLine.Kind.USAGE, InvoiceLine.Kind.LATE]


@pytest.fixture
def world() -> World:
    return World()


def close_months(world: World, at: datetime) -> int:
    """Close what is due at the moment; return how many invoices that gave."""
    run = run_month(at=at, tenant_id=world.tenant.id)
    assert run.failed == []
    return run.issued


def closed(world: World) -> list[BilledPeriod]:
    return list(BilledPeriod.objects.filter(tenant=world.tenant).order_by("start"))


def written(world: World) -> list[tuple[Any, ...]]:
    """All that invoices say, but for the day they were written on."""
    lines: dict[Any, list[Any]] = defaultdict(list)
    for line in InvoiceLine.objects.filter(tenant=world.tenant).order_by("invoice", "position"):
        lines[line.invoice_id].append((line.kind, line.text, line.seconds, line.price_id, line.per_hour, line.used_from, line.amount))
    return [
        (invoice.number, invoice.period_start, invoice.period_end, invoice.net, invoice.tax, invoice.gross, lines[invoice.id])
        for invoice in Invoice.objects.filter(tenant=world.tenant).order_by("period_start")
    ]


def assert_invoices_add_up(world: World) -> None:
    """Lines sum to their invoice, periods follow each other, and all lines about a period sum to what it cost, counted by hand."""
    currency, periods = world.story.currency, closed(world)
    for invoice in Invoice.objects.filter(tenant=world.tenant):
        assert sum((line.amount for line in invoice.lines.all()), Decimal(0)) == invoice.net
        assert invoice.gross == invoice.net + invoice.tax
    assert [row.end for row in periods[:-1]] == [row.start for row in periods[1:]]
    for row in periods:
        lines = InvoiceLine.objects.filter(tenant=world.tenant, used_from=row.start, kind__in=ABOUT_USE)
        expected = world.ledger.amount(period=Period(start=row.start, end=row.end), as_of=row.end, currency=currency)
        assert sum((line.amount for line in lines), Decimal(0)) == expected


@FEWER
@given(story=STORIES, late=st.timedeltas(timedelta(0), 200 * DAY))
def test_a_months_invoice_is_the_same_however_late_and_however_often_it_is_run(world: World, story: Story, late: timedelta) -> None:
    due = story.month.end + SETTLING
    with world.told(story):
        world.play(story.events)
        world.clock = due
        with transaction.atomic():
            close_months(world, due - timedelta(seconds=1))
            assert all(row.end <= story.month.start for row in closed(world))
            close_months(world, due)
            assert closed(world)[-1].end == story.month.end
            assert_invoices_add_up(world)
            on_time = written(world)
            assert close_months(world, due) == 0
            assert issue_period(tenant_id=world.tenant.id, at=due) is None
            assert written(world) == on_time
            transaction.set_rollback(True)
        close_months(world, due + late)
        assert_invoices_add_up(world)
        number_of_those = len(on_time)
        again = written(world)
        assert [said[1:] for said in again[:number_of_those]] == [said[1:] for said in on_time]


@FEWER
@given(
    story=STORIES,
    runs=st.lists(st.tuples(st.integers(0, 18), st.timedeltas(timedelta(0), 50 * DAY)), min_size=1, max_size=4).map(sorted),
    zones=st.lists(
        st.sampled_from(["", "", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati", "Europe/Berlin"]), min_size=4, max_size=4
    ),
)
def test_late_usage_and_other_calendars_never_change_what_a_period_costs_altogether(
    world: World, story: Story, runs: list[tuple[int, timedelta]], zones: list[str]
) -> None:
    with world.told(story):
        played, latest = 0, world.clock
        for (upto, later), zone in zip(runs, zones, strict=False):
            world.play(story.events[played:upto])
            played = max(played, upto)
            latest = max(latest, world.clock + later)
            close_months(world, latest)
            if zone:
                Account.objects.filter(tenant=world.tenant).update(time_zone=zone)
        world.play(story.events[played:])
        close_months(world, max(latest, world.clock, story.month.end) + 70 * DAY)
        assert closed(world)[-1].end > story.month.end
        assert_invoices_add_up(world)


@FEWER
@given(story=STORIES, cuts=st.lists(st.tuples(st.integers(0, 50), st.floats(0.01, 0.99)), min_size=1, max_size=8))
def test_cutting_intervals_changes_no_draft_and_is_no_late_usage(world: World, story: Story, cuts: list[tuple[int, float]]) -> None:
    with world.told(story):
        world.play(story.events)
        if not world.intervals():
            return
        close_months(world, story.month.start + SETTLING)
        before = draft_of(account=world.account, at=story.month.end)
        roll_account(tenant_id=world.tenant.id, at=story.month.end)
        world.split(cuts)
        after = draft_of(account=world.account, at=story.month.end)
        assert (after.lines, after.net, after.gross) == (before.lines, before.net, before.gross)
        from_sums = usage_of(account=world.account, period=after.period, as_of=story.month.end)
        assert draft_of(account=world.account, at=story.month.end, used=from_sums).lines == before.lines
