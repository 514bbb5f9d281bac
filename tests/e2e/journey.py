"""What people do in the browser, as steps that any test can take. Every step waits for what it caused."""

import re
import secrets
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.sync_api import Page, ViewportSize, expect

from carina_portal.embedded.layout import ROOT

PASSWORD = "a plank of cedar 42"
SECONDS = 1000
BAY_IS_READY_WITHIN = 90 * SECONDS
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
COLOURS: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SCREENSHOTS = ROOT / "var" / "screenshots"


def new_address() -> str:
    """Return an e-mail address nobody has used in this portal."""
    return f"sailor-{secrets.token_hex(4)}@example.com"


def sign_up(page: Page, base_url: str, email: str, password: str = PASSWORD) -> None:
    """Make an account from the start page on: form, mail, button. Ends on the create form of the new organisation."""
    page.goto(base_url)
    page.get_by_role("link", name="Create your first bay").click()
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    open_mail(page, email)
    page.locator(".mail-body a").click()
    page.get_by_role("button", name="Yes, confirm").click()
    expect(page.get_by_role("heading", name="Create a bay")).to_be_visible()


def open_mail(page: Page, email: str) -> None:
    """Open the newest mail to this address on the page that shows mails."""
    page.get_by_role("link", name="Mails of this portal", exact=True).click()
    page.get_by_role("row").filter(has_text=email).first.get_by_role("link").click()


def sign_in(page: Page, base_url: str, email: str, password: str = PASSWORD) -> None:
    """Sign in to an account that exists."""
    page.goto(f"{base_url}/account/login/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/t/**")


def create_bay(page: Page, name: str, count: int = 1) -> None:
    """Fill in the create form, watch the bay come up by itself, and end on its page when it is active."""
    if not page.url.endswith("/bays/new"):
        page.get_by_role("link", name="Bays", exact=True).first.click()
        page.get_by_role("link", name=re.compile("^Create (your first )?bay")).click()
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_label("Hosts", exact=True).fill(str(count))
    expect(page.locator("#summary")).to_contain_text(re.compile(rf"Hosts\s*{count}\s"))
    page.get_by_role("button", name="Create bay").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    wait_until_active(page)


def wait_until_active(page: Page) -> None:
    """Wait until the open page of a bay says by itself, without being loaded anew, that it is active and nothing runs."""
    expect(page.locator(".bay-title .status")).to_have_text(re.compile("Active"), timeout=BAY_IS_READY_WITHIN)
    expect(page.locator(".progress-card")).to_have_count(0)


def download_bundle(page: Page, folder: Path) -> Path:
    """Download the credentials of the bay whose page is open, and return where the zip lies."""
    page.get_by_role("link", name="Get access").click()
    with page.expect_download() as started:
        page.get_by_role("button", name=re.compile("^Download .*zip")).click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def resize_bay(page: Page, count: int) -> None:
    """Change the number of hosts of the bay whose page is open, past the page that asks to confirm."""
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Hosts", exact=True).fill(str(count))
    page.get_by_role("button", name="Review").click()
    page.get_by_role("button", name=f"Resize to {count}").click()
    wait_until_active(page)


def delete_bay(page: Page, name: str) -> None:
    """Delete the bay whose page is open by typing its name, and wait until its list says that it is gone."""
    page.get_by_role("link", name="Settings").click()
    page.get_by_label(f"Type “{name}” to confirm").fill(name)
    page.get_by_role("button", name="Delete bay").click()
    expect(page.get_by_text(f"{name} is deleted.")).to_be_visible(timeout=BAY_IS_READY_WITHIN)


class Watch:
    """Collects what a browser complains about: errors of scripts, refusals of the content policy, files that were not found."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))

    def _note(self, kind: str, text: str) -> None:
        # A line for every answer of 4xx is the browser's way, and pages that show a refusal have that status on purpose;
        # htmx writes one when a page is left while it looks again.
        expected = "status of 4" in text or text.startswith(("htmx:sendAbort", "htmx:afterRequest"))
        if kind in {"error", "warning"} and not expected:
            self.complaints.append(f"{kind}: {text}")


SETTLED = """async () => {
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    const ends = document.getAnimations().filter(each => each.effect.getComputedTiming().endTime !== Infinity);
    await Promise.all(ends.map(each => each.finished.catch(() => {})));
}"""
"""Waits until colours have stopped changing: a button on its way from light to dark has the contrast of neither."""


def serious_faults(page: Page, axe: str) -> list[str]:
    """Return what axe-core finds serious or critical on the open page, one line each."""
    page.evaluate(SETTLED)
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{page.url}: {rule['id']} at {node['target']}: {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
    ]


def too_wide(page: Page) -> list[str]:
    """Return a line if the open page has to be scrolled sideways."""
    over, width = page.evaluate("[document.documentElement.scrollWidth - innerWidth, innerWidth]")
    return [f"{page.url} is {over} px wider than the window of {width} px"] if over > 0 else []


def take(page: Page, name: str) -> None:
    """Keep a picture of the whole open page for people to look at."""
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def look_at(page: Page, axe: str, name: str) -> None:
    """Judge the open page as a machine does and take the pictures that people look at: light and dark, on a desk and on a phone."""
    faults = []
    for scheme in COLOURS:
        page.emulate_media(color_scheme=scheme)
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            faults += serious_faults(page, axe)
            faults += too_wide(page)
            take(page, f"{name}-{scheme}-{size['width']}")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESKTOP)
    assert not faults, "\n".join(faults)


def transferred(*, base_url: str, path: str) -> tuple[int, int]:
    """Return (bytes of the page, bytes of it and all files it loads), compressed as they go over the wire."""
    with httpx.Client(base_url=base_url, headers={"Accept-Encoding": "gzip"}) as client:
        page = client.get(path)
        wanted = [*re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text), *_modules(client, page.text)]
        return len(page.content), _wire(client, path) + sum(_wire(client, url) for url in set(wanted))


def _modules(client: httpx.Client, html: str) -> list[str]:
    entry = re.search(r'type="module" src="([^"]+)"', html)
    if entry is None:
        return []
    folder = entry[1].rpartition("/")[0]
    return [f"{folder}/{name}" for name in re.findall(r'from\s*"\./([^"]+)"', client.get(entry[1]).text)]


def _wire(client: httpx.Client, url: str) -> int:
    with client.stream("GET", url) as answer:
        answer.raise_for_status()
        return sum(len(chunk) for chunk in answer.iter_raw())
