"""Accounts in a real browser: signing up, second factors, passkeys in a virtual authenticator, recovery codes, sessions, single sign-on."""

import re
from collections.abc import Iterator

import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings

from tests.doubles.identity_provider import serving
from tests.e2e import journey
from tests.factories import make_cloud, make_flavor
from tests.people import PASSWORD, fresh_code, make_person

pytestmark = pytest.mark.django_db(transaction=True)
ANN = "ann@example.com"


@pytest.fixture
def authenticator(page: Page) -> Iterator[str]:
    """A device that holds passkeys and whose owner always says yes."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }  # fmt: skip
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield made["authenticatorId"]
    session.detach()


def sign_in(page: Page, site: str, email: str = ANN) -> None:
    page.goto(f"{site}/account/login/?next=/account/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/account/($|2fa|inactive)"))


def sign_out(page: Page, site: str) -> None:
    page.goto(f"{site}/account/logout/")
    page.get_by_role("main").get_by_role("button", name="Sign out").click()


def confirm(page: Page) -> None:
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()


def set_up_app(page: Page) -> str:
    """Set up an authenticator app from the open page on; ends on the recovery codes. Returns the secret."""
    secret = page.locator("#totp-secret").inner_text().strip()
    page.get_by_label("Code", exact=True).fill(fresh_code(secret))
    page.get_by_role("button", name="Turn it on").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    return secret


def add_passkey(page: Page, site: str, *, alone: bool = True) -> None:
    page.goto(f"{site}/account/2fa/webauthn/add/")
    if page.get_by_role("button", name="Confirm").count():
        confirm(page)
    page.get_by_label("Name").fill("blue key")
    page.get_by_label("Sign in with it alone").set_checked(alone)
    page.get_by_role("button", name="Add the passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()


def test_signing_up_by_a_mailed_link_leads_to_the_first_bay(page: Page, site: str, axe: str) -> None:
    make_cloud()
    make_flavor()
    journey.sign_up(page, site, ANN)
    assert journey.serious_faults(page, axe) == []
    page.goto(f"{site}/account/")
    expect(page.get_by_text("Only a password protects this account")).to_be_visible()
    journey.look_at(page, axe, "account-home")


def test_an_authenticator_app_is_set_up_and_asked_for_at_the_next_sign_in(page: Page, site: str, axe: str) -> None:
    make_person()
    sign_in(page, site)
    page.goto(f"{site}/account/2fa/")
    journey.look_at(page, axe, "account-two-factor-off")
    page.goto(f"{site}/account/2fa/totp/activate/")
    journey.look_at(page, axe, "account-confirm")
    confirm(page)
    journey.look_at(page, axe, "account-app")
    image = page.get_by_alt_text(re.compile("QR code"))
    assert image.evaluate("image => image.complete && image.naturalWidth > 0"), "the content policy lets the QR code be seen"
    secret = set_up_app(page)
    journey.look_at(page, axe, "account-recovery-codes")
    sign_out(page, site)
    cache.clear()
    sign_in(page, site)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    journey.look_at(page, axe, "account-second-step")
    page.get_by_label("Code").fill(fresh_code(secret))
    page.get_by_role("button", name="Continue").click()
    page.goto(f"{site}/account/2fa/")
    expect(page.get_by_role("link", name="Remove the app")).to_be_visible()
    journey.look_at(page, axe, "account-two-factor-on")


def test_a_passkey_signs_in_without_a_password(page: Page, site: str, axe: str, authenticator: str) -> None:
    make_person()
    sign_in(page, site)
    page.goto(f"{site}/account/2fa/webauthn/add/")
    confirm(page)
    journey.look_at(page, axe, "account-passkey-new")
    add_passkey(page, site)
    sign_out(page, site)
    page.goto(f"{site}/account/login/?next=/account/2fa/webauthn/")
    journey.look_at(page, axe, "account-sign-in")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Passkeys")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="blue key")).to_contain_text("signs in by itself")
    journey.look_at(page, axe, "account-passkeys")


def test_a_passkey_is_a_second_step_after_the_password_and_confirms_again(page: Page, site: str, axe: str, authenticator: str) -> None:
    make_person()
    sign_in(page, site)
    add_passkey(page, site, alone=False)
    sign_out(page, site)
    sign_in(page, site)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    page.goto(f"{site}/account/2fa/webauthn/reauthenticate/?next=/account/2fa/webauthn/")
    assert journey.serious_faults(page, axe) == []
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_role("link", name="Remove blue key").click()
    page.get_by_role("button", name="Remove the passkey").click()
    expect(page.get_by_role("heading", name="No passkeys yet")).to_be_visible()
    assert journey.serious_faults(page, axe) == []


def test_a_passkey_that_is_not_there_is_explained_and_the_password_still_works(page: Page, site: str, axe: str, authenticator: str) -> None:
    make_person()
    page.goto(f"{site}/account/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("No passkey was used", timeout=70_000)
    assert journey.serious_faults(page, axe) == []
    sign_in(page, site)
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()


def test_under_a_number_instead_of_a_name_passkeys_are_explained(page: Page, site: str, axe: str) -> None:
    make_person()
    numbered = site.replace("localhost", "127.0.0.1")
    sign_in(page, numbered)
    expect(page.get_by_role("button", name="Use a passkey")).to_have_count(0)
    page.goto(f"{numbered}/account/2fa/webauthn/")
    expect(page.get_by_role("main").get_by_text("http://localhost:")).to_be_visible()
    assert journey.serious_faults(page, axe) == []


def test_a_recovery_code_lets_in_once(page: Page, site: str, axe: str) -> None:
    make_person()
    sign_in(page, site)
    page.goto(f"{site}/account/2fa/totp/activate/")
    confirm(page)
    set_up_app(page)
    code = page.locator("#recovery-codes").inner_text().split()[0]
    for expected in ("Your account", "One more step"):
        sign_out(page, site)
        sign_in(page, site)
        page.get_by_label("Code").fill(code)
        page.get_by_role("button", name="Continue").click()
        page.goto(f"{site}/account/") if expected == "Your account" else None
        expect(page.get_by_role("heading", name=expected)).to_be_visible()
        assert journey.serious_faults(page, axe) == []
    expect(page.get_by_text("This is not right")).to_be_visible()
    journey.look_at(page, axe, "account-second-step-wrong")


def test_another_session_is_seen_and_signed_out(page: Page, site: str, axe: str, browser: Browser) -> None:
    make_person()
    sign_in(page, site)
    elsewhere = browser.new_context(locale="en", user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Safari/605.1")
    other = elsewhere.new_page()
    sign_in(other, site)
    page.goto(f"{site}/account/sessions/")
    expect(page.get_by_role("row")).to_have_count(3)
    journey.look_at(page, axe, "account-sessions")
    page.get_by_role("button", name="Sign out Safari on iPhone").click()
    expect(page.get_by_text("That session is signed out")).to_be_visible()
    other.goto(f"{site}/account/")
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    elsewhere.close()
    assert journey.serious_faults(page, axe) == []


def test_the_address_is_changed_by_a_mailed_link(page: Page, site: str, axe: str) -> None:
    make_person()
    sign_in(page, site)
    page.goto(f"{site}/account/email/")
    page.get_by_label("New e-mail address").fill("ann@new.example")
    page.get_by_role("button", name="Change the address").click()
    confirm(page)
    expect(page.get_by_text("Waits for its link")).to_be_visible()
    journey.look_at(page, axe, "account-email")
    journey.open_mail(page, "ann@new.example")
    page.locator(".mail-body a").click()
    page.get_by_role("button", name="Yes, confirm").click()
    expect(page.get_by_text("ann@new.example is confirmed")).to_be_visible()
    expect(page.get_by_role("main")).not_to_contain_text(ANN)
    assert journey.serious_faults(page, axe) == []


def test_a_person_of_the_company_comes_in_by_its_provider(page: Page, site: str, axe: str, settings: Settings) -> None:
    with serving() as provider:
        settings.OIDC_ISSUER, settings.OIDC_NAME = provider.url, "Harbour"
        settings.SOCIALACCOUNT_PROVIDERS = provider.settings()
        page.goto(f"{site}/account/login/?next=/account/")
        journey.look_at(page, axe, "account-sign-in-with-provider")
        page.get_by_role("button", name="Continue with Harbour").click()
        expect(page.get_by_role("heading", name="Your account")).to_be_visible()
        page.get_by_role("link", name="Connected").first.click()
        expect(page.get_by_role("button", name="Disconnect")).to_be_visible()
        journey.look_at(page, axe, "account-connected")


def test_the_provider_does_not_open_an_account_that_is_there_and_says_why(page: Page, site: str, axe: str, settings: Settings) -> None:
    make_person()
    with serving() as provider:
        settings.OIDC_ISSUER, settings.OIDC_NAME = provider.url, "Harbour"
        settings.SOCIALACCOUNT_PROVIDERS = provider.settings()
        page.goto(f"{site}/account/login/")
        page.get_by_role("button", name="Continue with Harbour").click()
        expect(page.get_by_role("heading", name="You have an account already")).to_be_visible()
        journey.look_at(page, axe, "account-provider-address-in-use")


def test_the_password_page_and_the_page_of_who_is_switched_off(page: Page, site: str, axe: str) -> None:
    ann = make_person()
    sign_in(page, site)
    page.goto(f"{site}/account/password/change/")
    journey.look_at(page, axe, "account-password")
    ann.is_active = False
    ann.save()
    sign_in(page, site)
    expect(page.get_by_role("heading", name="This account is switched off")).to_be_visible()
    journey.look_at(page, axe, "account-switched-off")
