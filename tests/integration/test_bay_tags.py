"""Tags of bays: chosen at creation or later, over REST and in the browser, within rules that are told in a sentence."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.bays.models import Bay
from apps.bays.tags import parse_tags, tags_of_text, text_of_tags
from apps.common.errors import InvalidInput
from apps.operations.models import Operation
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import Api, api_of, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of

pytestmark = pytest.mark.django_db
GOOD = {"name": "web", "coe": "swarm", "flavor": "c1.small"}
BAD: list[tuple[Any, str]] = [
    (None, "type"),
    ("team=web", "type"),
    (["team"], "type"),
    ({"team": 1}, "type"),
    ({"team": None}, "type"),
    ({"team": {"of": "web"}}, "type"),
    ({str(number): "x" for number in range(21)}, "tags_too_many"),
    ({"": "x"}, "tag_key"),
    ({"a b": "x"}, "tag_key"),
    ({"k" * 64: "x"}, "tag_key"),
    ({"tëam": "x"}, "tag_key"),
    ({"team\n": "x"}, "tag_key"),
    ({"<b>": "x"}, "tag_key"),
    ({"team": "v" * 129}, "tag_value"),
    ({"team": "a\tb"}, "tag_value"),
    ({"team": "a\u200b"}, "tag_value"),
    ({"team": " web"}, "tag_value"),
]


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor()
    return make_tenant("demo")


@pytest.fixture
def api(tenant: Tenant) -> Api:
    return api_of(tenant)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_a_bay_is_created_with_tags_and_shows_them(api: Api) -> None:
    tags = {"team": "web", "env": "prod", "cost/centre:1": "Zürich, 2. Stock"}
    assert api.post("tenants/demo/bays", {**GOOD, "tags": tags}).json()["tags"] == tags
    assert api.get("tenants/demo/bays/web").json()["tags"] == tags
    assert api.get("tenants/demo/bays").json()["results"][0]["tags"] == tags


def test_changing_tags_replaces_all_of_them_at_once_and_is_written_down(api: Api, tenant: Tenant) -> None:
    make_bay(tenant)
    operations = Operation.objects.count()
    assert api.patch("tenants/demo/bays/web", {"tags": {"team": "web"}}).status_code == 200
    answer = api.patch("tenants/demo/bays/web", {"tags": {"env": ""}})
    assert (answer.status_code, answer.json()["tags"]) == (200, {"env": ""})
    line = AuditEvent.objects.filter(action="bay.tagged").latest("at")
    assert (line.actor_label, line.data) == (owner_of(tenant).email, {"from": {"team": "web"}, "to": {"env": ""}})
    assert Operation.objects.count() == operations
    assert api.patch("tenants/demo/bays/web", {"tags": {}}).json()["tags"] == {}


def test_the_same_tags_again_change_nothing(api: Api, tenant: Tenant) -> None:
    make_bay(tenant)
    first = api.patch("tenants/demo/bays/web", {"tags": {"a": "1", "b": "2"}})
    again = api.patch("tenants/demo/bays/web", {"tags": {"b": "2", "a": "1"}})
    assert again.headers["ETag"] == first.headers["ETag"]
    assert AuditEvent.objects.filter(action="bay.tagged").count() == 1


def test_tags_set_by_somebody_else_meanwhile_are_not_overwritten(api: Api, tenant: Tenant) -> None:
    make_bay(tenant)
    seen = api.get("tenants/demo/bays/web").headers["ETag"]
    api.patch("tenants/demo/bays/web", {"tags": {"team": "web"}})
    assert api.patch("tenants/demo/bays/web", {"tags": {}}, If_Match=seen).status_code == 412
    assert Bay.objects.get().tags == {"team": "web"}


@pytest.mark.parametrize(("tags", "code"), BAD, ids=[f"{code}-{number}" for number, (_, code) in enumerate(BAD)])
def test_tags_that_break_a_rule_are_refused_in_a_sentence_and_change_nothing(api: Api, tenant: Tenant, tags: Any, code: str) -> None:
    make_bay(tenant, "old")
    for answer in (
        api.post("tenants/demo/bays", {**GOOD, "tags": tags}),
        api.post("tenants/demo/bays/estimate", {**GOOD, "tags": tags}),
        api.patch("tenants/demo/bays/old", {"tags": tags}),
    ):
        problem = answer.json()
        assert (answer.status_code, problem["code"], list(problem["errors"])) == (422, code, ["tags"])
        assert problem["detail"].endswith(".")
    assert [bay.tags for bay in Bay.objects.all()] == [{}]


def test_what_is_just_allowed_is_allowed() -> None:
    tags = {**{f"{number:063}": "v" * 128 for number in range(19)}, "a-b_c.d:e/F9": ""}
    assert parse_tags(value=tags) == tags


def test_exactly_one_change_is_sent_at_a_time(api: Api, tenant: Tenant) -> None:
    make_bay(tenant)
    answer = api.patch("tenants/demo/bays/web", {"tags": {"team": "web"}, "name": "shop"})
    assert (answer.status_code, answer.json()["code"]) == (422, "one_change")
    assert Bay.objects.get().tags == {}


def test_who_may_only_look_is_refused_and_a_stranger_finds_nothing(api: Api, tenant: Tenant) -> None:
    make_bay(tenant)
    viewer = make_user()
    join(tenant, viewer, role=Role.VIEWER)
    body = {"tags": {"team": "web"}}
    assert api_of(tenant, viewer).patch("tenants/demo/bays/web", body).status_code == 403
    assert api_of(make_tenant()).patch("tenants/demo/bays/web", body).status_code == 404
    assert signed_in(viewer).post("/t/demo/bays/web/tags", {"tags": "team=web"}).status_code == 403
    assert signed_in(make_user()).post("/t/demo/bays/web/tags", {"tags": "team=web"}).status_code == 404
    assertNotContains(signed_in(viewer).get("/t/demo/bays/web/settings"), 'id="tags"')
    assert Bay.objects.get().tags == {}


def test_in_the_browser_tags_are_typed_as_text_and_shown_in_the_list_and_on_the_bay(tenant: Tenant) -> None:
    owner = signed_in(owner_of(tenant))
    asked = {"name": "web", "coe": "swarm", "flavor": "c1.small", "node_count": "1", "tags": "team=web, env=prod"}
    assertRedirects(owner.post("/t/demo/bays/new", asked), "/t/demo/bays/web/")
    assert Bay.objects.get().tags == {"team": "web", "env": "prod"}
    for page in ("", "web/"):
        assertContains(owner.get(f"/t/demo/bays/{page}"), '<span class="tag">team=web</span>')
    assertContains(owner.get("/t/demo/bays/web/settings"), 'value="env=prod, team=web"')
    answer = owner.post("/t/demo/bays/web/tags", {"tags": "owner=<b>, urgent"}, follow=True)
    assertContains(answer, "The tags of web are changed.")
    assert Bay.objects.get().tags == {"owner": "<b>", "urgent": ""}
    assertContains(owner.get("/t/demo/bays/"), '<span class="tag">owner=&lt;b&gt;</span>')
    assertContains(owner.get("/t/demo/bays/"), '<span class="tag">urgent</span>')


@pytest.mark.parametrize(
    ("typed", "sentence"), [("a b=c", "a key has 1 to 63"), ("a=1, a=2", "is there twice"), ("=x", "a key has 1 to 63")]
)
def test_what_cannot_be_meant_is_said_beside_the_field_and_kept(tenant: Tenant, typed: str, sentence: str) -> None:
    make_bay(tenant)
    owner = signed_in(owner_of(tenant))
    answer = owner.post("/t/demo/bays/web/tags", {"tags": typed})
    assertContains(answer, sentence, status_code=422)
    assertContains(answer, f'value="{typed}"', status_code=422)
    asked = {"name": "next", "coe": "swarm", "flavor": "c1.small", "node_count": "1", "tags": typed}
    assertContains(owner.post("/t/demo/bays/new", asked), sentence, status_code=422)
    assert Bay.objects.get().tags == {}


def test_text_of_tags_is_read_back_as_the_same_tags() -> None:
    tags = {"path": "C:\\new, D:\\", "sum": "1=1", "empty": "", "comma": ",", "back": "\\"}
    assert tags_of_text(text=text_of_tags(tags=tags)) == tags
    assert tags_of_text(text=" a = 1 ,\r\n b=C:\\dir,, ") == {"a": "1", "b": "C:\\dir"}
    with pytest.raises(InvalidInput, match="twice"):
        tags_of_text(text="a=1\na=1")


@pytest.mark.parametrize("value", ["text", [], None])
def test_the_database_takes_nothing_but_an_object(tenant: Tenant, value: Any) -> None:
    make_bay(tenant)
    with pytest.raises(IntegrityError), transaction.atomic():
        Bay.objects.update(tags=value)
