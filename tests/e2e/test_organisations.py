"""Organisations in a real browser: invited by mail, signed up, accepted, removed again; every page on a desk, a phone and in the dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from apps.bays.access import issue_bundle
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.browser import SCREENSHOTS
from tests.e2e import journey
from tests.factories import access_for, join, make_bay, make_cloud, make_flavor, make_tenant
from tests.people import PASSWORD, make_person

pytestmark = pytest.mark.django_db(transaction=True)
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
OLGA, NEW = "olga@example.com", "nina@example.com"


@pytest.fixture(scope="module", autouse=True)
def _rows_beside_a_browser(django_db_setup: None) -> Iterator[None]:
    """Playwright runs an event loop in the thread of the tests, in which Django would refuse to ask the database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture
def site(transactional_db: None, settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The address of a portal of this test's own, with its mails on a page."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    settings.MAIL_DIR, settings.EMAIL_BACKEND = tmp_path, "apps.common.mailbox.FolderBackend"
    cache.clear()
    server = LiveServer("localhost")
    settings.BASE_URL = server.url
    yield server.url
    server.stop()


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


def look_at(page: Page, axe: str, name: str) -> None:
    """Judge the open page as a machine does, and take the pictures that people look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    faults = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            faults += journey.serious_faults(page, axe)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than {size['width']} px"
            page.screenshot(path=SCREENSHOTS / f"organisation-{name}-{scheme}-{size['width']}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    assert faults == []


def sign_in(page: Page, site: str, email: str) -> None:
    page.goto(f"{site}/account/login/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/t/**")


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
    sign_in(page, site, OLGA)
    invite(page, NEW, "operator")
    look_at(page, axe, "members")
    context = browser.new_context(locale="en")
    guest = context.new_page()
    open_invitation(guest, site, NEW)
    assert guest.url == f"{site}/invitations/", "the secret is not in the address"
    look_at(guest, axe, "invitation-signed-out")
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
    look_at(guest, axe, "invitation")
    guest.get_by_role("button", name="Accept the invitation").click()
    expect(guest.get_by_text("Welcome to Crew")).to_be_visible()
    expect(guest.get_by_role("link", name="vega")).to_be_visible()
    guest.goto(f"{site}/organisations/")
    look_at(guest, axe, "list")
    page.reload()
    expect(page.get_by_role("row").filter(has_text=NEW)).to_contain_text("Member since" if page.viewport_size == PHONE else "Set")
    context.close()


def test_a_removed_member_is_out_and_their_credentials_are_pointed_at(site: str, tenant: Tenant, page: Page, axe: str) -> None:
    sign_in(page, site, OLGA)
    page.goto(f"{site}/t/crew/members/")
    page.get_by_role("link", name="Remove pete@example.com").click()
    expect(page.get_by_text("A client certificate they hold stays good")).to_be_visible()
    look_at(page, axe, "remove")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("pete@example.com is no longer a member")).to_be_visible()
    expect(page.get_by_role("heading", name="Credentials in the hands of people who may not have them")).to_be_visible()
    look_at(page, axe, "left-behind")


def test_the_wrong_account_is_told_so_and_a_dead_link_says_what_to_do(site: str, tenant: Tenant, page: Page, axe: str) -> None:
    sign_in(page, site, OLGA)
    invite(page, NEW, "viewer")
    open_invitation(page, site, NEW)
    expect(page.get_by_text(f"It is for {NEW}, and you are signed in as {OLGA}.")).to_be_visible()
    look_at(page, axe, "invitation-wrong-account")
    page.get_by_role("button", name="Sign out and use the other account").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{site}/invitations/nonsense/")
    expect(page.get_by_role("heading", name="This invitation is not valid any more")).to_be_visible()
    look_at(page, axe, "invitation-dead")


def test_an_organisation_is_made_switched_to_renamed_and_deleted(site: str, tenant: Tenant, page: Page, axe: str) -> None:
    sign_in(page, site, OLGA)
    page.get_by_role("banner").locator(".tenant-menu summary").click()
    look_at(page, axe, "switcher")
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
    look_at(page, axe, "settings")
    page.get_by_label("Type “blue-team” to confirm").fill("blue-team")
    page.get_by_role("button", name="Delete organisation").click()
    expect(page.get_by_text("Red team is deleted.")).to_be_visible()
    page.goto(f"{site}/t/crew/settings/")
    expect(page.get_by_role("link", name="vega")).to_be_visible()
    look_at(page, axe, "settings-with-bays")
