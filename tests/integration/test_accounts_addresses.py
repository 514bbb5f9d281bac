"""Addresses: changing one, and that no page tells a stranger which of them have accounts; who is switched off, and who is a program."""

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.addresses import is_service_address
from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.common.scope import as_system
from tests.factories import make_user
from tests.people import PASSWORD, confirmed, link_in, mails_to, make_person, sign_in
from tests.sites import nobody_tried_before

pytestmark = pytest.mark.django_db
NEW = "ann@new.example"


@pytest.fixture(autouse=True)
def _nobody_tried_before(settings: Settings) -> None:
    nobody_tried_before(settings)


@pytest.fixture
def ann() -> User:
    return make_person()


def change_to(client: Client, email: str) -> Any:
    return confirmed(client).post("/account/email/", {"email": email, "action_add": ""}, follow=True)


def words_of(answer: Any, *addresses: str) -> str:
    """Return the text of a page, without what is another on every page anyway."""
    text = answer.content.decode()
    for address in addresses:
        text = text.replace(address, "ADDRESS")
    return "\n".join(line for line in text.splitlines() if "csrfmiddlewaretoken" not in line and "Request" not in line)


def test_a_new_address_counts_when_its_owner_pressed_the_button_and_the_old_one_is_told(ann: User) -> None:
    client, _ = sign_in()
    assertContains(change_to(client, NEW), "Waits for its link")
    ann.refresh_from_db()
    assert ann.email == "ann@example.com"
    assert "_auth_user_id" not in sign_in(NEW)[0].session
    link = link_in(mails_to(NEW)[0])
    client.get(link)
    ann.refresh_from_db()
    assert ann.email == "ann@example.com", "a mail scanner that opens the link changes nothing"
    assertRedirects(client.post(link), "/account/email/", fetch_redirect_response=False)
    ann.refresh_from_db()
    assert ann.email == NEW
    assert [row.email for row in EmailAddress.objects.all()] == [NEW]
    told = mails_to("ann@example.com")[-1]
    assert told.subject == "Your address at Carina was changed"
    assert NEW in told.body
    assert "_auth_user_id" in sign_in(NEW)[0].session
    assert "_auth_user_id" not in sign_in("ann@example.com")[0].session
    with as_system("test"):
        assert AuditEvent.objects.filter(action="account.email_changed", actor_id=str(ann.id)).count() == 1


def test_changing_the_address_needs_the_password_again(ann: User) -> None:
    client, _ = sign_in()
    answer = client.post("/account/email/", {"email": NEW, "action_add": ""})
    assert answer["Location"].startswith("/account/reauthenticate/")
    assert not mails_to(NEW)


def test_a_change_can_be_called_off(ann: User) -> None:
    client, _ = sign_in()
    change_to(client, NEW)
    link = link_in(mails_to(NEW)[0])
    client.post("/account/email/", {"email": NEW, "action_remove": ""})
    client.post(link)
    ann.refresh_from_db()
    assert ann.email == "ann@example.com"


def test_an_address_that_is_only_being_changed_to_opens_nothing(ann: User) -> None:
    """Ann mistypes her new address: whoever has that mailbox must not get her account by “forgot your password”."""
    client, _ = sign_in()
    change_to(client, "other@new.example")
    mail.outbox.clear()
    Client().post("/account/password/reset/", {"email": "other@new.example"})
    assert "there is no account with this address" in mails_to("other@new.example")[0].body


def test_who_owns_an_address_signs_up_with_it_although_somebody_wants_to_change_to_it(ann: User) -> None:
    client, _ = sign_in()
    change_to(client, "ben@example.com")
    cache.clear()
    mail.outbox.clear()
    ben = Client()
    ben.post("/account/signup/", {"email": "ben@example.com", "password1": PASSWORD})
    ben.post(link_in(mails_to("ben@example.com")[0]))
    assert User.objects.get(email="ben@example.com") != ann
    assert not EmailAddress.objects.filter(user=ann, email="ben@example.com").exists()
    assert "_auth_user_id" in ben.session


def test_changing_to_anothers_address_looks_the_same_and_changes_nothing(ann: User) -> None:
    make_person("ben@example.com")
    free = change_to(sign_in()[0], "free@example.com")
    cache.clear()
    taken = change_to(sign_in()[0], "ben@example.com")
    assert words_of(free, "free@example.com") == words_of(taken, "ben@example.com")
    (told,) = mails_to("ben@example.com")
    assert "it has an account of its own already" in told.body
    assert "confirm-email" not in told.body


@pytest.mark.parametrize("first", ["unconfirmed", "confirmed"])
def test_a_link_that_comes_too_late_does_not_take_an_address_from_its_account(ann: User, first: str) -> None:
    client, _ = sign_in()
    change_to(client, NEW)
    link = link_in(mails_to(NEW)[0])
    make_person(NEW) if first == "confirmed" else make_user(NEW)
    page = client.post(link, follow=True)
    assertContains(page, "has an account of its own")
    ann.refresh_from_db()
    assert ann.email == "ann@example.com"


def test_signing_up_looks_the_same_with_and_without_an_account(ann: User) -> None:
    answers = {}
    for email in ("ann@example.com", "nobody@example.com"):
        client = Client()
        answer = client.post("/account/signup/", {"email": email, "password1": "another plank 99"})
        page = client.get(answer["Location"])
        answers[email] = (answer.status_code, answer["Location"], page.status_code, words_of(page, email), len(mails_to(email)))
    assert answers["ann@example.com"] == answers["nobody@example.com"]
    assert "it already has an account" in mails_to("ann@example.com")[0].body
    ann.refresh_from_db()
    assert ann.check_password(PASSWORD), "nobody sets a password by signing up again"


def test_signing_up_hashes_a_password_with_and_without_an_account(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr("apps.accounts.forms.make_password", hashed.append)
    Client().post("/account/signup/", {"email": "ann@example.com", "password1": "another plank 99"})
    assert hashed == ["another plank 99"]


def test_asking_for_a_password_looks_the_same_with_and_without_an_account(ann: User) -> None:
    make_person("off@example.com")
    User.objects.filter(email="off@example.com").update(is_active=False)
    answers = {}
    for email in ("ann@example.com", "nobody@example.com", "off@example.com"):
        client = Client()
        answer = client.post("/account/password/reset/", {"email": email})
        page = client.get(answer["Location"])
        answers[email] = (answer.status_code, answer["Location"], page.status_code, words_of(page, email), len(mails_to(email)))
    assert len(set(answers.values())) == 1


def test_a_wrong_password_looks_the_same_whoever_it_is(ann: User) -> None:
    make_person("off@example.com")
    User.objects.filter(email="off@example.com").update(is_active=False)
    make_user("service@service.invalid")
    addresses = ("ann@example.com", "nobody@example.com", "off@example.com", "service@service.invalid")
    pages = [sign_in(email, "wrong")[1] for email in addresses]
    texts = {words_of(page, *addresses) for page in pages}
    assert len(texts) == 1
    assertContains(pages[0], "are not correct")


def test_who_is_switched_off_is_told_after_the_right_password_and_by_mail(ann: User) -> None:
    session, _ = sign_in()
    User.objects.update(is_active=False)
    assertRedirects(session.get("/account/"), "/account/login/?next=/account/", fetch_redirect_response=False)
    client, answer = sign_in()
    assertRedirects(answer, "/account/inactive/")
    assertContains(client.get(answer["Location"]), "This account is switched off")
    assert "_auth_user_id" not in client.session
    Client().post("/account/password/reset/", {"email": "ann@example.com"})
    assert "The account is switched off" in mails_to("ann@example.com")[0].body


def test_a_service_account_neither_signs_in_nor_gets_mail_nor_a_password() -> None:
    program = make_person("11111111-2222-3333-4444-555555555555@service.invalid")
    program.is_service = True
    program.save()
    client, answer = sign_in(program.email)
    assert "_auth_user_id" not in client.session, "not even with a password somebody gave it"
    assertRedirects(answer, "/account/inactive/")
    page = Client().post("/account/password/reset/", {"email": program.email})
    assertContains(page, "belong to service accounts")
    assert mail.outbox == []


@pytest.mark.parametrize("email", ["x@service.invalid", "x@SERVICE.invalid", "X@Service.Invalid"])
def test_nobody_takes_an_address_of_service_accounts(ann: User, email: str) -> None:
    assert is_service_address(email=email)
    assertContains(Client().post("/account/signup/", {"email": email, "password1": PASSWORD}), "belong to service accounts")
    assertContains(change_to(sign_in()[0], email), "belong to service accounts")
    assert mail.outbox == []


def test_addresses_of_people_are_not_those_of_services() -> None:
    for email in ("a@example.com", "service.invalid@example.com", "a@myservice.invalid", "a@service.invalid.example"):
        assert not is_service_address(email=email), email


def test_changing_the_password_signs_out_the_other_devices_and_tells_the_owner(ann: User) -> None:
    other, _ = sign_in()
    client, _ = sign_in()
    client.post("/account/password/change/", {"oldpassword": PASSWORD, "password1": "another plank 99", "password2": "another plank 99"})
    assert client.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 302
    assert mails_to("ann@example.com")[-1].subject == "Your password at Carina was changed"


def test_resetting_the_password_signs_out_everywhere(ann: User) -> None:
    client, _ = sign_in()
    visitor = Client()
    visitor.post("/account/password/reset/", {"email": ann.email})
    page = visitor.get(link_in(mails_to(ann.email)[0]), follow=True)
    visitor.post(page.redirect_chain[-1][0], {"password1": "another plank 99", "password2": "another plank 99"})
    assert client.get("/account/").status_code == 302


TRIES = {
    "/account/signup/": ({"email": "{n}@example.com", "password1": PASSWORD}, 20),
    "/account/password/reset/": ({"email": "nobody@example.com"}, 5),
    "/account/login/": ({"login": "{n}@example.com", "password": ""}, 30),
}


@pytest.mark.parametrize("address", TRIES)
def test_tries_are_limited_and_the_page_says_so(address: str) -> None:
    fields, allowed = TRIES[address]
    client = Client()
    for number in range(allowed):
        answer = client.post(address, {name: text.replace("{n}", f"p{number}") for name, text in fields.items()})
        assert answer.status_code != 429, number
    page = client.post(address, fields)
    assertContains(page, "Too many tries", status_code=429)
    assertContains(page, "carina/carina", status_code=429)
    assertNotContains(page, "Traceback", status_code=429)


def test_guessing_one_password_ends_after_five_tries_from_wherever(ann: User) -> None:
    for number in range(5):
        Client().post("/account/login/", {"login": ann.email, "password": "wrong"}, REMOTE_ADDR=f"192.0.2.{number}")
    late = Client().post("/account/login/", {"login": ann.email, "password": PASSWORD}, REMOTE_ADDR="192.0.2.99")
    assertContains(late, "Too many failed login attempts")


def test_guessing_the_password_again_is_limited_too(ann: User) -> None:
    client, _ = sign_in()
    answers = [client.post("/account/reauthenticate/", {"password": "wrong"}).status_code for _ in range(11)]
    assert answers[-1] == 429
    assert 429 not in answers[:5]


def test_a_confirmation_link_is_mailed_once_in_three_minutes() -> None:
    for _ in range(3):
        Client().post("/account/signup/", {"email": "new@example.com", "password1": PASSWORD})
    assert len(mails_to("new@example.com")) == 1
