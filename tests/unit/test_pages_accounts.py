"""Pages of people: signing up and in, the mails of a stack without a mail server, tokens, organisation, and pages for what goes wrong."""

import re
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from pytest_django import Settings
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.common.mailbox import FolderBackend
from apps.dashboard.errors import server_error
from apps.dashboard.views import with_links
from apps.tenants.models import ApiToken, Tenant
from apps.tenants.tokens import find_token
from carina_portal.urls import urlpatterns as portal_patterns
from tests.factories import make_bay, make_cloud, make_flavor, make_tenant, make_user

PASSWORD = "a plank of cedar 42"
EMAIL = "ann@example.com"


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret detail")


def refusing(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("Ask an owner.")


urlpatterns = [*portal_patterns, path("broken", broken), path("refusing", refusing)]
handler403 = "apps.dashboard.errors.forbidden"
handler500 = "apps.dashboard.errors.server_error"


@pytest.fixture(autouse=True)
def _nothing_is_throttled(settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = False


def verified_user(email: str = EMAIL) -> Tenant:
    user = make_user(email, password=PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return make_tenant("ann", owner=user)


def sign_in(client: Client, **more: str) -> HttpResponse:
    return client.post("/account/login/", {"login": EMAIL, "password": PASSWORD, **more})  # type: ignore[return-value]


@pytest.mark.django_db
def test_signing_up_verifies_by_a_button_and_leads_to_the_create_form(client: Client) -> None:
    assertRedirects(client.post("/account/signup/", {"email": EMAIL, "password1": PASSWORD}), "/account/confirm-email/")
    link = re.search(r"http://testserver(/account/confirm-email/\S+)", str(mail.outbox[0].body))
    assert link
    for _ in range(3):
        assertContains(client.get(link[1]), "Yes, confirm")
        assert not EmailAddress.objects.get().verified, "opening the link, as mail scanners do, must not use it up"
    client.post(link[1])
    assert EmailAddress.objects.get().verified
    assertRedirects(client.get("/"), "/t/ann/bays/new", fetch_redirect_response=False)
    assertContains(client.get("/t/ann/bays/new"), "Create a bay")


@pytest.mark.django_db
def test_a_wrong_address_and_a_weak_password_are_said_beside_the_fields_and_the_address_is_kept(client: Client) -> None:
    answer = client.post("/account/signup/", {"email": "ann@", "password1": "short"})
    for words in ('id="id_email_error"', 'id="id_password1_error"', 'value="ann@"'):
        assertContains(answer, words)
    assertNotContains(answer, 'value="short"')


@pytest.mark.django_db
def test_a_link_that_was_never_sent_does_not_work_and_says_what_to_do(client: Client) -> None:
    assertContains(client.get("/account/confirm-email/nonsense/"), "This link does not work")


@pytest.mark.django_db
def test_signing_in_goes_where_one_wanted_but_never_to_another_site(client: Client) -> None:
    verified_user()
    assertRedirects(sign_in(client, next="/t/ann/tokens/"), "/t/ann/tokens/")
    for evil in ("https://evil.example/", "//evil.example/", "https:evil.example", "/\\evil.example", "javascript:alert(1)"):
        client.logout()
        assert sign_in(client, next=evil)["Location"] == "/", evil


@pytest.mark.django_db
def test_a_wrong_password_is_refused_without_telling_whether_the_account_exists(client: Client) -> None:
    verified_user()
    known = client.post("/account/login/", {"login": EMAIL, "password": "wrong"})
    unknown = client.post("/account/login/", {"login": "nobody@example.com", "password": "wrong"})
    sentence = "The email address and/or password you specified are not correct."
    assertContains(known, sentence)
    assertContains(unknown, sentence)


@pytest.mark.django_db
def test_a_forgotten_password_is_replaced_by_a_mailed_link(client: Client) -> None:
    verified_user()
    client.post("/account/password/reset/", {"email": EMAIL})
    link = re.search(r"http://testserver(/account/password/reset/key/\S+)", str(mail.outbox[0].body))
    assert link
    page = client.get(link[1], follow=True)
    assertContains(page, "Choose a new password")
    client.post(page.redirect_chain[-1][0], {"password1": "another plank 99", "password2": "another plank 99"})
    assert Client().post("/account/login/", {"login": EMAIL, "password": "another plank 99"}).status_code == 302


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address",
    [
        "login", "signup", "password/reset", "logout", "email", "password/change", "reauthenticate",
        "2fa", "2fa/webauthn", "sessions", "3rdparty",
    ],
)  # fmt: skip
def test_account_pages_are_ours_and_work_with_and_without_a_slash(client: Client, address: str) -> None:
    if address not in {"login", "signup", "password/reset"}:
        verified_user()
        sign_in(client)
    assertContains(client.get(f"/account/{address}/"), "carina/carina")
    assertRedirects(client.get(f"/account/{address}?next=/x"), f"/account/{address}/?next=/x", fetch_redirect_response=False)


@pytest.mark.django_db
def test_signing_out_needs_a_post(client: Client) -> None:
    verified_user()
    sign_in(client)
    assertContains(client.get("/account/logout/"), "Sign out?")
    assert "_auth_user_id" in client.session
    client.post("/account/logout/")
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_home_says_what_this_is_and_whoever_has_bays_lands_on_them(client: Client) -> None:
    assertContains(client.get("/"), "Your own container cluster")
    tenant = verified_user()
    make_cloud()
    make_flavor()
    make_bay(tenant)
    sign_in(client)
    assertRedirects(client.get("/"), "/t/ann/bays/")


@pytest.mark.django_db
def test_mails_are_on_a_page_only_where_they_are_written_to_a_folder(client: Client, settings: Settings, tmp_path: Path) -> None:
    settings.MAIL_DIR = tmp_path
    text = "Open http://127.0.0.1:1/x?a=1&b=2 now <script>alert(1)</script>"
    FolderBackend().send_messages([mail.EmailMessage("Hello <b>", text, "carina@localhost", [EMAIL])])
    assertContains(client.get("/mail/"), "Hello &lt;b&gt;")
    one = client.get(f"/mail/{next(tmp_path.iterdir()).stem}")
    assertContains(one, '<a href="http://127.0.0.1:1/x?a=1&amp;b=2">')
    assertNotContains(one, "<script>alert")
    assert client.get("/mail/..%2Fsecret").status_code == 404
    settings.MAIL_DIR = None
    assert client.get("/mail/").status_code == 404
    assertNotContains(client.get("/"), "Mails of this portal")


@pytest.mark.django_db
def test_mails_are_shown_to_nobody_from_another_machine_but_an_operator(client: Client, settings: Settings, tmp_path: Path) -> None:
    settings.MAIL_DIR = tmp_path
    FolderBackend().send_messages([mail.EmailMessage("Reset", "a link that opens an account", "carina@localhost", [EMAIL])])
    page = f"/mail/{next(tmp_path.iterdir()).stem}"
    for address in ("/mail/", page):
        assert client.get(address).status_code == 200
        assert client.get(address, REMOTE_ADDR="192.0.2.7").status_code == 404
        assert client.get(address, headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 404
    assertNotContains(client.get("/", REMOTE_ADDR="192.0.2.7"), "Mails of this portal")
    verified_user()
    User.objects.update(is_staff=True)
    sign_in(client)
    assert client.get(page, REMOTE_ADDR="192.0.2.7").status_code == 200


def test_only_web_addresses_become_links() -> None:
    assert str(with_links(text="javascript:alert(1) <a>")) == "javascript:alert(1) &lt;a&gt;"


@pytest.mark.django_db
def test_a_token_is_shown_once_works_and_can_be_revoked(client: Client) -> None:
    verified_user()
    sign_in(client)
    made = client.post("/t/ann/tokens/", {"name": "CI", "scopes": ["bay:read"], "expires_at": "30"})
    text = re.search(r"carina_[0-9A-Za-z]{46}", made.content.decode())
    assert text
    assert find_token(text=text[0], address=None)
    again = client.get("/t/ann/tokens/")
    assertNotContains(again, text[0])
    assertContains(again, "CI")
    client.post(f"/t/ann/tokens/{ApiToken.objects.get().id}/revoke")
    assert find_token(text=text[0], address=None) is None
    assertContains(client.get("/t/ann/tokens/"), "No tokens yet")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scopes": []}, "Choose at least one"),
        ({"scopes": ["root"]}, "root"),
        ({"name": "x" * 81}, "at most 80"),
        ({"expires_at": "999"}, "999"),
    ],
)
def test_a_token_that_is_not_allowed_is_refused_beside_the_field(client: Client, changes: dict[str, object], sentence: str) -> None:
    verified_user()
    sign_in(client)
    answer = client.post("/t/ann/tokens/", {"name": "CI", "scopes": ["bay:read"], "expires_at": "30", **changes})
    assertContains(answer, sentence, status_code=422)
    assert ApiToken.objects.count() == 0


@pytest.mark.django_db
def test_nobody_revokes_the_token_of_somebody_else(client: Client) -> None:
    verified_user()
    sign_in(client)
    client.post("/t/ann/tokens/", {"name": "CI", "scopes": ["bay:read"], "expires_at": "30"})
    other = make_user()
    make_tenant("other", owner=other)
    thief = Client()
    thief.force_login(other, backend="allauth.account.auth_backends.AuthenticationBackend")
    for tenant in ("ann", "other"):
        assert thief.post(f"/t/{tenant}/tokens/{ApiToken.objects.get().id}/revoke").status_code == 404
    assert ApiToken.objects.get().revoked_at is None


@pytest.mark.django_db
def test_an_organisation_shows_its_members_and_limits(client: Client) -> None:
    verified_user()
    sign_in(client)
    page = client.get("/t/ann/settings/")
    assertContains(page, EMAIL)
    assertContains(page, "0 of 10")


@pytest.mark.django_db
def test_what_is_not_there_is_said_in_our_style_with_the_id_of_the_request(client: Client) -> None:
    answer = client.get("/nowhere", headers={"X-Request-ID": "request-4711"})
    assertContains(answer, "There is nothing here", status_code=404)
    assertContains(answer, "request-4711", status_code=404)


@pytest.mark.urls(__name__)
def test_a_mistake_of_ours_shows_no_detail_but_the_id_and_needs_no_database(settings: Settings) -> None:
    client = Client(raise_request_exception=False)
    answer = client.get("/broken", headers={"X-Request-ID": "request-4711"})
    assertContains(answer, "Something broke on our side", status_code=500)
    assertContains(answer, "request-4711", status_code=500)
    assertNotContains(answer, "secret detail", status_code=500)


@pytest.mark.urls(__name__)
def test_a_refusal_says_its_sentence(client: Client) -> None:
    assertContains(client.get("/refusing"), "Ask an owner.", status_code=403)


def test_a_database_that_does_not_answer_is_503_and_worth_a_second_try(rf: RequestFactory) -> None:
    def ask() -> None:
        raise OperationalError("could not connect to server at 10.0.0.1")

    try:
        ask()
    except OperationalError:
        answer = server_error(rf.get("/"))
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert b"10.0.0.1" not in answer.content


@pytest.mark.django_db
def test_a_form_without_its_proof_is_refused_and_says_why() -> None:
    answer = Client(enforce_csrf_checks=True).post("/account/login/", {"login": EMAIL, "password": PASSWORD})
    assertContains(answer, "This form is too old", status_code=403)


@pytest.mark.django_db
def test_pages_carry_the_strict_policy_and_no_inline_script_or_style(client: Client) -> None:
    verified_user()
    sign_in(client)
    make_cloud()
    make_flavor()
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    account = (
        "",
        "email/",
        "password/change/",
        "2fa/",
        "2fa/totp/activate/",
        "2fa/webauthn/",
        "2fa/webauthn/add/",
        "sessions/",
        "3rdparty/",
    )
    for address in ("/t/ann/bays/", "/t/ann/bays/new", "/t/ann/tokens/", *(f"/account/{page}" for page in account)):
        answer = client.get(address)
        assert answer.status_code == 200, address
        page = answer.content.decode()
        assert "script-src 'self'" in answer["Content-Security-Policy"]
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|<script(?![^>]*\ssrc=)", page), address
        assert len(answer.content) < 40_000, address
