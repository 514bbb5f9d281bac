"""A person's way through the portal in a real browser, from nothing to a bay with credentials and back; then the pages themselves."""

import zipfile
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from carina_portal.embedded.stack import Stack
from tests.e2e import journey

pytestmark = pytest.mark.live
KILOBYTE = 1000


def test_from_signing_up_to_a_bay_with_credentials_and_back_to_nothing(portal: Stack, page: Page, tmp_path: Path) -> None:
    journey.sign_up(page, portal.base_url, journey.new_address())
    journey.create_bay(page, "swift-canopus")
    bundle = journey.download_bundle(page, tmp_path)
    assert bundle.name == "swift-canopus.zip"
    names = set(zipfile.ZipFile(bundle).namelist())
    assert {f"swift-canopus/{name}" for name in ("ca.pem", "cert.pem", "key.pem", "docker.env", "README.md")} <= names
    journey.resize_bay(page, 2)
    page.get_by_role("link", name="Hosts", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="Ready").filter(has_text="swift-canopus")).to_have_count(2)
    journey.delete_bay(page, "swift-canopus")
    expect(page.get_by_role("heading", name="No bays yet")).to_be_visible()


def test_the_progress_of_a_bay_never_goes_back_and_stops_asking_when_done(portal: Stack, page: Page) -> None:
    journey.sign_up(page, portal.base_url, journey.new_address())
    page.get_by_role("textbox", name="Name").fill("calm-vega")
    page.get_by_role("button", name="Create bay").click()
    seen: list[int] = []
    progress = page.get_by_role("progressbar")
    for _ in range(2000):
        if not progress.count():
            break
        value = page.evaluate("document.querySelector('.bar-progress')?.value ?? null")
        seen += [int(value)] if value is not None else []
        page.wait_for_timeout(30)
    journey.wait_until_active(page)
    assert seen == sorted(seen)
    assert len(set(seen)) > 1, "it moved while somebody watched"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == []
    journey.delete_bay(page, "calm-vega")


def test_the_summary_follows_what_is_typed_and_wrong_input_is_kept_with_its_sentence(portal: Stack, page: Page) -> None:
    journey.sign_up(page, portal.base_url, journey.new_address())
    hosts = page.get_by_label("Hosts", exact=True)
    hosts.fill("3")
    expect(page.locator("#summary")).to_contain_text("3 of 50")
    hosts.fill("99")
    expect(page.locator("#summary")).to_contain_text("between 1 and 50 hosts")
    page.get_by_role("textbox", name="Name").fill("No Spaces")
    page.get_by_role("button", name="Create bay").click()
    expect(page.get_by_text("lower-case letters a-z").first).to_be_visible()
    expect(page.get_by_role("textbox", name="Name")).to_have_value("No Spaces")
    expect(page.get_by_label("Hosts", exact=True)).to_have_value("99")


def test_a_visitor_without_scripts_creates_and_deletes_a_bay(portal: Stack, browser: Browser, page: Page) -> None:
    email = journey.new_address()
    journey.sign_up(page, portal.base_url, email)
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    journey.sign_in(plain, portal.base_url, email)
    plain.get_by_role("textbox", name="Name").fill("plain-vela")
    plain.get_by_label("Hosts", exact=True).fill("2")
    plain.get_by_role("button", name="Update the summary").click()
    expect(plain.locator("#summary")).to_contain_text("2 of 50")
    plain.get_by_label("Hosts", exact=True).fill("1")
    plain.get_by_role("button", name="Create bay").click()
    expect(plain.get_by_role("heading", name="plain-vela")).to_be_visible()
    plain.get_by_role("link", name="Settings").click()
    plain.get_by_label("Type “plain-vela” to confirm").fill("plain-vela")
    plain.get_by_role("button", name="Delete bay").click()
    expect(plain.locator(".bay-title .status")).to_contain_text("Deleting")
    context.close()


def test_choices_of_shell_and_of_light_or_dark_are_remembered_and_copying_says_so(portal: Stack, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    journey.sign_up(page, portal.base_url, journey.new_address())
    journey.create_bay(page, "warm-spica")
    page.get_by_role("link", name="Get access").click()
    page.get_by_role("tab", name="fish").click()
    page.get_by_role("button", name="Light or dark").click()
    page.reload()
    lines = page.get_by_role("tabpanel", name="fish")
    expect(lines).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    lines.get_by_role("button", name="Copy").click()
    expect(lines.get_by_role("button", name="Copied")).to_be_visible()
    assert "source warm-spica/docker.fish" in page.evaluate("navigator.clipboard.readText()")
    journey.delete_bay(page, "warm-spica")


@pytest.mark.parametrize("scheme", journey.COLOURS)
def test_every_page_is_accessible_and_fits_a_phone(portal: Stack, browser: Browser, axe: str, scheme: Literal["light", "dark"]) -> None:
    """Visits every page, looks at it as a machine does, and takes the screenshots that people look at."""
    context = browser.new_context(viewport=journey.DESKTOP, color_scheme=scheme)
    page = context.new_page()
    faults = [*_faults_of(page, axe, scheme, _signed_out(portal.base_url))]
    journey.sign_up(page, portal.base_url, journey.new_address())
    tenant = page.url.removesuffix("/bays/new")
    faults += _faults_of(page, axe, scheme, {"create": page.url, "empty": f"{tenant}/bays/"})
    journey.create_bay(page, f"bright-{scheme}", 2)
    faults += _faults_of(page, axe, scheme, _signed_in(portal.base_url, tenant, f"bright-{scheme}"))
    page.goto(f"{tenant}/bays/bright-{scheme}/")
    journey.delete_bay(page, f"bright-{scheme}")
    context.close()
    assert faults == []


def test_the_first_page_is_light(portal: Stack) -> None:
    html, everything = journey.transferred(base_url=portal.base_url, path="/")
    assert html < 40 * KILOBYTE
    assert everything < 250 * KILOBYTE


def _signed_out(base: str) -> dict[str, str]:
    pages = ("login", "signup", "password/reset", "confirm-email", "confirm-email/nonsense")
    return {
        "home": base,
        "mails": f"{base}/mail/",
        "404": f"{base}/nowhere",
        **{name.replace("/", "-"): f"{base}/account/{name}/" for name in pages},
    }


def _signed_in(base: str, tenant: str, bay: str) -> dict[str, str]:
    bay_pages = {f"bay-{tab}": f"{tenant}/bays/{bay}/{tab}" for tab in ("", "hosts", "access", "events", "settings", "resize?node_count=1")}
    account = {name.replace("/", "-"): f"{base}/account/{name}/" for name in ("email", "password/change", "logout")}
    return {"list": f"{tenant}/bays/", "tokens": f"{tenant}/tokens/", "organisation": f"{tenant}/settings/", **bay_pages, **account}


def _faults_of(page: Page, axe: str, scheme: str, pages: dict[str, str]) -> list[str]:
    faults = []
    for name, address in pages.items():
        page.set_viewport_size(journey.DESKTOP)
        page.goto(address)
        faults += journey.serious_faults(page, axe)
        journey.take(page, f"{name.partition('?')[0]}-{scheme}-1440")
        page.set_viewport_size(journey.PHONE)
        faults += journey.too_wide(page)
        journey.take(page, f"{name.partition('?')[0]}-{scheme}-390")
    return faults
