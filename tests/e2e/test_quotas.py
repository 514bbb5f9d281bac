"""Limits in a real browser: before a create and a resize, and asking for more. The portal runs in this process, its cloud is rows alone."""

import pytest
from playwright.sync_api import Page, expect

from apps.tenants.models import Tenant
from tests.e2e import journey
from tests.factories import make_bay, make_cloud, make_flavor, make_tenant, owner_of
from tests.sites import let_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(site: str) -> Tenant:
    """An organisation near its limits."""
    make_cloud()
    make_flavor()
    make_flavor("c1.large", vcpus=4)
    tenant = make_tenant("crew")
    Tenant.objects.filter(id=tenant.id).update(max_hosts=6, max_vcpus=24)
    make_bay(tenant, "vela", node_count=3)
    return tenant


def test_limits_are_shown_before_every_change_and_more_is_asked_for(site: str, tenant: Tenant, page: Page, axe: str) -> None:
    let_in(page.context, user=owner_of(tenant), site=site)
    page.goto(f"{site}/t/crew/bays/new")
    page.get_by_label("Hosts", exact=True).fill("4")
    expect(page.locator("#summary")).to_contain_text("uses 3 hosts; with 4 hosts more it would be 7 hosts.")
    journey.look_at(page, axe, "limits-create")
    page.goto(f"{site}/t/crew/bays/vela/settings")
    page.get_by_label("Hosts", exact=True).fill("6")
    expect(page.locator("#resize-summary")).to_contain_text("6 of 6")
    journey.look_at(page, axe, "limits-resize")
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_role("heading", name="Your limits after this")).to_be_visible()
    journey.look_at(page, axe, "limits-resize-review")
    page.goto(f"{site}/t/crew/settings/")
    page.get_by_role("link", name="Limits", exact=True).click()
    journey.look_at(page, axe, "limits")
    page.get_by_role("button", name="Ask for these limits").click()
    expect(page.get_by_text("Approved: you have")).to_be_visible()
    page.get_by_label("Hosts in all bays").fill("5000")
    page.get_by_role("button", name="Ask for these limits").click()
    expect(page.get_by_text("Say what it is for")).to_be_visible()
    page.get_by_label("What it is for").fill("The great race in May.")
    page.get_by_role("button", name="Ask for these limits").click()
    expect(page.get_by_text("An operator of this portal decides about it; you get a mail")).to_be_visible()
    journey.look_at(page, axe, "limits-asked")
    page.get_by_role("button", name="Withdraw the request").click()
    expect(page.get_by_text("The request is withdrawn.")).to_be_visible()
