"""How long tokens live and how their hashes are kept: maxima, tokens made with tokens, peppers, warnings, failed attempts."""

import threading
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.common import clock
from apps.common.errors import InvalidInput
from apps.common.scope import as_system
from apps.tenants import token_warnings
from apps.tenants.models import ApiToken, Membership, Tenant
from apps.tenants.roles import Role
from apps.tenants.service_accounts import create_service_account, create_service_token
from apps.tenants.token_text import digests_of
from apps.tenants.token_warnings import warn_of_expiring
from tests.factories import Api, access_for, api_of, join, make_tenant, make_user, owner_of, token_for

pytestmark = pytest.mark.django_db
OLD, NEW = ("old", b"o" * 32), ("new", b"n" * 32)
DAY = timedelta(days=1)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("demo")


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.content
    problem: dict[str, Any] = answer.json()
    return problem


def age(row: ApiToken, *, left: timedelta, lived: timedelta = 30 * DAY) -> None:
    ApiToken.objects.filter(id=row.id).update(created_at=clock.now() - lived, expires_at=clock.now() + left)


# --- maxima -------------------------------------------------------------------------------------------------------------------


def test_an_owner_sees_how_many_tokens_a_new_maximum_would_cut_and_then_they_are_cut(tenant: Tenant) -> None:
    owner = api_of(tenant)
    token_for(tenant, lifetime=10 * DAY)
    token_for(tenant, lifetime=60 * DAY)
    considered = owner.get("tenants/demo/token-policy?max_token_days=30").json()
    assert considered == {"max_token_days": None, "effective_days": 365, "tokens_beyond": 2}
    assert ApiToken.objects.filter(expires_at__gt=clock.now() + 30 * DAY).count() == 2, "looking changes nothing"
    changed = owner.patch("tenants/demo/token-policy", {"max_token_days": 30}).json()
    assert changed == {"max_token_days": 30, "effective_days": 30, "tokens_beyond": 0}
    left = sorted((row.expires_at - clock.now()).total_seconds() / DAY.total_seconds() for row in ApiToken.objects.all())
    assert [round(days) for days in left] == [10, 30, 30]
    event = AuditEvent.objects.get(action="tenant.token_maximum_set")
    assert event.data == {"before": None, "after": 30, "tokens_cut": 2}


def test_tokens_of_other_organisations_are_not_cut(tenant: Tenant) -> None:
    other = make_tenant("other")
    token_for(other, lifetime=200 * DAY)
    before = ApiToken.objects.get().expires_at
    assert api_of(tenant).patch("tenants/demo/token-policy", {"max_token_days": 1}).status_code == 200
    assert ApiToken.objects.get(tenant=other).expires_at == before


def test_a_new_token_keeps_to_the_maximum_whether_it_says_an_expiry_or_not(tenant: Tenant) -> None:
    Tenant.objects.update(max_token_days=5)
    token_for(tenant)
    assert clock.now() + 4 * DAY < ApiToken.objects.get().expires_at <= clock.now() + 5 * DAY
    with pytest.raises(InvalidInput, match="at most 5 days ahead"):
        token_for(tenant, lifetime=6 * DAY)


@pytest.mark.parametrize("days", [0, -1, 366, "30", True, 1.5])
def test_a_maximum_that_cannot_be_is_refused(tenant: Tenant, days: Any) -> None:
    api = api_of(tenant)
    problem = api.patch("tenants/demo/token-policy", {"max_token_days": days})
    assert (problem.status_code, list(problem.json()["errors"])) == (422, ["max_token_days"])
    assert Tenant.objects.get().max_token_days is None


def test_only_those_who_manage_the_organisation_see_or_change_the_maximum(tenant: Tenant) -> None:
    bob = make_user()
    join(tenant, bob, role=Role.OPERATOR)
    member = api_of(tenant, bob)
    refused(member.get("tenants/demo/token-policy"), 403, "role_missing")
    refused(member.patch("tenants/demo/token-policy", {"max_token_days": 1}), 403, "role_missing")


def test_a_token_made_with_a_token_never_outlives_it(tenant: Tenant) -> None:
    api = api_of(tenant, lifetime=2 * DAY)
    parent = ApiToken.objects.get()
    child = api.post("tenants/demo/tokens", {"name": "child"}).json()
    assert datetime.fromisoformat(child["expires_at"]) <= parent.expires_at
    late = {"expires_at": (parent.expires_at + timedelta(minutes=1)).isoformat()}
    for path in ("tokens", "application-credentials"):
        problem = refused(api.post(f"tenants/demo/{path}", late), 422, "invalid")
        assert "the token you make it with" in problem["errors"]["expires_at"]


def test_at_most_a_hundred_tokens_of_one_user_are_valid_at_a_time(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.tenants.token_issue.MOST", 2)
    api = api_of(tenant)
    made = api.post("tenants/demo/tokens", {}).json()
    refused(api.post("tenants/demo/tokens", {}), 409, "too_many_tokens")
    assert api.delete(f"tenants/demo/tokens/{made['id']}").status_code == 204
    assert api.post("tenants/demo/tokens", {}).status_code == 201


# --- peppers ------------------------------------------------------------------------------------------------------------------


def test_a_token_moves_to_the_newest_pepper_when_it_is_used_and_then_needs_no_other(tenant: Tenant, settings: Settings) -> None:
    settings.TOKEN_PEPPERS = [OLD]
    used, unused = token_for(tenant), token_for(tenant)
    settings.TOKEN_PEPPERS = [NEW, OLD]
    assert Api(used).get("clouds").status_code == 200
    assert sorted(ApiToken.objects.values_list("pepper", flat=True)) == ["new", "old"]
    settings.TOKEN_PEPPERS = [NEW]
    assert Api(used).get("clouds").status_code == 200
    refused(Api(unused).get("clouds"), 401, "token_invalid")


def test_tokens_from_before_there_were_peppers_are_accepted_and_move(tenant: Tenant, settings: Settings) -> None:
    settings.TOKEN_PEPPERS = [NEW]
    text = token_for(tenant)
    ApiToken.objects.update(pepper="", digest=digests_of(text=text)[""])
    assert Api(text).get("clouds").status_code == 200
    row = ApiToken.objects.get()
    assert (row.pepper, row.digest) == ("new", digests_of(text=text)["new"])
    assert Api(text).get("clouds").status_code == 200


def test_a_hash_that_is_filed_under_another_pepper_opens_nothing(tenant: Tenant, settings: Settings) -> None:
    settings.TOKEN_PEPPERS = [NEW, OLD]
    text = token_for(tenant)
    ApiToken.objects.update(pepper="old")
    refused(Api(text).get("clouds"), 401, "token_invalid")


def test_the_operator_sees_how_many_tokens_each_pepper_still_has(tenant: Tenant, settings: Settings) -> None:
    settings.TOKEN_PEPPERS = [OLD]
    token_for(tenant)
    token_for(tenant)
    settings.TOKEN_PEPPERS = [NEW]
    token_for(tenant)
    out = StringIO()
    call_command("token_peppers", stdout=out)
    lines = {line.split()[0]: line for line in out.getvalue().splitlines()}
    assert " 1 token " in lines["new"]
    assert " 2 tokens" in lines["old"]
    assert "MISSING" in lines["old"]
    assert " 0 tokens" in lines["(CARINA_SECRET_KEY,"]


# --- warnings -----------------------------------------------------------------------------------------------------------------


def test_a_mail_warns_a_week_before_the_end_once(tenant: Tenant) -> None:
    text = token_for(tenant)
    row = ApiToken.objects.get()
    age(row, left=8 * DAY)
    assert warn_of_expiring() == 0
    age(row, left=6 * DAY)
    assert (warn_of_expiring(), warn_of_expiring()) == (1, 0)
    [sent] = mail.outbox
    assert sent.to == [owner_of(tenant).email]
    assert "“test”" in sent.subject
    assert "/t/demo/tokens/" in str(sent.body)
    assert text not in str(sent.body)
    assert "&" not in str(sent.body)


def test_nobody_is_warned_of_a_token_that_was_just_made_is_revoked_or_opens_nothing(tenant: Tenant) -> None:
    left, disabled = make_user(), make_user()
    for user in (left, disabled):
        join(tenant, user, role=Role.VIEWER)
        token_for(tenant, user)
    token_for(tenant)
    for row in ApiToken.objects.all():
        age(row, left=3 * DAY)
    token_for(tenant, lifetime=3 * DAY)
    ApiToken.objects.filter(user=owner_of(tenant)).exclude(created_at__gt=clock.now() - DAY).update(revoked_at=clock.now())
    Membership.objects.filter(user=left).delete()
    User.objects.filter(id=disabled.id).update(is_active=False)
    assert warn_of_expiring() == 0
    assert mail.outbox == []


def test_owners_and_admins_are_warned_of_a_service_accounts_token(tenant: Tenant) -> None:
    admin, viewer = make_user(), make_user()
    join(tenant, admin, role=Role.ADMIN)
    join(tenant, viewer, role=Role.VIEWER)
    account = create_service_account(access=access_for(tenant), name="ci", role="admin")
    made = create_service_token(access=access_for(tenant), account_id=str(account.id), name="deploy")
    age(made.row, left=2 * DAY)
    assert warn_of_expiring() == 1
    assert sorted(sent.to[0] for sent in mail.outbox) == sorted([admin.email, owner_of(tenant).email])
    assert all("service account ci" in str(sent.body) for sent in mail.outbox)
    assert all(f"/service-accounts/{account.id}/" in str(sent.body) for sent in mail.outbox)


def test_a_mail_that_cannot_be_sent_is_tried_again(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    token_for(tenant)
    age(ApiToken.objects.get(), left=DAY)
    with monkeypatch.context() as broken:
        broken.setattr(token_warnings, "_send", _no_server)
        assert warn_of_expiring() == 0
    assert ApiToken.objects.get().warned_at is None
    assert warn_of_expiring() == 1


def _no_server(**_: Any) -> None:
    raise ConnectionRefusedError


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_send_one_mail_for_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = make_tenant("demo")
    for _ in range(5):
        token_for(tenant)
    for row in ApiToken.objects.all():
        age(row, left=DAY)
    begin = threading.Barrier(4)
    sent: list[UUID] = []
    counts: list[int] = []

    def send(*, row: ApiToken, recipients: list[str]) -> None:
        threading.Event().wait(0.05)  # a mail server takes its time, while the other workers look at the same rows
        sent.append(row.id)

    monkeypatch.setattr(token_warnings, "_send", send)

    def work() -> None:
        with as_system("test worker"):
            ApiToken.objects.exists()  # each has its connection before they begin
            begin.wait()
            counts.append(warn_of_expiring())
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(sent) == len(set(sent)) == 5 == sum(counts)


# --- failed attempts ----------------------------------------------------------------------------------------------------------


def test_an_address_that_keeps_failing_is_told_to_wait_while_its_neighbours_tokens_go_on_working(
    tenant: Tenant, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.common.api.failures.time.time", lambda: 6e9 + hash(tenant.id) % 10**6 * 60 + 20)
    settings.FAILED_TOKENS_PER_MINUTE = 3
    good, bad = token_for(tenant), token_for(make_tenant("gone"))
    ApiToken.objects.exclude(tenant=tenant).delete()
    for text in (bad, "mistyped", bad):
        assert Api(text).get("clouds").status_code == 401
    for text in (bad, "mistyped"):
        answer = Api(text).get("clouds")
        assert "too many" in refused(answer, 429, "too_many_requests")["title"].lower()
        assert answer.headers["Retry-After"] == "40"
    assert Api(good).get("clouds").status_code == 200
    other = Client().get("/api/v1/clouds", headers={"Authorization": f"Bearer {bad}"}, REMOTE_ADDR="192.0.2.9")
    refused(other, 401, "token_invalid")


def test_behind_a_proxy_the_address_is_the_one_the_proxy_saw_and_not_one_that_the_client_made_up(
    tenant: Tenant, settings: Settings
) -> None:
    headers = {"Authorization": f"Bearer {token_for(tenant)}", "X-Forwarded-For": "203.0.113.5, 198.51.100.7"}
    Client().get("/api/v1/clouds", headers=headers)
    assert ApiToken.objects.get().last_used_address == "127.0.0.1"
    ApiToken.objects.update(last_used_at=None)
    settings.BEHIND_PROXY = True
    Client().get("/api/v1/clouds", headers=headers)
    assert ApiToken.objects.get().last_used_address == "198.51.100.7"
