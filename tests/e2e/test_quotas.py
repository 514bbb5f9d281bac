"""Limits in a real browser: before a create and a resize, and asking for more. The portal runs in this process, its cloud is rows alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.conf import settings as portal
from django.test import Client
from playwright.sync_api import Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from apps.tenants.models import Tenant
from tests.browser import SCREENSHOTS
from tests.e2e import journey
from tests.factories import make_bay, make_cloud, make_flavor, make_tenant, owner_of

pytestmark = pytest.mark.django_db(transaction=True)
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A portal with an owner's session."""

    base: str
    cookie: str


@pytest.fixture(scope="module", autouse=True)
def _rows_beside_a_browser(django_db_setup: None) -> Iterator[None]:
    """Playwright runs an event loop in the thread of the tests, in which Django would refuse to ask the database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture
def visit(transactional_db: None, settings: Settings) -> Iterator[Visit]:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    make_cloud()
    make_flavor()
    make_flavor("c1.large", vcpus=4)
    tenant = make_tenant("crew")
    Tenant.objects.filter(id=tenant.id).update(max_hosts=6, max_vcpus=24)
    make_bay(tenant, "vela", node_count=3)
    client = Client()
    client.force_login(owner_of(tenant), backend="allauth.account.auth_backends.AuthenticationBackend")
    server = LiveServer("localhost")
    settings.BASE_URL = server.url
    yield Visit(base=server.url, cookie=client.cookies[portal.SESSION_COOKIE_NAME].value)
    server.stop()


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
            page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{size['width']}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    assert faults == []


def test_limits_are_shown_before_every_change_and_more_is_asked_for(visit: Visit, page: Page, axe: str) -> None:
    page.context.add_cookies([{"name": portal.SESSION_COOKIE_NAME, "value": visit.cookie, "url": visit.base}])
    page.goto(f"{visit.base}/t/crew/bays/new")
    page.get_by_label("Hosts", exact=True).fill("4")
    expect(page.locator("#summary")).to_contain_text("uses 3 hosts; with 4 hosts more it would be 7 hosts.")
    look_at(page, axe, "limits-create")
    page.goto(f"{visit.base}/t/crew/bays/vela/settings")
    page.get_by_label("Hosts", exact=True).fill("6")
    expect(page.locator("#resize-summary")).to_contain_text("6 of 6")
    look_at(page, axe, "limits-resize")
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_role("heading", name="Your limits after this")).to_be_visible()
    look_at(page, axe, "limits-resize-review")
    page.goto(f"{visit.base}/t/crew/settings/")
    page.get_by_role("link", name="Limits", exact=True).click()
    look_at(page, axe, "limits")
    page.get_by_role("button", name="Ask for these limits").click()
    expect(page.get_by_text("Approved: you have")).to_be_visible()
    page.get_by_label("Hosts in all bays").fill("5000")
    page.get_by_role("button", name="Ask for these limits").click()
    expect(page.get_by_text("Say what it is for")).to_be_visible()
    page.get_by_label("What it is for").fill("The great race in May.")
    page.get_by_role("button", name="Ask for these limits").click()
    expect(page.get_by_text("An operator of this portal decides about it; you get a mail")).to_be_visible()
    look_at(page, axe, "limits-asked")
    page.get_by_role("button", name="Withdraw the request").click()
    expect(page.get_by_text("The request is withdrawn.")).to_be_visible()
