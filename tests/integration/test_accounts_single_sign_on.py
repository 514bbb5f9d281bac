"""Single sign-on at a real OpenID Connect provider on loopback: who becomes whom, and what is refused."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from pytest_django import Settings
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.common.scope import as_system
from carina_portal import single_sign_on
from tests.doubles.identity_provider import IdentityProvider, serving
from tests.people import PASSWORD, add_app, confirmed, mails_to, make_person, sign_in
from tests.sites import nobody_tried_before

pytestmark = pytest.mark.django_db
START, BACK = "/account/oidc/sso/login/", "/account/oidc/sso/login/callback/"


@pytest.fixture(autouse=True)
def _nobody_tried_before(settings: Settings) -> None:
    nobody_tried_before(settings)


@pytest.fixture
def provider(settings: Settings) -> Iterator[IdentityProvider]:
    with serving() as served:
        settings.OIDC_ISSUER, settings.OIDC_NAME = served.url, "Harbour"
        settings.SOCIALACCOUNT_PROVIDERS = served.settings()
        yield served


def begin(client: Client, query: str = "", **form: str) -> str:
    """Press the button and return where the page leads: the provider."""
    page = client.post(START + query, form).content.decode()
    found = re.search(r'http-equiv="refresh"\s+content="0;url=([^"]+)"', page)
    assert found, page
    return found[1].replace("&amp;", "&")


def come_back(client: Client, target: str) -> Any:
    """Go through the provider as a browser does, and return the portal's answer."""
    url = urlsplit(httpx.get(target).headers["Location"])
    assert url.path == BACK
    return client.get(f"{url.path}?{url.query}")


def go_through(client: Client, query: str = "", **form: str) -> Any:
    return come_back(client, begin(client, query, **form))


def test_a_new_person_with_a_verified_address_has_an_account_and_is_signed_in(provider: IdentityProvider) -> None:
    provider.person["email"] = "Ann@Example.com"
    client = Client()
    assertRedirects(go_through(client), "/", fetch_redirect_response=False)
    user = User.objects.get()
    assert user.email == "ann@example.com"
    assert not user.has_usable_password()
    assert EmailAddress.objects.get().verified
    assert client.session["_auth_user_id"] == str(user.pk)
    again = Client()
    go_through(again)
    assert again.session["_auth_user_id"] == str(user.pk), "next time it is the same account"
    assert not SocialToken.objects.exists(), "the provider's tokens are not kept"


@pytest.mark.parametrize("said", [False, None, "false", "no", 0, 1, "missing"])
def test_an_address_that_is_not_verified_is_linked_to_nobody(provider: IdentityProvider, said: object) -> None:
    provider.person["email_verified"] = said
    if said == "missing":
        del provider.person["email_verified"]
    client = Client()
    assertContains(go_through(client), "Your address is not verified", status_code=403)
    assert not User.objects.exists()
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("email", ["", "ann@", "x@service.invalid", None])
def test_an_address_that_is_none_is_linked_to_nobody(provider: IdentityProvider, email: str | None) -> None:
    provider.person["email"] = email
    assertContains(go_through(Client()), "Your address is not verified", status_code=403)
    assert not User.objects.exists()


def test_an_address_with_an_account_is_explained_and_not_taken_over(provider: IdentityProvider) -> None:
    make_person()
    client = Client()
    page = go_through(client)
    assertContains(page, "You have an account already", status_code=403)
    assertContains(page, "/account/login/?next=/account/3rdparty/", status_code=403)
    assert not SocialAccount.objects.exists()
    assert "_auth_user_id" not in client.session


def test_whether_an_unverified_address_has_an_account_is_not_told(provider: IdentityProvider) -> None:
    provider.person["email_verified"] = False
    before = go_through(Client())
    make_person()
    after = go_through(Client())
    assertContains(before, "Your address is not verified", status_code=403)
    assertNotContains(after, "You have an account", status_code=403)


def test_who_is_signed_in_connects_the_provider_after_the_password_again(provider: IdentityProvider) -> None:
    ann = make_person()
    client, _ = sign_in()
    assertContains(client.get("/account/3rdparty/"), "Connect Harbour")
    answer = go_through(client, "?process=connect")
    assertRedirects(answer, "/account/reauthenticate/", fetch_redirect_response=False)
    assert not SocialAccount.objects.exists()
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    assert SocialAccount.objects.get().user == ann
    assert mails_to("ann@example.com")[-1].subject.startswith("Another sign-in was connected")
    other = Client()
    go_through(other)
    assert other.session["_auth_user_id"] == str(ann.pk)
    with as_system("test"):
        assert AuditEvent.objects.filter(action="account.sign_in_connected", actor_id=str(ann.id)).count() == 1


def test_a_person_of_the_provider_without_verified_address_is_not_connected_either(provider: IdentityProvider) -> None:
    make_person()
    provider.person["email_verified"] = False
    client = confirmed(sign_in()[0])
    assertContains(go_through(client, "?process=connect"), "Your address is not verified", status_code=403)
    assert not SocialAccount.objects.exists()


def test_one_person_of_the_provider_opens_one_account(provider: IdentityProvider) -> None:
    make_person()
    client = confirmed(sign_in()[0])
    go_through(client, "?process=connect")
    make_person("ben@example.com")
    thief = confirmed(sign_in("ben@example.com")[0])
    assertContains(thief.get(go_through(thief, "?process=connect")["Location"]), "opens another account already")
    assert SocialAccount.objects.get().user.email == "ann@example.com"


def test_disconnecting_needs_another_way_in(provider: IdentityProvider) -> None:
    client = Client()
    go_through(client)
    row = SocialAccount.objects.get()
    client.post("/account/3rdparty/", {"account": row.pk})
    assert SocialAccount.objects.exists(), "without a password nobody could get in any more"
    User.objects.get().set_password(PASSWORD)
    user = User.objects.get()
    user.set_password(PASSWORD)
    user.save()
    client = confirmed(sign_in()[0])
    client.post("/account/3rdparty/", {"account": row.pk})
    assert not SocialAccount.objects.exists()


def test_the_second_factor_is_asked_for_after_the_provider_too(provider: IdentityProvider) -> None:
    make_person()
    client = confirmed(sign_in()[0])
    go_through(client, "?process=connect")
    add_app(client)
    later = Client()
    assertRedirects(go_through(later), "/account/2fa/authenticate/")
    assert "_auth_user_id" not in later.session


def test_who_is_switched_off_does_not_get_in_by_the_provider(provider: IdentityProvider) -> None:
    go_through(Client())
    User.objects.update(is_active=False)
    client = Client()
    assertRedirects(go_through(client), "/account/inactive/")
    assert "_auth_user_id" not in client.session


def test_an_answer_meant_for_another_browser_is_refused(provider: IdentityProvider) -> None:
    make_person()
    target = begin(Client())
    victim = Client()
    assertContains(come_back(victim, target), "Signing in did not work", status_code=401)
    assert "_auth_user_id" not in victim.session


def test_a_code_is_taken_once(provider: IdentityProvider) -> None:
    client = Client()
    url = urlsplit(httpx.get(begin(client)).headers["Location"])
    client.get(f"{url.path}?{url.query}")
    assertContains(client.get(f"{url.path}?{url.query}"), "Signing in did not work", status_code=401)


def test_a_token_for_somebody_else_is_refused(provider: IdentityProvider) -> None:
    provider.audience = "another portal"
    assertContains(go_through(Client()), "Signing in did not work", status_code=401)
    assert not User.objects.exists()


def test_two_stories_about_who_it_is_sign_in_nobody(provider: IdentityProvider) -> None:
    go_through(Client())
    victim = SocialAccount.objects.get()
    provider.told = dict(provider.person)
    provider.person = {**provider.person, "sub": "somebody else"}
    client = Client()
    assertContains(go_through(client), "two different stories", status_code=502)
    assert "_auth_user_id" not in client.session
    assert SocialAccount.objects.get() == victim


def test_who_says_no_at_the_provider_comes_back_to_a_page(provider: IdentityProvider) -> None:
    provider.denies = True
    client = Client()
    answer = go_through(client)
    assertContains(client.get(answer["Location"]), "You stopped signing in")


def test_a_provider_that_is_down_is_said_and_does_not_break_the_portal(provider: IdentityProvider, settings: Settings) -> None:
    broken = settings.SOCIALACCOUNT_PROVIDERS
    broken["openid_connect"]["APPS"][0]["settings"]["server_url"] = "http://127.0.0.1:9"
    settings.SOCIALACCOUNT_PROVIDERS = broken
    assertContains(Client(raise_request_exception=False).post(START), "Harbour does not answer", status_code=503)


def test_one_comes_back_to_where_one_wanted_but_never_to_another_site(provider: IdentityProvider) -> None:
    assert go_through(Client(), next="/account/sessions/")["Location"] == "/account/sessions/"
    for evil in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        assert go_through(Client(), next=evil)["Location"] == "/", evil


def test_a_link_alone_starts_nothing(provider: IdentityProvider) -> None:
    page = Client().get(START)
    assertContains(page, "Continue with Harbour")
    assertNotContains(page, provider.url)


def test_the_button_is_there_only_where_a_provider_is_configured(client: Client, provider: IdentityProvider, settings: Settings) -> None:
    assertContains(client.get("/account/login/"), "Continue with Harbour")
    assertContains(client.get("/account/signup/"), "Continue with Harbour")
    settings.OIDC_ISSUER, settings.OIDC_NAME, settings.SOCIALACCOUNT_PROVIDERS = "", "", {}
    assertNotContains(client.get("/account/login/"), "Continue with")
    assert client.post(START).status_code == 404
    assert client.get(BACK).status_code == 404


def test_tries_are_limited(provider: IdentityProvider) -> None:
    answers = [Client().post(START).status_code for _ in range(31)]
    assert answers == [200] * 30 + [429]


@pytest.mark.parametrize("issuer", ["http://login.example.com", "login.example.com", "ftp://login.example.com", "https://"])
def test_a_provider_is_reached_over_https_only(monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    monkeypatch.setenv("CARINA_OIDC_ISSUER", issuer)
    with pytest.raises(ImproperlyConfigured, match="https address"):
        single_sign_on.issuer()


def test_half_a_configuration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARINA_OIDC_ISSUER", "https://login.example.com/realms/a/")
    with pytest.raises(ImproperlyConfigured, match="CARINA_OIDC_CLIENT_ID"):
        single_sign_on.providers()
    monkeypatch.setenv("CARINA_OIDC_CLIENT_ID", "carina")
    with pytest.raises(ImproperlyConfigured, match="CARINA_OIDC_CLIENT_SECRET"):
        single_sign_on.providers()
    monkeypatch.setenv("CARINA_OIDC_CLIENT_SECRET", "between us")
    (app,) = single_sign_on.providers()["openid_connect"]["APPS"]
    assert app["settings"] == {"server_url": "https://login.example.com/realms/a"}
    assert app["name"] == "login.example.com"
    monkeypatch.delenv("CARINA_OIDC_ISSUER")
    assert single_sign_on.providers() == {}
