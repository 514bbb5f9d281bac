"""Second factors by form: authenticator apps and recovery codes. Passkeys need a browser: tests/e2e/test_accounts.py."""

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.mfa import has_second_factor
from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.common.scope import as_system
from apps.credentials.rotation import rotate_all
from tests.people import add_app, confirmed, fresh_code, link_in, mails_to, make_person, secret_shown_to, sign_in
from tests.sites import nobody_tried_before

pytestmark = pytest.mark.django_db
WRONG = "This is not right"


@pytest.fixture(autouse=True)
def _nobody_tried_before(settings: Settings) -> None:
    nobody_tried_before(settings)


@pytest.fixture
def ann() -> User:
    return make_person()


def recovery_codes(client: Client) -> list[str]:
    return client.get("/account/2fa/recovery-codes/download/").content.decode().split()


def first_step() -> Client:
    client, answer = sign_in()
    assertRedirects(answer, "/account/2fa/authenticate/")
    return client


def test_an_app_is_added_after_a_right_code_and_asked_for_at_the_next_sign_in(ann: User) -> None:
    client, _ = sign_in()
    secret_shown_to(confirmed(client))
    assertContains(client.post("/account/2fa/totp/activate/", {"code": "000000"}), WRONG)
    assert not has_second_factor(user=ann)
    secret = add_app(client)
    assert has_second_factor(user=ann)
    assertContains(client.get("/account/2fa/"), "Remove the app")
    cache.clear()  # the code is fresh again: half a minute later it would be another
    later = first_step()
    assert "_auth_user_id" not in later.session, "the password alone signs nobody in"
    assertContains(later.post("/account/2fa/authenticate/", {"code": "000000"}), WRONG)
    assertRedirects(later.post("/account/2fa/authenticate/", {"code": fresh_code(secret)}), "/", fetch_redirect_response=False)
    assert "_auth_user_id" in later.session


def test_a_code_works_once(ann: User) -> None:
    client, _ = sign_in()
    secret = add_app(client)
    code = fresh_code(secret)
    first = first_step()
    assert first.post("/account/2fa/authenticate/", {"code": code}).status_code == 302
    assertContains(first_step().post("/account/2fa/authenticate/", {"code": code}), WRONG)


def test_a_recovery_code_works_once_in_place_of_the_app(ann: User) -> None:
    client, _ = sign_in()
    add_app(client)
    codes = recovery_codes(client)
    assert len(codes) == 10
    lost = first_step()
    assertRedirects(lost.post("/account/2fa/authenticate/", {"code": codes[0]}), "/", fetch_redirect_response=False)
    assertContains(first_step().post("/account/2fa/authenticate/", {"code": codes[0]}), WRONG)
    assertContains(lost.get("/account/"), "9 codes left")


@pytest.mark.django_db(transaction=True)
def test_new_recovery_codes_end_the_old_ones(ann: User) -> None:
    client, _ = sign_in()
    add_app(client)
    old = recovery_codes(client)
    client.post("/account/2fa/recovery-codes/generate/")
    assert not set(old) & set(recovery_codes(client))
    assertContains(first_step().post("/account/2fa/authenticate/", {"code": old[0]}), WRONG)
    assert "New recovery codes" in mails_to(ann.email)[-1].subject


def test_factors_are_seen_and_changed_only_after_the_password_again(ann: User) -> None:
    client, _ = sign_in()
    for page in ("2fa/totp/activate/", "2fa/webauthn/add/"):
        assertRedirects(client.get(f"/account/{page}"), f"/account/reauthenticate/?next=/account/{page}", fetch_redirect_response=False)
    assertContains(client.post("/account/reauthenticate/", {"password": "wrong"}), "Confirm that it is you")
    assert client.get("/account/2fa/totp/activate/").status_code == 302
    add_app(client)
    codes = recovery_codes(client)
    again = first_step()
    again.post("/account/2fa/authenticate/", {"code": codes[0]})
    for page in ("2fa/totp/deactivate/", "2fa/recovery-codes/", "2fa/recovery-codes/generate/", "2fa/recovery-codes/download/"):
        assert again.get(f"/account/{page}")["Location"].startswith("/account/reauthenticate/"), page
    assert again.post("/account/2fa/totp/deactivate/").status_code == 302
    assert has_second_factor(user=ann), "a stolen session takes no factor away"


def test_without_factors_recovery_codes_go_too(ann: User) -> None:
    client, _ = sign_in()
    add_app(client)
    client.post("/account/2fa/totp/deactivate/")
    assert not Authenticator.objects.exists()
    assert not has_second_factor(user=ann)
    assertRedirects(sign_in()[1], "/", fetch_redirect_response=False)


def test_recovery_codes_alone_are_no_second_factor(ann: User) -> None:
    Authenticator.objects.create(user=ann, type=Authenticator.Type.RECOVERY_CODES, data={})
    assert not has_second_factor(user=ann)


def test_the_database_keeps_the_secrets_sealed(ann: User) -> None:
    client, _ = sign_in()
    secret = add_app(client)
    for factor in Authenticator.objects.all():
        kept = factor.data.get("secret") or factor.data["seed"]
        assert kept.startswith("v1."), factor.type
        assert secret not in kept


def test_a_new_key_of_the_vault_takes_the_factors_along(ann: User, settings: Settings) -> None:
    client, _ = sign_in()
    secret = add_app(client)
    codes = recovery_codes(client)
    old = settings.VAULT_KEYS
    settings.VAULT_KEYS = [("fresh", b"f" * 32), *old]
    (before,) = [column for column in rotate_all() if column.column == "mfa.Authenticator.data"]
    assert (before.moved, before.current, before.failures) == (2, 0, ())
    (again,) = [column for column in rotate_all() if column.column == "mfa.Authenticator.data"]
    assert (again.moved, again.current) == (0, 2)
    settings.VAULT_KEYS = settings.VAULT_KEYS[:1]
    cache.clear()
    assert first_step().post("/account/2fa/authenticate/", {"code": fresh_code(secret)}).status_code == 302
    assert first_step().post("/account/2fa/authenticate/", {"code": codes[0]}).status_code == 302
    settings.VAULT_KEYS = old
    (lost,) = [column for column in rotate_all() if column.column == "mfa.Authenticator.data"]
    assert len(lost.failures) == 2, "a key taken away too early is said, and nothing is overwritten"


@pytest.mark.django_db(transaction=True)
def test_the_owner_hears_of_every_change_and_the_audit_log_keeps_it(ann: User) -> None:
    client, _ = sign_in()
    add_app(client)
    client.post("/account/2fa/totp/deactivate/")
    subjects = [message.subject for message in mails_to(ann.email)]
    assert subjects == [
        "An authenticator app was added to your account at Carina",
        "The authenticator app was removed from your account at Carina",
    ]
    with as_system("test"):
        written = {(event.action, event.actor_id) for event in AuditEvent.objects.all()}
    assert {("account.factor_added", str(ann.id)), ("account.factor_removed", str(ann.id))} <= written


def test_guessing_codes_ends_after_a_few_tries_even_with_the_right_one(ann: User) -> None:
    client, _ = sign_in()
    secret = add_app(client)
    cache.clear()
    thief = first_step()
    for _ in range(5):
        thief.post("/account/2fa/authenticate/", {"code": "000000"})
    assertContains(thief.post("/account/2fa/authenticate/", {"code": fresh_code(secret)}), "Too many failed login attempts")
    assert "_auth_user_id" not in thief.session


def test_the_second_step_does_not_wait_for_ever(ann: User, settings: Settings) -> None:
    client, _ = sign_in()
    secret = add_app(client)
    settings.ACCOUNT_LOGIN_TIMEOUT = 0
    late, _ = sign_in()
    assertRedirects(late.post("/account/2fa/authenticate/", {"code": fresh_code(secret)}), "/account/login/", fetch_redirect_response=False)


def test_a_second_factor_stays_when_the_password_is_reset_by_mail(ann: User) -> None:
    client, _ = sign_in()
    add_app(client)
    cache.clear()
    visitor = Client()
    visitor.post("/account/password/reset/", {"email": ann.email})
    page = visitor.get(link_in(mails_to(ann.email)[-1]), follow=True)
    visitor.post(page.redirect_chain[-1][0], {"password1": "another plank 99", "password2": "another plank 99"})
    assertRedirects(sign_in(password="another plank 99")[1], "/account/2fa/authenticate/")


def test_a_member_of_staff_reaches_the_operators_desk_only_with_the_second_factor(ann: User) -> None:
    client, _ = sign_in()
    add_app(client)
    User.objects.update(is_staff=True, is_superuser=True)
    assert first_step().get("/admin/")["Location"].startswith("/admin/login/")


def test_the_pages_of_others_factors_are_not_there(ann: User) -> None:
    make_person("ben@example.com")
    factor = Authenticator.objects.create(user=ann, type=Authenticator.Type.WEBAUTHN, data={"name": "mine", "credential": {}})
    thief = confirmed(sign_in("ben@example.com")[0])
    for page in ("edit", "remove"):
        assert thief.get(f"/account/2fa/webauthn/keys/{factor.pk}/{page}/").status_code == 404
        assert thief.post(f"/account/2fa/webauthn/keys/{factor.pk}/{page}/", {"name": "his"}).status_code == 404
    assert Authenticator.objects.get().data["name"] == "mine"


@pytest.mark.parametrize("sent", ["", "nonsense", "{}", '{"id": 1}', "[]", "null", '{"response": {"userHandle": "AAAA"}}'])
def test_a_passkey_that_is_none_signs_nobody_in_and_breaks_nothing(ann: User, sent: str) -> None:
    client = Client(raise_request_exception=False)
    client.get("/account/2fa/webauthn/login/", headers={"Accept": "application/json"})
    answer = client.post("/account/2fa/webauthn/login/", {"credential": sent})
    assert answer.status_code in {302, 200, 400}, answer.status_code
    assert "_auth_user_id" not in client.session


def test_the_account_page_says_what_protects_it(ann: User) -> None:
    client, _ = sign_in()
    assertContains(client.get("/account/"), "Only a password protects this account")
    add_app(client)
    assertNotContains(client.get("/account/"), "Only a password protects this account")
    assert client.get("/account/")["Cache-Control"].startswith("max-age=0, no-cache, no-store")
