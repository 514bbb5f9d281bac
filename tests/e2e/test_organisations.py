"""Organisations in a real browser: invited by mail, signed up, accepted, removed again; every page on a desk, a phone and in the dark."""

import pytest
from playwright.sync_api import Browser, Page, expect

from apps.bays.access import issue_bundle
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.e2e import journey
from tests.factories import access_for, join, make_bay, make_cloud, make_flavor, make_tenant
from tests.people import PASSWORD, make_person

pytestmark = pytest.mark.django_db(transaction=True)
OLGA, NEW = "olga@example.com", "nina@example.com"


@pytest.fixture
def tenant(site: str) -> Tenant:
    """An organisation with a bay, of which a third person holds credentials."""
    make_cloud()
    make_flavor()
    tenant = make_tenant("crew", owner=make_person(OLGA))
    pete = make_person("pete@example.com")
    join(tenant, pete, role=Role.OPERATOR)
    make_bay(tenant, "vega")
    issue_bundle(access=access_for(tenant, pete), reference="vega")
    return tenant


def invite(page: Page, email: str, role: str) -> None:
    page.get_by_role("link", name="Organisation", exact=True).click()
    page.get_by_role("link", name="Members", exact=True).click()
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Role", exact=True).select_option(role)
    page.get_by_role("button", name="Send invitation").click()
    expect(page.get_by_text(f"The invitation is on its way to {email}")).to_be_visible()


def open_invitation(page: Page, site: str, email: str) -> None:
    page.goto(f"{site}/mail/")
    page.get_by_role("row").filter(has_text=email).filter(has_text="invites you").first.get_by_role("link").click()
    page.locator(".mail-body a").click()
    expect(page.get_by_role("heading", name="Join Crew")).to_be_visible()


def test_invited_by_mail_signed_up_accepted_and_among_the_bays(site: str, tenant: Tenant, browser: Browser, page: Page, axe: str) -> None:
    journey.sign_in(page, site, OLGA)
    invite(page, NEW, "operator")
    journey.look_at(page, axe, "organisation-members")
    context = browser.new_context(locale="en")
    guest = context.new_page()
    open_invitation(guest, site, NEW)
    assert guest.url == f"{site}/invitations/", "the secret is not in the address"
    journey.look_at(guest, axe, "organisation-invitation-signed-out")
    guest.get_by_role("main").get_by_role("link", name="Sign up").click()
    guest.get_by_label("E-mail address").fill(NEW)
    guest.get_by_label("Password").fill(PASSWORD)
    guest.get_by_role("button", name="Sign up").click()
    expect(guest.get_by_role("heading", name="Check your mail")).to_be_visible()
    guest.goto(f"{site}/mail/")
    guest.get_by_role("row").filter(has_text=NEW).filter(has_not_text="invites you").first.get_by_role("link").click()
    guest.locator(".mail-body a").first.click()
    guest.get_by_role("button", name="Yes, confirm").click()
    expect(guest.get_by_role("heading", name="Join Crew")).to_be_visible()
    journey.look_at(guest, axe, "organisation-invitation")
    guest.get_by_role("button", name="Accept the invitation").click()
    expect(guest.get_by_text("Welcome to Crew")).to_be_visible()
    expect(guest.get_by_role("link", name="vega")).to_be_visible()
    guest.goto(f"{site}/organisations/")
    journey.look_at(guest, axe, "organisation-list")
    page.reload()
    expect(page.get_by_role("row").filter(has_text=NEW)).to_contain_text("Member since" if page.viewport_size == journey.PHONE else "Set")
    context.close()


def test_a_removed_member_is_out_and_their_credentials_are_pointed_at(site: str, tenant: Tenant, page: Page, axe: str) -> None:
    journey.sign_in(page, site, OLGA)
    page.goto(f"{site}/t/crew/members/")
    page.get_by_role("link", name="Remove pete@example.com").click()
    expect(page.get_by_text("A client certificate they hold stays good")).to_be_visible()
    journey.look_at(page, axe, "organisation-remove")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("pete@example.com is no longer a member")).to_be_visible()
    expect(page.get_by_role("heading", name="Credentials in the hands of people who may not have them")).to_be_visible()
    journey.look_at(page, axe, "organisation-left-behind")


def test_the_wrong_account_is_told_so_and_a_dead_link_says_what_to_do(site: str, tenant: Tenant, page: Page, axe: str) -> None:
    journey.sign_in(page, site, OLGA)
    invite(page, NEW, "viewer")
    open_invitation(page, site, NEW)
    expect(page.get_by_text(f"It is for {NEW}, and you are signed in as {OLGA}.")).to_be_visible()
    journey.look_at(page, axe, "organisation-invitation-wrong-account")
    page.get_by_role("button", name="Sign out and use the other account").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{site}/invitations/nonsense/")
    expect(page.get_by_role("heading", name="This invitation is not valid any more")).to_be_visible()
    journey.look_at(page, axe, "organisation-invitation-dead")


def test_an_organisation_is_made_switched_to_renamed_and_deleted(site: str, tenant: Tenant, page: Page, axe: str) -> None:
    journey.sign_in(page, site, OLGA)
    page.get_by_role("banner").locator(".tenant-menu summary").click()
    journey.look_at(page, axe, "organisation-switcher")
    page.get_by_role("link", name="All organisations, or a new one").click()
    page.get_by_label("Name", exact=True).fill("Blue team")
    page.get_by_role("button", name="Create organisation").click()
    expect(page.get_by_text("Blue team is yours")).to_be_visible()
    page.get_by_role("link", name="Overview", exact=True).click()
    page.get_by_label("Name of the organisation").fill("Red team")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name="Red team", exact=True)).to_be_visible()
    page.get_by_label("Only members with a second factor get in").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("You have no second factor yourself. Add")).to_be_visible()
    journey.look_at(page, axe, "organisation-settings")
    page.get_by_label("Type “blue-team” to confirm").fill("blue-team")
    page.get_by_role("button", name="Delete organisation").click()
    expect(page.get_by_text("Red team is deleted.")).to_be_visible()
    page.goto(f"{site}/t/crew/settings/")
    expect(page.get_by_role("link", name="vega")).to_be_visible()
    journey.look_at(page, axe, "organisation-settings-with-bays")
