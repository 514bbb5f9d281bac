import pytest
from hypothesis import Phase, settings as effort
from django.db import connection, transaction
from unittest.mock import patch
from tests.integration.billing import test_properties_usage as u, test_properties_invoices as v
from tests.integration.billing.lives import World
from apps.billing import usage, rollups, price_book, late, drafts, rating, periods, spend
pytestmark=[pytest.mark.django_db, pytest.mark.timeout(900)]
def dies(fn, world):
    fn._hypothesis_internal_use_settings = effort(fn._hypothesis_internal_use_settings, phases=[Phase.generate])
    with pytest.raises(BaseException) as e: fn(world)
    print("KILLED by", fn.__name__, type(e.value).__name__, str(e.value)[:80].replace("\n"," "))
@pytest.fixture
def world(): return World()
CASES={
 'tiers ignored': (lambda: patch.object(price_book,'_tiers',lambda p: ()), u.test_a_months_charges_are_the_integral_of_the_price_over_what_is_billed),
 'cloud price ignored': (lambda: patch.object(price_book.PriceBook,'stretches', (lambda orig: lambda self,*,period: [s for s in orig(self,period=period) if s.cloud_id is None])(price_book.PriceBook.stretches)), u.test_a_months_charges_are_the_integral_of_the_price_over_what_is_billed),
 'not cut at start': (lambda: patch.object(usage,'USED',usage.USED.replace('GREATEST(i.started_at, part.start_at)','i.started_at')), u.test_a_months_charges_are_the_integral_of_the_price_over_what_is_billed),
 'open intervals missed': (lambda: patch.object(usage,'USED',usage.USED.replace('(i.ended_at > %(start)s OR i.ended_at IS NULL)','i.ended_at > %(start)s')), u.test_a_months_charges_are_the_integral_of_the_price_over_what_is_billed),
 'half even': (lambda: patch.object(rating,'apportioned',lambda *,parts,currency: [__import__('apps.common.money',fromlist=['x']).rounded(amount=p,currency=currency) for p in parts]), u.test_a_months_charges_are_the_integral_of_the_price_over_what_is_billed),
 'midnight utc': (lambda: patch.object(rollups,'days_of',lambda *,period,zone: periods.days_of(period=period,zone='UTC')), u.test_sums_by_day_and_intervals_say_the_same_whenever_days_were_summed),
 'no late lines': (lambda: patch.object(drafts,'late_lines',lambda **k: []), v.test_late_usage_and_other_calendars_never_change_what_a_period_costs_altogether),
}
@pytest.mark.parametrize('name',CASES)
def test_mutant(world,name):
    how,fn=CASES[name]
    with how(): dies(fn,world)
def test_no_late_notes(world):
    with connection.cursor() as c: c.execute("CREATE OR REPLACE FUNCTION billing_note_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    dies(u.test_sums_by_day_and_intervals_say_the_same_whenever_days_were_summed, world)
def test_no_late_notes2(world):
    with connection.cursor() as c: c.execute("CREATE OR REPLACE FUNCTION billing_note_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    dies(v.test_late_usage_and_other_calendars_never_change_what_a_period_costs_altogether, world)
def test_meter_clock_back(world):
    with connection.cursor() as c:
        c.execute("SELECT pg_get_functiondef('billing_meter'::regproc)"); d=c.fetchone()[0]
        c.execute(d.replace("GREATEST(moment, max(ended_at))","COALESCE(moment, max(ended_at))"))
    dies(u.test_a_months_charges_are_the_integral_of_the_price_over_what_is_billed, world)
