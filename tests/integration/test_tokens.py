"""Who gets in, and how far: tokens in headers, sessions with CSRF, roles and scopes, strangers."""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.bays.api import urls
from apps.bays.models import Bay
from apps.common import clock
from apps.tenants.models import ApiToken, Membership, ServiceAccount, Tenant
from apps.tenants.roles import Permission, Role
from apps.tenants.service_accounts import create_service_account
from apps.tenants.token_text import looks_like_token
from tests.factories import Api, access_for, api_of, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of, token_for

pytestmark = pytest.mark.django_db
GOOD = {"name": "shop", "coe": "swarm", "flavor": "c1.small"}
READS = [
    "",
    "/members",
    "/quota",
    "/tokens",
    "/bays",
    *(f"/bays/web{rest}" for rest in ("", "/hosts", "/operations", "/events", "/certificates", "/ca.pem")),
]
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/bays", GOOD),
    ("PATCH", "/bays/web", {"node_count": 2}),
    ("PATCH", "/bays/web", {"name": "shop"}),
    ("DELETE", "/bays/web", None),
    ("POST", "/bays/web/heal", {}),
    ("POST", "/bays/web/bundle", {}),
    ("POST", "/bays/web/certificates", {"csr": "x"}),
]


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor()
    tenant = make_tenant("demo")
    make_bay(tenant, "web")
    return tenant


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.content
    problem: dict[str, Any] = answer.json()
    return problem


# --- tokens in headers --------------------------------------------------------------------------------------------------------


def test_a_token_is_accepted_in_either_header(tenant: Tenant) -> None:
    token = token_for(tenant)
    for headers in ({"Authorization": f"Bearer {token}"}, {"Authorization": f"bearer  {token} "}, {"X-Auth-Token": token}):
        assert Client().get("/api/v1/tenants/demo/bays", headers=headers).status_code == 200


def test_without_a_token_the_answer_says_how_to_send_one() -> None:
    answer = Api().get("clouds")
    assert "Authorization: Bearer" in refused(answer, 401, "not_authenticated")["detail"]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="carina"'


@pytest.mark.parametrize("text", ["x", "carina_", "Basic", "carina_" + "a" * 46, "carina_" + "\u00e9" * 46, "a b c"])
def test_what_is_no_token_at_all_is_refused_without_a_look_at_the_database(text: str, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = Client().get("/api/v1/clouds", headers={"Authorization": f"Bearer {text}".encode().decode("latin-1")})
    refused(answer, 401, "token_malformed")


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "Token abc", "x"])
def test_another_kind_of_authorization_is_refused(header: str) -> None:
    refused(Client().get("/api/v1/clouds", headers={"Authorization": header}), 401, "token_malformed")


def test_unknown_revoked_and_expired_tokens_and_those_of_disabled_users_get_one_and_the_same_answer(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    forgotten = token_for(tenant)
    ApiToken.objects.all().delete()
    answers.append(Api(forgotten).get("clouds"))
    revoked = token_for(tenant)
    row = ApiToken.objects.get()
    assert Api(revoked).delete(f"tenants/demo/tokens/{row.id}").status_code == 204
    answers.append(Api(revoked).get("clouds"))
    disabled = token_for(tenant)
    User.objects.update(is_active=False)
    answers.append(Api(disabled).get("clouds"))
    User.objects.update(is_active=True)
    assert Api(disabled).get("clouds").status_code == 200
    expired = token_for(tenant, lifetime=timedelta(hours=1))
    assert Api(expired).get("clouds").status_code == 200
    ApiToken.objects.update(created_at=clock.now() - timedelta(hours=3), expires_at=clock.now() - timedelta(seconds=1))
    answers.append(Api(expired).get("clouds"))
    assert len({refused(answer, 401, "token_invalid")["detail"] for answer in answers}) == 1


def test_a_token_in_an_address_is_never_accepted(tenant: Tenant) -> None:
    token = token_for(tenant)
    for query in (f"token={token}", f"access_token={token}", f"Authorization=Bearer%20{token}", f"x-auth-token={token}"):
        answer = Api().get(f"clouds?{query}")
        assert answer.status_code == 401
        assert token not in answer.content.decode()


def test_a_token_has_a_form_that_scanners_recognise_and_only_its_hash_is_kept(tenant: Tenant) -> None:
    token = token_for(tenant)
    assert looks_like_token(text=token)
    assert not looks_like_token(text=token[:-1] + ("0" if token[-1] != "0" else "1"))
    row = ApiToken.objects.values().get()
    assert all(token[7:] not in str(value) for value in row.values())


def test_use_of_a_token_is_noted_once_a_minute(tenant: Tenant, django_assert_num_queries: Any) -> None:
    api = api_of(tenant)
    assert ApiToken.objects.get().last_used_at is None
    api.get("coes")
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    with django_assert_num_queries(1):
        api.get("coes")
    assert ApiToken.objects.get().last_used_at == first


# --- the tokens of the API ----------------------------------------------------------------------------------------------------


def test_a_token_made_over_the_api_works_is_listed_without_its_text_and_can_be_revoked(tenant: Tenant) -> None:
    api = api_of(tenant)
    made = api.post("tenants/demo/tokens", {"name": "pipeline", "scopes": ["bay:read"]})
    assert made.status_code == 201
    assert made.headers["Location"] == f"/api/v1/tenants/demo/tokens/{made.json()['id']}"
    text = made.json()["token"]
    assert Api(text).get("tenants/demo/bays").status_code == 200
    listed = api.get("tenants/demo/tokens")
    assert [row["name"] for row in listed.json()["results"]] == ["pipeline", "test"]
    assert text not in listed.content.decode()
    assert text not in api.get(made.headers["Location"]).content.decode()
    assert api.delete(made.headers["Location"]).status_code == 204
    assert api.delete(made.headers["Location"]).status_code == 204
    assert Api(text).get("tenants/demo/bays").status_code == 401
    assert api.get(made.headers["Location"]).status_code == 404


def test_a_token_cannot_make_one_that_may_more_than_itself(tenant: Tenant) -> None:
    api = api_of(tenant, scopes=["token:manage", "bay:read"])
    problem = refused(api.post("tenants/demo/tokens", {"scopes": ["bay:delete"]}), 422, "invalid")
    assert "the token you use does not have it" in problem["detail"]
    made = api.post("tenants/demo/tokens", {}).json()
    assert made["scopes"] == ["bay:read", "token:manage"]


def test_a_member_neither_sees_nor_revokes_the_tokens_of_others(tenant: Tenant) -> None:
    bob = make_user()
    join(tenant, bob, role=Role.OPERATOR)
    api_of(tenant)
    row = ApiToken.objects.get(user=owner_of(tenant))
    member = api_of(tenant, bob)
    refused(member.get(f"tenants/demo/tokens/{row.id}"), 404, "token_not_found")
    refused(member.delete(f"tenants/demo/tokens/{row.id}"), 404, "token_not_found")
    refused(member.get("tenants/demo/tokens?of=everyone"), 403, "role_missing")
    assert [found["user"] for found in member.get("tenants/demo/tokens").json()["results"]] == [bob.email]
    assert ApiToken.objects.get(id=row.id).revoked_at is None


def test_an_owner_sees_whose_tokens_there_are_without_their_text_and_revokes_any(tenant: Tenant) -> None:
    bob = make_user()
    join(tenant, bob, role=Role.OPERATOR)
    token = token_for(tenant, bob)
    row = ApiToken.objects.get(user=bob)
    owner = api_of(tenant)
    assert [found["user"] for found in owner.get("tenants/demo/tokens").json()["results"]] == [owner_of(tenant).email]
    everyone = owner.get("tenants/demo/tokens?of=everyone")
    assert {found["user"] for found in everyone.json()["results"]} == {bob.email, owner_of(tenant).email}
    assert token not in everyone.content.decode()
    assert Api(token).get("tenants/demo/bays").status_code == 200
    assert owner.delete(f"tenants/demo/tokens/{row.id}").status_code == 204
    refused(Api(token).get("tenants/demo/bays"), 401, "token_invalid")
    event = AuditEvent.objects.get(action="token.revoked")
    assert (event.actor_label, event.data["for"]) == (owner_of(tenant).email, bob.email)


def test_an_owners_token_without_the_scope_to_manage_sees_only_its_owners_own(tenant: Tenant) -> None:
    bob = make_user()
    join(tenant, bob, role=Role.OPERATOR)
    token_for(tenant, bob)
    api = api_of(tenant, scopes=["token:manage"])
    refused(api.get("tenants/demo/tokens?of=everyone"), 403, "scope_missing")
    refused(api.delete(f"tenants/demo/tokens/{ApiToken.objects.get(user=bob).id}"), 404, "token_not_found")


def test_an_owner_of_another_organisation_revokes_nothing_here(tenant: Tenant) -> None:
    token = token_for(tenant)
    other = api_of(make_tenant("other"))
    row = ApiToken.objects.get(tenant=tenant)
    for slug in ("demo", "other"):
        assert other.delete(f"tenants/{slug}/tokens/{row.id}").status_code == 404
    assert Api(token).get("tenants/demo/bays").status_code == 200


# --- strangers, roles, scopes -------------------------------------------------------------------------------------------------


def addresses() -> list[str]:
    """Every address of the API inside a tenant, with the ids of a bay and an operation that exist."""
    bay = Bay.objects.get(name="web")
    values = {
        "<str:tenant>": "demo",
        "<str:bay>": "web",
        "<uuid:operation>": str(bay.operation.id if bay.operation else ""),
        "<uuid:token_id>": str(ApiToken.objects.filter(tenant__slug="demo")[0].id),
        "<uuid:account_id>": str(ServiceAccount.objects.get().id),
    }
    found = []
    for pattern in urls.urlpatterns:
        assert isinstance(pattern, URLPattern)
        route = str(pattern.pattern)
        if "<str:tenant>" in route:
            for key, value in values.items():
                route = route.replace(key, value)
            found.append(f"/{re.sub('<[a-z]+:[a-z_]+>', str(uuid4()), route)}")
    assert len(found) > 30
    assert not any("<" in address for address in found)
    assert any("/service-accounts/" in address for address in found)
    return found


def test_a_stranger_finds_nothing_at_any_address_of_a_tenant_whatever_the_method(tenant: Tenant) -> None:
    owner = owner_of(tenant)
    elsewhere = make_tenant("elsewhere", owner=owner)
    make_tenant("other", owner=make_user("mallory@example.com"))
    token_for(tenant)
    create_service_account(access=access_for(tenant), name="ci", role="viewer")
    before = list(Bay.objects.values())
    strangers = [
        Api(token_for(Tenant.objects.get(slug="other"), User.objects.get(email="mallory@example.com"))),
        Api(token_for(elsewhere, owner)),  # the owner's own token, but of another tenant
    ]
    for api in strangers:
        for address in addresses():
            for method in ("GET", "POST", "PATCH", "DELETE"):
                answer = api(method, address, {})
                assert answer.status_code == 404, (method, address, answer.content)
                assert "web" not in answer.json()["detail"]
    assert list(Bay.objects.values()) == before


def test_nobody_without_a_token_gets_anything_at_any_address_of_a_tenant(tenant: Tenant) -> None:
    token_for(tenant)
    create_service_account(access=access_for(tenant), name="ci", role="viewer")
    for address in addresses():
        for method in ("GET", "POST", "PATCH", "DELETE"):
            assert Api()(method, address, {}).status_code == 401, (method, address)


def test_a_viewer_reads_everything_and_changes_nothing(tenant: Tenant) -> None:
    viewer = make_user()
    join(tenant, viewer, role=Role.VIEWER)
    api = api_of(tenant, viewer)
    before = list(Bay.objects.values())
    for path in READS:
        assert api.get(f"tenants/demo{path}").status_code == 200, path
    for method, path, body in WRITES:
        problem = refused(api(method, f"tenants/demo{path}", body), 403, "role_missing")
        assert "“viewer”" in problem["detail"]
    refused(api.get("tenants/demo/audit"), 403, "role_missing")
    assert list(Bay.objects.values()) == before


def test_a_billing_member_does_not_see_bays(tenant: Tenant) -> None:
    accountant = make_user()
    join(tenant, accountant, role=Role.BILLING)
    api = api_of(tenant, accountant)
    for path in READS:
        assert api.get(f"tenants/demo{path}").status_code == (403 if "bays" in path else 200), path
    for method, path, body in WRITES:
        refused(api(method, f"tenants/demo{path}", body), 403, "role_missing")


def test_an_operator_runs_bays_but_does_not_read_the_audit_log(tenant: Tenant) -> None:
    operator = make_user()
    join(tenant, operator, role=Role.OPERATOR)
    api = api_of(tenant, operator)
    assert api.post("tenants/demo/bays", GOOD).status_code == 201
    assert api.post("tenants/demo/bays/web/bundle").status_code == 200
    refused(api.get("tenants/demo/audit"), 403, "role_missing")


NEEDED = {
    "bay:read": [
        ("GET", f"/bays{rest}", None)
        for rest in ("", "/web", "/web/hosts", "/web/operations", "/web/events", "/web/certificates", "/web/ca.pem")
    ],
    "bay:create": [WRITES[0]],
    "bay:change": [WRITES[1], WRITES[2], WRITES[4]],
    "bay:delete": [WRITES[3]],
    "bay:access": [WRITES[5], WRITES[6]],
    "tenant:read": [("GET", rest, None) for rest in ("", "/members", "/quota")],
    "token:manage": [
        ("GET", "/tokens", None),
        ("POST", "/tokens", {}),
        ("GET", "/application-credentials", None),
        ("POST", "/application-credentials", {}),
    ],
    "tenant:manage": [
        ("GET", "/service-accounts", None),
        ("POST", "/service-accounts", {"name": "ci", "role": "viewer"}),
        ("GET", "/token-policy", None),
        ("PATCH", "/token-policy", {"max_token_days": 1}),
    ],
    "audit:read": [("GET", "/audit", None)],
}


@pytest.mark.parametrize("scope", NEEDED)
def test_a_token_without_the_scope_is_refused_by_the_scopes_name(tenant: Tenant, scope: str) -> None:
    api = api_of(tenant, scopes=[str(other) for other in Permission if other != scope])
    before = list(Bay.objects.values())
    for method, path, body in NEEDED[scope]:
        assert f"“{scope}”" in refused(api(method, f"tenants/demo{path}", body), 403, "scope_missing")["detail"]
    assert list(Bay.objects.values()) == before


def test_a_token_loses_what_its_user_loses(tenant: Tenant) -> None:
    bob = make_user()
    join(tenant, bob, role=Role.OPERATOR)
    api = api_of(tenant, bob)
    assert api.post("tenants/demo/bays/web/bundle").status_code == 200
    Membership.objects.filter(user=bob).update(role=Role.VIEWER)
    refused(api.post("tenants/demo/bays/web/bundle"), 403, "role_missing")
    Membership.objects.filter(user=bob).delete()
    refused(api.get("tenants/demo/bays"), 401, "token_invalid")


def test_the_token_of_a_removed_member_is_refused_everywhere_at_once(tenant: Tenant) -> None:
    bob = make_user()
    join(tenant, bob, role=Role.ADMIN)
    join(make_tenant("elsewhere"), bob, role=Role.ADMIN)
    here, elsewhere = api_of(tenant, bob), api_of(Tenant.objects.get(slug="elsewhere"), bob)
    Membership.objects.filter(user=bob, tenant=tenant).delete()
    for path in ("clouds", "tenants", "tenants/demo/bays", "tenants/elsewhere/bays"):
        refused(here.get(path), 401, "token_invalid")
    refused(here.post("tenants", {"slug": "mine"}), 401, "token_invalid")
    assert elsewhere.get("tenants/elsewhere/bays").status_code == 200


def test_the_tokens_of_a_deleted_organisation_are_refused(tenant: Tenant) -> None:
    api = api_of(tenant)
    Tenant.objects.filter(id=tenant.id).update(deleted_at=clock.now())
    refused(api.get("clouds"), 401, "token_invalid")


def test_a_token_sees_only_its_own_tenant_in_the_list_of_mine(tenant: Tenant) -> None:
    make_tenant("elsewhere", owner=owner_of(tenant))
    assert [row["slug"] for row in api_of(tenant).get("tenants").json()["results"]] == ["demo"]


def test_a_tenant_is_made_over_the_api_only_with_the_scope_for_it(tenant: Tenant) -> None:
    refused(api_of(tenant, scopes=["bay:read"]).post("tenants", {"slug": "blue"}), 403, "scope_missing")
    assert not Tenant.objects.filter(slug="blue").exists()
    made = api_of(tenant).post("tenants", {"slug": "blue", "name": "Blue team"})
    assert (made.status_code, made.headers["Location"], made.json()["name"]) == (201, "/api/v1/tenants/blue", "Blue team")
    assert Membership.objects.get(tenant__slug="blue").user == owner_of(tenant)


# --- browser sessions ---------------------------------------------------------------------------------------------------------


def browser(user: User) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def test_a_browsers_session_reads_and_with_the_csrf_token_changes(tenant: Tenant) -> None:
    client = browser(owner_of(tenant))
    assert client.get("/api/v1/tenants/demo/bays").status_code == 200
    refused(client.post("/api/v1/tenants/demo/bays", GOOD, content_type="application/json"), 403, "csrf_failed")
    assert Bay.objects.count() == 1
    csrf = "c" * 32
    client.cookies[settings.CSRF_COOKIE_NAME] = csrf
    made = client.post("/api/v1/tenants/demo/bays", GOOD, content_type="application/json", headers={"X-CSRFToken": csrf})
    assert made.status_code == 201


def test_a_token_needs_no_csrf_token(tenant: Tenant) -> None:
    answer = Client(enforce_csrf_checks=True).post(
        "/api/v1/tenants/demo/bays", GOOD, content_type="application/json", headers={"Authorization": f"Bearer {token_for(tenant)}"}
    )
    assert answer.status_code == 201


def test_a_session_of_a_disabled_user_is_none(tenant: Tenant) -> None:
    client = browser(owner_of(tenant))
    User.objects.update(is_active=False)
    assert client.get("/api/v1/tenants/demo/bays").status_code == 401


def test_no_answer_opens_the_api_to_pages_of_other_sites(tenant: Tenant) -> None:
    answer = api_of(tenant).get("tenants/demo/bays", Origin="https://evil.example")
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert answer.headers["Cache-Control"] == "no-store"
