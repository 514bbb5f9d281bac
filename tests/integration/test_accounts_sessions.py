"""The list of one's sessions, and signing out one or all others."""

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from pytest_django import Settings
from pytest_django.asserts import assertContains, assertNotContains

from apps.accounts import middleware
from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.common.clock import now
from apps.common.scope import as_system
from tests.people import make_person, sign_in
from tests.sites import nobody_tried_before

pytestmark = pytest.mark.django_db
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Mobile Safari/537.36"


@pytest.fixture(autouse=True)
def _nobody_tried_before(settings: Settings) -> None:
    nobody_tried_before(settings)


@pytest.fixture
def ann() -> User:
    return make_person()


def test_each_device_is_listed_in_words(ann: User) -> None:
    here, _ = sign_in(**{"User-Agent": FIREFOX})
    sign_in(**{"User-Agent": CHROME})
    page = here.get("/account/sessions/")
    for words in ("Firefox on Linux", "Chrome on Android", "127.0.0.1", "this one"):
        assertContains(page, words)


def test_one_other_session_is_ended_at_once_and_only_that(ann: User) -> None:
    here, _ = sign_in()
    phone, _ = sign_in()
    desk, _ = sign_in()
    row = UserSession.objects.get(session_key=phone.session.session_key)
    assertContains(here.post(f"/account/sessions/{row.pk}/end", follow=True), "That session is signed out")
    assert phone.get("/account/").status_code == 302
    assert desk.get("/account/").status_code == here.get("/account/").status_code == 200
    with as_system("test"):
        assert AuditEvent.objects.filter(action="account.session_ended").count() == 1


def test_all_others_are_ended_at_once(ann: User) -> None:
    here, _ = sign_in()
    others = [sign_in()[0] for _ in range(2)]
    assertContains(here.post("/account/sessions/", follow=True), "All other sessions are ended")
    assert [other.get("/account/").status_code for other in others] == [302, 302]
    assert here.get("/account/").status_code == 200


def test_nobody_ends_the_session_of_somebody_else(ann: User) -> None:
    mine, _ = sign_in()
    make_person("ben@example.com")
    thief, _ = sign_in("ben@example.com")
    row = UserSession.objects.get(user=ann)
    assert thief.post(f"/account/sessions/{row.pk}/end").status_code == 404
    assert mine.get("/account/").status_code == 200
    assertNotContains(thief.get("/account/sessions/"), f"/account/sessions/{row.pk}/end")


def test_the_session_in_use_is_not_ended_from_the_list_and_never_by_a_link(ann: User) -> None:
    here, _ = sign_in()
    row = UserSession.objects.get()
    assertContains(here.post(f"/account/sessions/{row.pk}/end", follow=True), "This is the session you are using")
    assert here.get(f"/account/sessions/{row.pk}/end").status_code == 405


def test_last_seen_is_noted_but_not_with_every_page(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    here, _ = sign_in()
    long_ago = now() - timedelta(days=2)
    monkeypatch.setattr(middleware, "_noted", {})
    UserSession.objects.update(last_seen_at=long_ago)
    here.get("/account/", REMOTE_ADDR="192.0.2.7")
    row = UserSession.objects.get()
    assert now() - row.last_seen_at < timedelta(seconds=30)
    assert row.ip == "192.0.2.7"
    UserSession.objects.update(last_seen_at=long_ago)
    here.get("/account/")
    assert UserSession.objects.get().last_seen_at == long_ago


def test_a_session_that_ended_by_itself_is_not_listed(ann: User) -> None:
    here, _ = sign_in()
    gone, _ = sign_in()
    gone.session.flush()
    assertNotContains(here.get("/account/sessions/"), "End all other sessions")
