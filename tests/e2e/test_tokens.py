"""API tokens and service accounts in a real browser, on a portal without hosts: made, used, revoked, and looked at."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from carina_portal.embedded.stack import Stack
from tests.conftest import free_port
from tests.e2e import journey


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a portal of its own: tokens need no hosts."""
    with Stack(var=tmp_path_factory.mktemp("portal"), port=free_port(), incus=False) as stack:
        yield stack.base_url


def answer_to(base: str, token: str) -> int:
    return httpx.get(f"{base}/api/v1/tenants", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_token_is_made_used_and_revoked(base: str, page: Page, axe: str) -> None:
    journey.sign_up(page, base, journey.new_address())
    page.get_by_role("link", name="API tokens", exact=True).first.click()
    expect(page.get_by_role("heading", name="No tokens yet")).to_be_visible()
    journey.look_at(page, axe, "tokens-none")
    page.get_by_label("What it is for").fill("CI")
    page.get_by_label("bay:delete").uncheck()
    page.get_by_label("Valid for").select_option("30")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("heading", name="Your new token “CI”")).to_be_visible()
    token = page.locator("#new-token").inner_text().strip()
    assert re.fullmatch(r"carina_[0-9A-Za-z]{46}", token)
    journey.look_at(page, axe, "tokens-new")
    assert answer_to(base, token) == 200
    page.get_by_role("link", name="Mine").click()
    expect(page.get_by_role("row", name="CI")).to_contain_text("127.0.0.1")
    assert token not in page.content()
    journey.look_at(page, axe, "tokens")
    page.get_by_role("button", name="Revoke CI").click()
    expect(page.get_by_text("The token is revoked")).to_be_visible()
    expect(page.get_by_role("heading", name="No tokens yet")).to_be_visible()
    assert answer_to(base, token) == 401
    journey.look_at(page, axe, "tokens-revoked")


def test_a_program_gets_an_account_and_a_token_and_loses_both(base: str, page: Page, axe: str) -> None:
    journey.sign_up(page, base, journey.new_address())
    page.get_by_role("link", name="API tokens", exact=True).first.click()
    page.get_by_role("link", name="Service accounts").click()
    journey.look_at(page, axe, "service-accounts-none")
    page.get_by_label("Name").fill("No Spaces")
    page.get_by_role("button", name="Create service account").click()
    expect(page.get_by_text("lower-case letters a-z").first).to_be_visible()
    page.get_by_label("Name").fill("ci")
    page.get_by_label("Role").select_option("operator")
    page.get_by_role("button", name="Create service account").click()
    expect(page.get_by_role("heading", name="ci", exact=True)).to_be_visible()
    page.get_by_label("What it is for").fill("deploy")
    page.get_by_label("Valid for").select_option("365")
    page.get_by_role("button", name="Create token").click()
    token = page.locator("#new-token").inner_text().strip()
    assert answer_to(base, token) == 200
    journey.look_at(page, axe, "service-account")
    page.get_by_role("link", name="Service accounts").first.click()
    journey.look_at(page, axe, "service-accounts")
    page.get_by_role("link", name="Everyone's").click()
    journey.look_at(page, axe, "tokens-everyone")
    page.get_by_label("Longest lifetime in days").fill("30")
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_text("One token is valid for longer")).to_be_visible()
    journey.look_at(page, axe, "tokens-maximum")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_text("1 token was cut to it.")).to_be_visible()
    expect(page.get_by_role("row", name="deploy")).to_contain_text("in 30 days")
    page.get_by_role("row", name="deploy").get_by_role("link", name="ci").click()
    page.get_by_label("Type “ci” to confirm").fill("ci")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("ci is deleted")).to_be_visible()
    assert answer_to(base, token) == 401
    journey.look_at(page, axe, "service-accounts-deleted")
