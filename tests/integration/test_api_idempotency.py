"""A POST sent twice acts once, whoever sends it when; and of requests that exclude each other exactly one wins."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from apps.bays import services
from apps.bays.api import bays, urls
from apps.bays.models import Bay
from apps.common.api.idempotency import MARK
from apps.common.clock import now
from apps.common.models import IdempotencyKey
from apps.common.tasks import KEPT_FOR, forget_idempotency_keys
from apps.credentials.models import Certificate
from apps.operations.models import Operation
from apps.tenants.models import ApiToken, Tenant
from tests.factories import Api, api_of, make_bay, make_cloud, make_flavor, make_tenant, owner_of

pytestmark = pytest.mark.django_db(transaction=True)
GOOD = {"name": "web", "coe": "swarm", "flavor": "c1.small", "node_count": 2}
PATH = "tenants/demo/bays"


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor()
    return make_tenant("demo", max_bays=30)


@pytest.fixture
def api(tenant: Tenant) -> Api:
    return api_of(tenant)


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Return what the calls return, all started at the same moment, each in a thread with a connection of its own."""
    gate = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        return list(pool.map(one, calls))


def test_the_same_request_with_the_same_key_acts_once_and_gets_the_first_answer(api: Api) -> None:
    first = api.post(PATH, GOOD, Idempotency_Key="k1")
    again = api.post(f"{PATH}/", GOOD, Idempotency_Key="k1")
    assert (again.status_code, again.json(), again.headers["Location"]) == (201, first.json(), first.headers["Location"])
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (Bay.objects.count(), Operation.objects.count()) == (1, 1)


def test_the_order_of_the_fields_is_no_other_body(api: Api) -> None:
    api.post(PATH, GOOD, Idempotency_Key="k1")
    assert api.post(PATH, dict(reversed(GOOD.items())), Idempotency_Key="k1").status_code == 201


def test_the_same_key_with_another_body_is_refused(api: Api) -> None:
    api.post(PATH, GOOD, Idempotency_Key="k1")
    answer = api.post(PATH, GOOD | {"name": "shop"}, Idempotency_Key="k1")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert Bay.objects.count() == 1


def test_keys_of_other_addresses_and_other_users_are_other_keys(api: Api, tenant: Tenant) -> None:
    other = make_tenant("other")
    api.post(PATH, GOOD, Idempotency_Key="k1")
    assert api.post(f"{PATH}/estimate", GOOD, Idempotency_Key="k1").status_code == 200
    assert api_of(other).post("tenants/other/bays", GOOD, Idempotency_Key="k1").status_code == 201
    assert Bay.objects.count() == 2


def test_without_a_key_every_request_acts(api: Api) -> None:
    assert api.post(PATH, GOOD).status_code == 201
    assert api.post(PATH, GOOD).status_code == 409
    assert IdempotencyKey.objects.count() == 0


def test_a_refusal_gives_the_key_back(api: Api) -> None:
    assert api.post(PATH, GOOD | {"node_count": 0}, Idempotency_Key="k1").status_code == 422
    assert api.post(PATH, GOOD, Idempotency_Key="k1").status_code == 201


def test_an_answer_is_not_repeated_to_those_who_may_not_ask(api: Api, tenant: Tenant) -> None:
    owner = owner_of(tenant)
    elsewhere = make_tenant("elsewhere", owner=owner)
    api.post(PATH, GOOD, Idempotency_Key="k1")
    assert api_of(elsewhere, owner).post(PATH, GOOD, Idempotency_Key="k1").status_code == 404
    assert api_of(tenant, owner, scopes=["bay:read"]).post(PATH, GOOD, Idempotency_Key="k1").status_code == 403


def test_answers_with_secrets_are_never_stored_and_a_repetition_says_so(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    assert api.post(f"{PATH}/web/bundle", Idempotency_Key="k1").status_code == 200
    token = api.post("tenants/demo/tokens", {}, Idempotency_Key="k2").json()["token"]
    for path, key in ((f"{PATH}/web/bundle", "k1"), ("tenants/demo/tokens", "k2")):
        again = api.post(path, Idempotency_Key=key)
        assert (again.status_code, again.json()["code"]) == (409, "idempotency_answer_secret")
    assert [row.body for row in IdempotencyKey.objects.all()] == [None, None]
    assert token not in str(list(IdempotencyKey.objects.values()))
    assert (Certificate.objects.filter(purpose="client").count(), ApiToken.objects.count()) == (1, 2)


def test_a_crash_before_the_end_leaves_neither_the_change_nor_the_key(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(**_: Any) -> Any:
        raise RuntimeError("the process dies here")

    monkeypatch.setattr(bays, "bay_answer", crash)
    assert api.post(PATH, GOOD, Idempotency_Key="k1").status_code == 500
    assert (Bay.objects.count(), Operation.objects.count(), IdempotencyKey.objects.count()) == (0, 0, 0)
    monkeypatch.undo()
    assert api.post(PATH, GOOD, Idempotency_Key="k1").status_code == 201


def test_a_request_that_is_still_being_carried_out_is_not_carried_out_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = threading.Event(), threading.Event()
    real = services.create_bay

    def slow(**arguments: Any) -> Bay:
        entered.set()
        assert leave.wait(30)
        return real(**arguments)

    monkeypatch.setattr(bays, "create_bay", slow)

    def first() -> Any:
        try:
            return api.post(PATH, GOOD, Idempotency_Key="k1")
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = pool.submit(first)
        assert entered.wait(30)
        second = api.post(PATH, GOOD, Idempotency_Key="k1")
        leave.set()
        assert waiting.result(30).status_code == 201
    assert (second.status_code, second.json()["code"], second.headers["Retry-After"]) == (409, "idempotency_in_progress", "1")
    assert api.post(PATH, GOOD, Idempotency_Key="k1").headers["Idempotency-Replayed"] == "true"
    assert Bay.objects.count() == 1


def test_the_patience_for_a_key_is_not_the_patience_for_other_locks(api: Api, tenant: Tenant) -> None:
    with transaction.atomic():
        api.post(PATH, GOOD, Idempotency_Key="k1")
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("0",)


def test_of_twenty_requests_with_the_same_key_at_once_one_acts_and_all_get_its_answer(api: Api) -> None:
    answers = at_once([lambda: api.post(PATH, GOOD, Idempotency_Key="k1")] * 20)
    assert {answer.status_code for answer in answers} <= {201, 409}
    done = [answer for answer in answers if answer.status_code == 201]
    assert {answer.json()["id"] for answer in done} == {str(Bay.objects.get().id)}
    assert sum("Idempotency-Replayed" not in answer.headers for answer in done) == 1
    assert all(answer.json()["code"] == "idempotency_in_progress" for answer in answers if answer.status_code == 409)
    assert (Bay.objects.count(), Operation.objects.count()) == (1, 1)


def test_of_creates_with_the_same_name_at_once_one_wins(api: Api) -> None:
    answers = at_once([lambda: api.post(PATH, GOOD)] * 10)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"name_taken"}
    assert (Bay.objects.count(), Operation.objects.count()) == (1, 1)


def test_of_creates_at_the_tenants_limit_at_once_exactly_one_is_accepted(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "first", active=False)
    Tenant.objects.filter(id=tenant.id).update(max_bays=2)
    answers = at_once([partial(api.post, PATH, GOOD | {"name": f"bay-{number}"}) for number in range(10)])
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"limit_reached"}
    assert Bay.objects.count() == 2


def test_of_changes_of_one_bay_at_once_one_is_accepted_and_the_others_are_told(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    answers = at_once([partial(api.patch, f"{PATH}/web", {"node_count": number}) for number in range(2, 8)])
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 5
    assert Operation.objects.filter(kind="bay.resize").count() == 1


def test_of_deletes_of_one_bay_at_once_one_is_accepted(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    answers = at_once([lambda: api.delete(f"{PATH}/web")] * 6)
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 5
    assert Operation.objects.filter(kind="bay.delete").count() == 1


def test_keys_are_forgotten_after_a_day(api: Api) -> None:
    api.post(PATH, GOOD, Idempotency_Key="k1")
    api.post(f"{PATH}/estimate", GOOD, Idempotency_Key="k2")
    IdempotencyKey.objects.filter(key="k1").update(created_at=now() - KEPT_FOR * 1.01)
    forget_idempotency_keys()
    assert [row.key for row in IdempotencyKey.objects.all()] == ["k2"]


def test_every_post_of_the_api_honours_the_header() -> None:
    views = {getattr(pattern.callback, "cls", None) for pattern in urls.urlpatterns}
    posts = [view.post for view in views if view is not None and hasattr(view, "post")]
    assert len(posts) >= 7
    assert all(hasattr(post, MARK) for post in posts)
