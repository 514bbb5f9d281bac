"""What happens when there is too much of something, or something does not work: 429, 500, 503, each as problem+json."""

from typing import Any

import pytest
from django.core.handlers.base import BaseHandler
from django.db import OperationalError
from redis.exceptions import ConnectionError as RedisDown

from apps.bays.api import bays, catalogue
from apps.common.api import throttling
from apps.common.api.throttling import AnonymousRate, UserRate
from tests.factories import Api, api_of, make_tenant

pytestmark = pytest.mark.django_db


def limited(monkeypatch: pytest.MonkeyPatch, rate: str) -> None:
    for throttle in (AnonymousRate, UserRate):
        monkeypatch.setattr(throttle, "rate", rate, raising=False)
        monkeypatch.setattr(throttle, "cache_format", f"test-{id(monkeypatch)}-%(scope)s-%(ident)s")


def test_too_many_requests_of_a_user_are_refused_with_the_time_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, "3/hour")
    tenant = make_tenant("demo")
    api, same_user, somebody_else = api_of(tenant), api_of(tenant), api_of(make_tenant("other"))
    assert [api.get("coes").status_code for _ in range(3)] == [200, 200, 200]
    answer = same_user.get("coes")
    assert (answer.status_code, answer.json()["code"], answer.headers["Content-Type"]) == (
        429,
        "too_many_requests",
        "application/problem+json",
    )
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    assert answer.headers["Retry-After"] in answer.json()["detail"]
    assert somebody_else.get("coes").status_code == 200


def test_too_many_requests_of_an_address_without_a_token_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, "2/hour")
    assert [Api().get("").status_code for _ in range(3)] == [200, 200, 429]


def test_a_cache_that_is_down_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Down:
        def add(self, *_: object, **__: object) -> None:
            raise RedisDown("Connection refused")

    monkeypatch.setattr(throttling, "cache", Down())
    assert api_of(make_tenant("demo")).get("coes").status_code == 200


def test_a_mistake_in_the_portal_names_the_request_and_nothing_of_its_insides(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def mistake(**_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(bays, "bays_of", mistake)
    answer = api_of(make_tenant("demo")).get("tenants/demo/bays", X_Request_ID="given-by-proxy")
    assert (answer.status_code, answer.json()["code"], answer.headers["Content-Type"]) == (500, "internal", "application/problem+json")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == "given-by-proxy"
    assert "secret" not in answer.content.decode()
    assert "the secret inside" in caplog.text


def test_a_database_that_does_not_answer_is_a_503_to_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> None:
        raise OperationalError("connection refused at /secret/socket")

    monkeypatch.setattr(catalogue, "all_coes", down)
    answer = api_of(make_tenant("demo")).get("coes")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "secret" not in answer.content.decode()


def test_a_request_that_no_view_sees_is_answered_as_problem_json_too() -> None:
    answer = Api().get("coes", Host="evil.example")
    assert (answer.status_code, answer.headers["Content-Type"], answer.json()["code"]) == (400, "application/problem+json", "bad_request")


def test_a_database_that_does_not_answer_before_any_view_is_asked_is_a_503_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_: object) -> None:
        raise OperationalError("connection refused at /secret/socket")

    monkeypatch.setattr(BaseHandler, "resolve_request", lambda _, request: down(request))
    answer = Api().get("coes")
    assert (answer.status_code, answer.headers["Content-Type"], answer.json()["code"]) == (503, "application/problem+json", "unavailable")
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize("path", ["coes", "tenants/demo/bays"])
def test_head_and_options_are_answered(path: str) -> None:
    api = api_of(make_tenant("demo"))
    head = api("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    options = api("OPTIONS", path)
    assert (options.status_code, options.content) == (204, b"")
    assert "GET" in options.headers["Allow"]
