"""The page of usage shows a month's spend so that the parts add up, to those who may see bills and to nobody else."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.test import Client

from apps.bays.models import Bay
from apps.billing.models import Account, Plan, Subscription
from apps.billing.terms.accounts import account_of
from apps.billing.usage.rollups import roll_account
from apps.common.clock import now
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import join, make_cloud, make_flavor, make_tenant, make_user, owner_of
from tests.integration.billing.clock import at
from tests.integration.billing.usage_rows import bay_of, ran, unpriced

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MOMENT = MARCH + 10 * DAY


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    tenant = make_tenant("harbour")
    Tenant.objects.update(created_at=MARCH - 40 * DAY)
    account_of(tenant=tenant)
    return tenant


def visit(tenant: Tenant, address: str = "", *, user: object = None, moment: datetime = MOMENT) -> str:
    """Return the page's text as the owner sees it, without tags and with single spaces."""
    with at(moment):
        response = signed_in(user or owner_of(tenant)).get(f"/t/{tenant.slug}/billing/{address}")
    assert response.status_code == 200, response.content
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())


def signed_in(user: object) -> Client:
    client = Client()
    client.force_login(user)  # type: ignore[arg-type]
    return client


def test_it_shows_what_was_spent_so_far_what_will_be_and_last_month(tenant: Tenant) -> None:
    bay = bay_of(tenant, "web", moment=MARCH)
    ran(bay, (MARCH - 2 * DAY, MARCH))
    ran(bay, (MOMENT - 10 * HOUR, None))
    page = visit(tenant)
    assert "Spent so far $0.10" in page
    # ten hours so far, and 21 days that are still to come
    assert "Forecast $5.14" in page
    assert "February 2026 $0.48" in page


def test_days_and_bays_of_the_chart_add_up_to_the_month(tenant: Tenant) -> None:
    web, db = bay_of(tenant, "web", moment=MARCH), bay_of(tenant, "db", moment=MARCH)
    ran(web, (MARCH + 20 * HOUR, MARCH + 30 * HOUR))
    ran(db, (MARCH + 22 * HOUR, MARCH + 23 * HOUR))
    page = visit(tenant)
    # 4.0 + 6.0 + 1.0 cents
    assert "1 March: $0.05 (web $0.04, db $0.01)" in page
    assert "2 March: $0.06" in page
    assert "Together $0.11" in page


def test_summed_days_and_running_ones_look_the_same(tenant: Tenant) -> None:
    web = bay_of(tenant, "web", moment=MARCH)
    ran(web, (MARCH + 5 * HOUR, None))
    before = visit(tenant)
    assert roll_account(tenant_id=tenant.id, at=MOMENT) == 9
    assert visit(tenant) == before


def test_a_bar_can_be_read_without_a_mouse_and_without_colours(tenant: Tenant) -> None:
    ran(bay_of(tenant, "web", moment=MARCH), (MARCH, MARCH + 10 * HOUR))
    with at(MOMENT):
        html = signed_in(owner_of(tenant)).get(f"/t/{tenant.slug}/billing/").content.decode()
    bars = re.findall(r'<g class="chart-bar"[^>]*>.*?</g>', html, re.DOTALL)
    assert len(bars) == 31
    assert 'tabindex="0"' in bars[0]
    assert 'aria-label="1 March: $0.10"' in bars[0]
    assert "<title>1 March: $0.10</title>" in bars[0]
    assert "style=" not in html
    table = html.partition("The same as a table")[2]
    assert "1 March" in table
    assert "$0.10" in table


def test_it_is_taken_apart_by_flavor_cloud_and_member(tenant: Tenant) -> None:
    web, db = bay_of(tenant, "web", moment=MARCH), bay_of(tenant, "db", moment=MARCH)
    large = make_flavor("c1.large", price="0.040")
    ran(web, (MARCH, MARCH + 10 * HOUR))
    ran(db, (MARCH, MARCH + 10 * HOUR), flavor=large)
    assert "c1.large 10.0 80 % 80 % $0.40 c1.small 10.0 20 % 20 % $0.10 Together 20.0 $0.50" in visit(tenant, "?by=flavor")
    assert "local 20.0 100 % 100 % $0.50" in visit(tenant, "?by=cloud")
    assert f"{owner_of(tenant).email} 20.0 100 % 100 % $0.50" in visit(tenant, "?by=member")
    assert "has a tag" in visit(tenant, "?by=tag")
    assert "without this tag 20.0" in visit(tenant, "?by=tag:team")


def test_it_is_taken_apart_by_any_tag_that_bays_have(tenant: Tenant) -> None:
    tags = {"web": {"team": "blue", "stage": "<live>"}, "shop": {"team": "blue"}, "db": {}}
    for name, mine in tags.items():
        bay = bay_of(tenant, name, moment=MARCH)
        Bay.objects.filter(id=bay.id).update(tags=mine)
        ran(bay, (MARCH, MARCH + 10 * HOUR))
    assert "<live> 10.0" in unescape(visit(tenant, "?by=tag"))
    page = visit(tenant, "?by=tag:team")
    assert "blue 20.0 67 % 67 % $0.20 without this tag 10.0 33 % 33 % $0.10" in page


def test_another_month_can_be_chosen_and_shows_no_forecast(tenant: Tenant) -> None:
    ran(bay_of(tenant, "web", moment=MARCH), (MARCH - 2 * DAY, MARCH + DAY))
    page = visit(tenant, "?month=2026-02")
    assert "Spent $0.48" in page
    assert "Forecast" not in page
    assert "January 2026 $0.00" in page


def test_plan_and_usage_are_told_apart(tenant: Tenant) -> None:
    plan = Plan.objects.create(
        code="beta", title="Free beta", kind=Plan.Kind.FREE, currency="USD", allowance=Decimal("0.30"), created_at=now()
    )
    Subscription.objects.create(tenant=tenant, plan=plan, starts_at=MARCH, created_by="tests", created_at=now())
    ran(bay_of(tenant, "web", moment=MARCH), (MARCH, MARCH + 40 * HOUR))
    page = visit(tenant)
    assert "Spent so far $0.10 $0.40 of use Free beta: monthly allowance: −$0.30" in page
    assert "Together 40.0 $0.40" in page


def test_usage_without_a_price_is_said_to_be_free(tenant: Tenant) -> None:
    bay = bay_of(tenant, "web", moment=MARCH)
    ran(bay, (MARCH, MARCH + HOUR), flavor=unpriced(bay.flavor))
    page = visit(tenant)
    assert "What was used in this month had no price." in page
    assert "web has no price, is not billed 1.0" in page


def test_days_are_those_of_the_organisations_time_zone(tenant: Tenant) -> None:
    Account.objects.update(time_zone="Asia/Tokyo", billed_until=MARCH - 9 * HOUR)
    ran(bay_of(tenant, "web", moment=MARCH), (MARCH + 14 * HOUR, MARCH + 17 * HOUR))
    page = visit(tenant)
    assert "1 March: $0.01" in page
    assert "2 March: $0.02" in page


def test_a_tenth_bay_and_all_after_it_share_a_colour(tenant: Tenant) -> None:
    Tenant.objects.update(max_bays=20)
    for number in range(11):
        ran(bay_of(tenant, f"bay{number}", moment=MARCH), (MARCH, MARCH + (number + 10) * HOUR))
    page = visit(tenant)
    assert "3 other bays" in page
    # 12, 11 and 10 hours
    assert "3 other bays $0.33)" in page
    assert "bay0 10.0" in page


def test_of_very_many_bays_the_dearest_are_shown_and_the_others_together_until_one_asks_for_all(tenant: Tenant) -> None:
    Tenant.objects.update(max_bays=30)
    for number in range(23):
        ran(bay_of(tenant, f"bay{number}", moment=MARCH), (MARCH, MARCH + (number + 10) * HOUR))
    page = visit(tenant)
    # 12, 11 and 10 hours
    assert "3 others 33.0 $0.33 Together 483.0 $4.83" in page
    assert "bay1 11.0" not in page
    assert "bay1 11.0" in visit(tenant, "?all")


def test_the_first_visit_says_what_will_be_here(tenant: Tenant) -> None:
    page = visit(tenant)
    assert "Nothing used yet this month" in page
    assert "Create a bay" in page
    assert "Nothing was used in February 2026" in visit(tenant, "?month=2026-02")


def test_it_says_what_is_billed_when(tenant: Tenant) -> None:
    page = visit(tenant)
    assert "being created, or its creation failed no" in page
    assert "ready, also while its bay changes or is degraded yes" in page
    assert "lost, or being replaced no" in page


def test_somebody_for_bills_alone_sees_it_and_is_offered_no_bays(tenant: Tenant) -> None:
    user = make_user()
    join(tenant, user, role=Role.BILLING)
    ran(bay_of(tenant, "web", moment=MARCH), (MARCH, MARCH + HOUR))
    page = visit(tenant, user=user)
    assert "Spent so far $0.01" in page
    assert "Create a bay" not in visit(tenant, user=user, moment=MARCH + 40 * DAY)


@pytest.mark.parametrize("address", ["", "usage.csv", "usage.json", "usage.focus.csv"])
def test_a_member_who_may_not_see_bills_is_refused_and_a_stranger_sees_nothing(tenant: Tenant, address: str) -> None:
    viewer = make_user()
    join(tenant, viewer, role=Role.VIEWER)
    assert signed_in(viewer).get(f"/t/{tenant.slug}/billing/{address}").status_code == 403
    assert signed_in(make_user()).get(f"/t/{tenant.slug}/billing/{address}").status_code == 404
    assert Client().get(f"/t/{tenant.slug}/billing/{address}").status_code == 302


@pytest.mark.parametrize("query", ["month=2026-13", "month=soon", "month=9999-01", "by=colour", "by=tag:" + "x" * 64, "month=2026-03-01"])
def test_what_is_no_month_or_no_group_is_refused_with_a_sentence(tenant: Tenant, query: str) -> None:
    response = signed_in(owner_of(tenant)).get(f"/t/{tenant.slug}/billing/?{query}")
    assert response.status_code == 422
    assert "must be" in response.content.decode()


def test_another_organisations_usage_is_not_in_it(tenant: Tenant) -> None:
    other = make_tenant("elsewhere")
    ran(bay_of(other, "secret", moment=MARCH), (MARCH, MARCH + 10 * HOUR))
    assert "Nothing used yet this month" in visit(tenant)


def test_a_page_of_many_days_and_bays_stays_light_and_asks_little(tenant: Tenant, django_assert_max_num_queries: object) -> None:
    Tenant.objects.update(max_bays=20)
    for number in range(12):
        ran(bay_of(tenant, f"bay-with-a-long-name-{number}", moment=MARCH), (MARCH, None))
    roll_account(tenant_id=tenant.id, at=MARCH + 30 * DAY)
    client = signed_in(owner_of(tenant))
    with at(MARCH + 30 * DAY), django_assert_max_num_queries(40):  # type: ignore[operator]
        html = client.get(f"/t/{tenant.slug}/billing/").content
    assert len(html) < 100_000
