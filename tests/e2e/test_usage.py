"""A month's spend in a real browser: read by eye, by keyboard, by a screen reader; by day and by bay; and taken along as a file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from apps.billing.terms.accounts import account_of
from apps.common.clock import now
from apps.tenants.models import Tenant
from tests.e2e import journey
from tests.factories import make_cloud, make_flavor, make_tenant, owner_of
from tests.integration.billing.usage_rows import bay_of, ran
from tests.sites import let_in

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ["web", "shop", "database", "search", "mail", "build-farm", "staging", "metrics", "queue", "cache", "a-bay-with-a-long-name"]
DAY = timedelta(days=1)


@pytest.fixture
def tenant(site: str) -> Tenant:
    """An organisation whose bays have run since last month, in two sizes, each at times of its own."""
    make_cloud()
    make_flavor(price="0.012")
    large = make_flavor("c1.large", vcpus=4, price="0.048")
    tenant = make_tenant("crew", max_bays=20)
    moment = now().replace(minute=0, second=0, microsecond=0)
    first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    Tenant.objects.update(created_at=first - 70 * DAY)
    account_of(tenant=tenant)
    for number, name in enumerate(NAMES):
        bay = bay_of(tenant, name, moment=first - 60 * DAY)
        ran(bay, (first - 50 * DAY, first - 20 * DAY))
        start = first + number * DAY / 3
        for host in range(1 + 14 // (number + 1)):
            end = start + (3 + host % 5) * 2 * DAY
            ran(bay, (start + host * DAY / 2, end if end < moment else None), flavor=large if number % 3 == 0 else None)
    return tenant


def test_spend_is_read_by_day_and_by_bay_and_taken_along(site: str, tenant: Tenant, page: Page, axe: str, tmp_path: Path) -> None:
    let_in(page.context, user=owner_of(tenant), site=site)
    page.goto(f"{site}/t/crew/billing/")
    expect(page.get_by_text("Spent so far")).to_be_visible()
    first = page.locator(".chart-bar").first
    first.focus()
    page.keyboard.press("Tab")
    expect(page.locator(".chart-bar").nth(1)).to_be_focused()
    journey.look_at(page, axe, "billing-usage")
    page.get_by_text("The same as a table").click()
    page.get_by_text("What is billed when").click()
    expect(page.get_by_text("being created, or its creation failed")).to_be_visible()
    journey.look_at(page, axe, "billing-usage-open")
    for name in ("Flavor", "Cloud", "Member", "Tag"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("columnheader", name=name)).to_be_visible()
    page.get_by_role("link", name="Flavor", exact=True).click()
    journey.look_at(page, axe, "billing-usage-flavors")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    download.value.save_as(tmp_path / "usage.csv")
    assert ",web," in (tmp_path / "usage.csv").read_text()


def test_the_first_month_says_what_will_be_here(site: str, page: Page, axe: str) -> None:
    tenant = make_tenant("newcomers")
    let_in(page.context, user=owner_of(tenant), site=site)
    page.goto(f"{site}/t/newcomers/billing/")
    expect(page.get_by_text("Nothing used yet this month")).to_be_visible()
    journey.look_at(page, axe, "billing-usage-empty")
