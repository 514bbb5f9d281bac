"""The operator's console in a real browser: from a search to a support view and back, and every page on a desk, a phone and in the dark."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from apps.accounts.models import User
from apps.common.clock import now
from apps.dashboard.announcements import announce
from apps.tenants.models import QuotaRequest, Tenant
from apps.tenants.roles import Role
from tests.e2e import journey
from tests.factories import join, make_bay, make_cloud, make_flavor, make_tenant
from tests.people import make_person
from tests.sites import let_in

pytestmark = pytest.mark.django_db(transaction=True)
PAGES = ("", "tenants/", "users/", "limits/", "clouds/", "aggregates/", "flavors/", "announcements/", "audit/")
TEXT = "Maintenance of the local cloud tonight from 22:00 to 23:00 UTC"


@pytest.fixture
def operator(site: str) -> User:
    user = make_person("op@example.com")
    user.is_staff = True
    user.save()
    return user


@pytest.fixture
def tenant(site: str) -> Tenant:
    """An organisation with people, bays and a wish, beside others."""
    make_cloud()
    for name, vcpus, price in (("c1.small", 1, "0.010"), ("c1.large", 4, "0.040")):
        make_flavor(name, vcpus=vcpus, price=price)
    tenant = make_tenant("crew", owner=make_person("owner@example.com"), max_hosts=3)
    join(tenant, make_person("viewer@example.com"), role=Role.VIEWER)
    make_bay(tenant, "vega", node_count=3)
    make_bay(make_tenant("blue-team"), "lyra")
    QuotaRequest.objects.create(
        tenant=tenant, wanted={"max_hosts": 200, "max_memory_mib": 2048 * 1024}, reason="A fair in May needs a shop that stays up.",
        requested_by="owner@example.com", created_at=now() - timedelta(hours=3),
    )  # fmt: skip
    return tenant


def come_in(context: BrowserContext, user: User, site: str) -> Page:
    """Return a page of a visitor who is signed in."""
    let_in(context, user=user, site=site)
    return context.new_page()


def test_an_operator_looks_at_an_organisation_and_its_owner_knows(
    site: str, browser: Browser, operator: User, tenant: Tenant, axe: str
) -> None:
    desk = come_in(browser.new_context(viewport=journey.DESKTOP), operator, site)
    watch = journey.Watch(desk)
    desk.goto(f"{site}/operators/tenants/")
    desk.get_by_label("Name, or a member’s address").fill("owner@")
    desk.keyboard.press("Enter")
    desk.get_by_role("link", name="Crew").click()
    desk.get_by_label("Reason, which its owners read").fill("Ticket 7: vega does not come up")
    assert journey.serious_faults(desk, axe) == []
    journey.take(desk, "console-tenant-desktop")
    desk.get_by_role("button", name="Open support view").click()
    expect(desk.get_by_text("You look at Crew in a support view.")).to_be_visible()
    desk.get_by_role("link", name="vega").click()
    expect(desk.get_by_role("heading", name="vega")).to_be_visible()
    assert journey.serious_faults(desk, axe) == []
    journey.take(desk, "support-view-desktop")
    owner = come_in(browser.new_context(), User.objects.get(email="owner@example.com"), site)
    owner.goto(site)
    journey.open_mail(owner, "owner@example.com")
    expect(owner.get_by_text("Ticket 7: vega does not come up")).to_be_visible()
    owner.get_by_role("link", name="/t/crew/audit/").click()
    expect(owner.get_by_text("Opened a support view")).to_be_visible()
    desk.get_by_role("button", name="End support view").click()
    expect(desk.get_by_text("The support view of Crew is ended.")).to_be_visible()
    owner.reload()
    expect(owner.get_by_text("Ended the support view of op@example.com")).to_be_visible()
    assert journey.serious_faults(owner, axe) == []
    assert not watch.complaints
    desk.context.close()
    owner.context.close()


def test_an_announcement_reaches_everybody_and_is_put_away_without_scripts(
    site: str, browser: Browser, operator: User, tenant: Tenant, axe: str
) -> None:
    desk = come_in(browser.new_context(viewport=journey.DESKTOP), operator, site)
    desk.goto(f"{site}/operators/announcements/")
    desk.get_by_label("Text").fill(TEXT)
    desk.get_by_label("Level").select_option("critical")
    desk.get_by_role("button", name="Announce").click()
    expect(desk.get_by_text("It is announced.")).to_be_visible()
    assert journey.serious_faults(desk, axe) == []
    plain = come_in(browser.new_context(java_script_enabled=False), User.objects.get(email="viewer@example.com"), site)
    plain.goto(f"{site}/t/crew/bays/vega/")
    banner = plain.get_by_role("region", name="Announcements")
    expect(banner).to_contain_text(TEXT)
    banner.get_by_role("button", name="Dismiss").click()
    expect(banner).to_have_count(0)
    assert plain.url == f"{site}/t/crew/bays/vega/"
    desk.get_by_role("button", name=re.compile("^Withdraw")).click()
    expect(desk.get_by_role("region", name="Announcements")).to_have_count(0)
    plain.context.close()
    desk.context.close()


def test_every_page_of_the_console_stands(site: str, browser: Browser, operator: User, tenant: Tenant, axe: str) -> None:
    announce(by=operator, text=TEXT, level="warning")
    announce(by=operator, text="New: flavors with four CPUs.", level="info")
    owner = User.objects.get(email="owner@example.com")
    page = come_in(browser.new_context(viewport=journey.DESKTOP), operator, site)
    watch = journey.Watch(page)
    for address in (*PAGES, f"tenants/{tenant.id}/", f"users/{owner.id}/"):
        page.goto(f"{site}/operators/{address}")
        shot = {f"tenants/{tenant.id}/": "tenant", f"users/{owner.id}/": "user", "": "overview"}.get(address, address.strip("/"))
        journey.look_at(page, axe, f"console-{shot}")
    assert not watch.complaints
    page.context.close()
    reader = come_in(browser.new_context(viewport=journey.DESKTOP), owner, site)
    reader.goto(f"{site}/t/crew/audit/")
    journey.look_at(reader, axe, "audit")
    reader.context.close()
