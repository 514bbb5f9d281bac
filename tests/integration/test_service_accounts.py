"""Programs as members: service accounts and their tokens; and application credentials, which share the rules of tokens."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import authenticate
from django.test import Client

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.common import clock
from apps.common.errors import Forbidden
from apps.tenants.application_credentials import authenticate_application_credential, create_application_credential
from apps.tenants.context import access_of
from apps.tenants.models import ApiToken, Membership, ServiceAccount, Tenant
from apps.tenants.roles import PERMISSIONS, Permission, Role
from apps.tenants.tokens import create_token
from tests.factories import Api, access_for, api_of, join, make_tenant, make_user, owner_of, program_token

pytestmark = pytest.mark.django_db
BASE = "tenants/demo/service-accounts"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("demo")


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.content
    problem: dict[str, Any] = answer.json()
    return problem


def made(api: Api, name: str = "ci", role: str = "operator") -> str:
    answer = api.post(BASE, {"name": name, "role": role})
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def token_of(api: Api, account: str, **body: Any) -> str:
    answer = api.post(f"{BASE}/{account}/tokens", body)
    assert answer.status_code == 201, answer.content
    return str(answer.json()["token"])


# --- service accounts -----------------------------------------------------------------------------------------------------------


def test_a_program_works_with_its_own_token_and_within_its_role(tenant: Tenant) -> None:
    owner = api_of(tenant)
    account = made(owner, role="viewer")
    program = Api(token_of(owner, account))
    assert program.get("tenants/demo/bays").status_code == 200
    refused(program.post("tenants/demo/bays", {}), 403, "role_missing")
    refused(program.get(BASE), 403, "role_missing")
    listed = owner.get(BASE).json()["results"]
    assert [(row["name"], row["role"], row["live_tokens"]) for row in listed] == [("ci", "viewer", 1)]
    assert [row["hint"] for row in owner.get(f"{BASE}/{account}/tokens").json()["results"]] == [program.headers["Authorization"][-4:]]


def test_nobody_signs_in_as_a_program(tenant: Tenant) -> None:
    made(api_of(tenant))
    user = User.objects.get(is_service=True)
    assert user.email.endswith("@service.invalid")
    assert not user.has_usable_password()
    assert authenticate(None, email=user.email, password="") is None
    assert not user.emailaddress_set.exists()


def test_a_deleted_service_account_is_refused_at_once_and_its_name_is_free(tenant: Tenant) -> None:
    owner = api_of(tenant)
    account = made(owner)
    program = Api(token_of(owner, account))
    assert program.get("clouds").status_code == 200
    assert owner.delete(f"{BASE}/{account}").status_code == 204
    refused(program.get("clouds"), 401, "token_invalid")
    refused(owner.get(f"{BASE}/{account}"), 404, "service_account_not_found")
    refused(owner.post(f"{BASE}/{account}/tokens", {}), 404, "service_account_not_found")
    assert made(owner) != account
    assert AuditEvent.objects.get(action="service_account.deleted").data == {"tokens_revoked": 1}


@pytest.mark.parametrize("lost", ["membership", "account", "user", "tenant"])
def test_each_thing_a_program_hangs_on_is_enough_to_refuse_it(tenant: Tenant, lost: str) -> None:
    owner = api_of(tenant)
    program = Api(token_of(owner, made(owner)))
    assert program.get("clouds").status_code == 200
    user = User.objects.get(is_service=True)
    if lost == "membership":
        Membership.objects.filter(user=user).delete()
    elif lost == "account":
        ServiceAccount.objects.update(deleted_at=clock.now())
    elif lost == "user":
        User.objects.filter(id=user.id).update(is_active=False)
    else:
        Tenant.objects.update(deleted_at=clock.now())
    refused(program.get("clouds"), 401, "token_invalid")


def test_a_program_outlives_whoever_made_it(tenant: Tenant) -> None:
    admin = make_user()
    join(tenant, admin, role=Role.ADMIN)
    theirs = api_of(tenant, admin)
    program = Api(token_of(theirs, made(theirs)))
    Membership.objects.filter(user=admin).delete()
    refused(theirs.get("clouds"), 401, "token_invalid")
    assert program.get("tenants/demo/bays").status_code == 200


def test_only_those_who_manage_the_organisation_see_or_make_programs(tenant: Tenant) -> None:
    owner = api_of(tenant)
    account = made(owner)
    operator = make_user()
    join(tenant, operator, role=Role.OPERATOR)
    member, stranger = api_of(tenant, operator), api_of(make_tenant("other"))
    requests: list[tuple[str, str, Any]] = [
        ("GET", BASE, None),
        ("POST", BASE, {"name": "mine", "role": "viewer"}),
        ("GET", f"{BASE}/{account}", None),
        ("PATCH", f"{BASE}/{account}", {"role": "viewer"}),
        ("DELETE", f"{BASE}/{account}", None),
        ("GET", f"{BASE}/{account}/tokens", None),
        ("POST", f"{BASE}/{account}/tokens", {}),
    ]
    for method, path, body in requests:
        refused(member(method, path, body), 403, "role_missing")
        refused(stranger(method, path, body), 404, "tenant_not_found")
        elsewhere = stranger(method, path.replace("/demo/", "/other/"), body)
        assert elsewhere.status_code == 404 or path == BASE
    assert ServiceAccount.objects.get(tenant=tenant).name == "ci"
    assert ApiToken.objects.filter(user__is_service=True).count() == 0


@pytest.mark.parametrize("role", ["owner", "root", "", "Admin"])
def test_a_program_cannot_be_an_owner_or_what_does_not_exist(tenant: Tenant, role: str) -> None:
    problem = refused(api_of(tenant).post(BASE, {"name": "ci", "role": role}), 422, "invalid")
    assert list(problem["errors"]) == ["role"]
    assert not User.objects.filter(is_service=True).exists()


def test_a_program_never_gets_a_role_above_what_its_maker_may(tenant: Tenant) -> None:
    scopes = {"tenant:manage", *PERMISSIONS[Role.VIEWER]}
    weak = api_of(tenant, scopes=sorted(scopes))
    refused(weak.post(BASE, {"name": "ci", "role": "admin"}), 422, "invalid")
    refused(weak.post(BASE, {"name": "ci", "role": "operator"}), 422, "invalid")
    account = made(weak, role="viewer")
    refused(weak.patch(f"{BASE}/{account}", {"role": "operator"}), 422, "invalid")
    strong = made(api_of(tenant), name="strong", role="admin")
    granted = weak.post(f"{BASE}/{strong}/tokens", {}).json()["scopes"]
    assert set(granted) == scopes
    refused(weak.post(f"{BASE}/{strong}/tokens", {"scopes": ["bay:delete"]}), 422, "invalid")


def test_a_token_for_a_program_needs_the_scope_for_tokens_and_does_not_outlive_the_one_it_is_made_with(tenant: Tenant) -> None:
    account = made(api_of(tenant))
    refused(api_of(tenant, scopes=["tenant:manage"]).post(f"{BASE}/{account}/tokens", {}), 403, "scope_missing")
    short = api_of(tenant, lifetime=timedelta(hours=1))
    late = {"expires_at": (clock.now() + timedelta(hours=2)).isoformat()}
    refused(short.post(f"{BASE}/{account}/tokens", late), 422, "invalid")


def test_a_scope_beyond_the_programs_role_is_refused_by_name(tenant: Tenant) -> None:
    owner = api_of(tenant)
    account = made(owner, role="viewer")
    problem = refused(owner.post(f"{BASE}/{account}/tokens", {"scopes": ["bay:create"]}), 422, "invalid")
    assert "the service account's role “viewer”" in problem["detail"]


def test_what_a_programs_token_may_follows_its_role(tenant: Tenant) -> None:
    owner = api_of(tenant)
    account = made(owner, role="admin")
    program = Api(token_of(owner, account))
    assert program.get(BASE).status_code == 200
    changed = owner.patch(f"{BASE}/{account}", {"role": "viewer", "name": "robot"}).json()
    assert (changed["name"], changed["role"]) == ("robot", "viewer")
    assert changed["user"].startswith("robot-")
    refused(program.get(BASE), 403, "role_missing")


def test_names_of_programs_are_checked_and_taken_once(tenant: Tenant) -> None:
    owner = api_of(tenant)
    account = made(owner)
    refused(owner.post(BASE, {"name": "ci", "role": "viewer"}), 409, "name_taken")
    refused(owner.post(BASE, {"name": "C I", "role": "viewer"}), 422, "name_characters")
    other = made(owner, name="other")
    refused(owner.patch(f"{BASE}/{other}", {"name": "ci"}), 409, "name_taken")
    assert User.objects.filter(is_service=True).count() == 2, "a refusal leaves no user behind"
    assert owner.get(f"{BASE}/{account}").json()["name"] == "ci"


def test_an_organisation_has_at_most_so_many_programs(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.tenants.service_accounts.MOST", 1)
    owner = api_of(tenant)
    made(owner)
    refused(owner.post(BASE, {"name": "two", "role": "viewer"}), 409, "too_many_service_accounts")


# --- pages ----------------------------------------------------------------------------------------------------------------------


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_the_pages_of_programs_make_change_and_delete_one(tenant: Tenant) -> None:
    owner = browser(owner_of(tenant))
    page = owner.post("/t/demo/service-accounts/", {"name": "ci", "role": "operator"}, follow=True)
    account = ServiceAccount.objects.get()
    assert page.redirect_chain == [(f"/t/demo/service-accounts/{account.id}/", 302)]
    issued = owner.post(f"/t/demo/service-accounts/{account.id}/", {"name": "deploy", "scopes": ["bay:read"], "expires_at": "30"})
    assert b"carina_" in issued.content
    token = ApiToken.objects.get()
    assert (token.user, token.scopes) == (account.user, ["bay:read"])
    owner.post(f"/t/demo/service-accounts/{account.id}/change", {"name": "robot", "role": "viewer"})
    assert ServiceAccount.objects.get().name == "robot"
    everyone = owner.get("/t/demo/tokens/everyone/")
    assert b"deploy" in everyone.content
    assert b"robot" in everyone.content
    wrong = owner.post(f"/t/demo/service-accounts/{account.id}/delete", {"confirm": "ci"})
    assert (wrong.status_code, b"type \xe2\x80\x9crobot" in wrong.content) == (422, True)
    owner.post(f"/t/demo/service-accounts/{account.id}/tokens/{token.id}/revoke")
    assert ApiToken.objects.get().revoked_at is not None
    owner.post(f"/t/demo/service-accounts/{account.id}/delete", {"confirm": "robot"})
    assert ServiceAccount.objects.get().deleted_at is not None


def test_the_page_of_all_tokens_shows_what_a_maximum_would_cut_before_it_is_set(tenant: Tenant) -> None:
    owner = browser(owner_of(tenant))
    owner.post("/t/demo/tokens/", {"name": "long", "scopes": ["bay:read"], "expires_at": "365"})
    review = owner.get("/t/demo/tokens/everyone/?max_token_days=30")
    assert b"One token is valid for longer" in review.content
    assert Tenant.objects.get().max_token_days is None
    assert owner.get("/t/demo/tokens/everyone/?max_token_days=999").status_code == 422
    owner.post("/t/demo/tokens/maximum", {"max_token_days": "30"})
    assert Tenant.objects.get().max_token_days == 30
    assert ApiToken.objects.get().expires_at <= clock.now() + timedelta(days=30)
    form = owner.get("/t/demo/tokens/").content
    chosen = set(re.findall(rb'value="([a-z:]+)"[^>]* checked', form))
    assert b"bay:create" in chosen
    assert not {b"token:manage", b"tenant:manage"} & chosen, "what changes who gets in is chosen by hand"
    assert b"30 days" in form
    assert b"90 days" not in form


def test_members_and_strangers_get_none_of_these_pages(tenant: Tenant) -> None:
    account = made(api_of(tenant))
    member = make_user()
    join(tenant, member, role=Role.OPERATOR)
    stranger = owner_of(make_tenant("other"))
    gets = ["tokens/everyone/", "service-accounts/", f"service-accounts/{account}/"]
    token = ApiToken.objects.all()[0].id
    posts = [
        "tokens/maximum", "service-accounts/", f"service-accounts/{account}/change", f"service-accounts/{account}/delete",
        f"service-accounts/{account}/", f"service-accounts/{account}/tokens/{token}/revoke",
    ]  # fmt: skip
    for user, status in ((member, 403), (stranger, 404)):
        client = browser(user)
        for path in gets:
            assert client.get(f"/t/demo/{path}").status_code == status, path
        for path in posts:
            answer = client.post(f"/t/demo/{path}", {"name": "x", "role": "viewer", "confirm": "ci", "max_token_days": "1"})
            assert answer.status_code == status, path
    theirs = browser(stranger)
    for path in (f"service-accounts/{account}/", f"service-accounts/{account}/delete", f"service-accounts/{uuid4()}/"):
        assert theirs.post(f"/t/other/{path}", {"confirm": "ci"}).status_code == 404
    assert ServiceAccount.objects.get().deleted_at is None
    assert Tenant.objects.get(slug="demo").max_token_days is None


# --- application credentials ----------------------------------------------------------------------------------------------------


def test_an_application_credential_is_let_in_with_id_and_secret_and_its_use_is_noted(tenant: Tenant) -> None:
    answer = api_of(tenant).post("tenants/demo/application-credentials", {"name": "terraform"}).json()
    assert answer["secret"].startswith("carinaapp_")
    for key in (answer["id"], answer["id"].replace("-", "")):
        row = authenticate_application_credential(id=key, secret=answer["secret"], address="192.0.2.1")
        assert row is not None
    stored = ApiToken.objects.get(kind="application_credential")
    assert (stored.last_used_address, stored.user) == ("192.0.2.1", owner_of(tenant))
    assert answer["secret"][10:] not in str(ApiToken.objects.values().get(id=stored.id))
    assert api_of(tenant).get("tenants/demo/application-credentials").json()["results"][0]["name"] == "terraform"


def test_a_wrong_secret_another_ones_secret_and_a_token_let_nobody_in(tenant: Tenant) -> None:
    access = access_for(tenant)
    one, two = (create_application_credential(access=access, name=name) for name in ("one", "two"))
    token = create_token(access=access, name="token")
    wrong = [
        (one.row.id, two.text), (one.row.id, one.text[:-1] + "!"), (token.row.id, token.text), (one.row.id, token.text),
        (uuid4(), one.text), ("no id", one.text), (one.row.id, ""), (one.row.id, "\ud800"),
    ]  # fmt: skip
    for key, secret in wrong:
        assert authenticate_application_credential(id=str(key), secret=secret, address=None) is None
    refused(Api(one.text).get("clouds"), 401, "token_malformed")


@pytest.mark.parametrize("lost", ["revoked", "expired", "membership", "user", "tenant"])
def test_an_application_credential_stops_when_what_it_hangs_on_is_gone(tenant: Tenant, lost: str) -> None:
    new = create_application_credential(access=access_for(tenant), name="x")
    key = new.row.id.hex
    assert authenticate_application_credential(id=key, secret=new.text, address=None)
    moment = clock.now()
    changes: dict[str, Any] = {
        "revoked": lambda: ApiToken.objects.update(revoked_at=moment),
        "expired": lambda: ApiToken.objects.update(expires_at=moment),
        "membership": Membership.objects.all().delete,
        "user": lambda: User.objects.update(is_active=False),
        "tenant": lambda: Tenant.objects.update(deleted_at=moment),
    }
    changes[lost]()
    assert authenticate_application_credential(id=key, secret=new.text, address=None) is None


def test_an_application_credential_makes_no_tokens_and_manages_nobody(tenant: Tenant) -> None:
    api = api_of(tenant)
    problem = refused(api.post("tenants/demo/application-credentials", {"scopes": ["token:manage"]}), 422, "invalid")
    assert "never manage tokens" in problem["detail"]
    new = create_application_credential(access=access_for(tenant), name="x")
    assert not {"token:manage", "tenant:manage"} & set(new.row.scopes)
    access = access_of(user=new.row.user, slug="demo", token=new.row)
    assert not access.may(Permission.TENANT_MANAGE)
    with pytest.raises(Forbidden):
        create_token(access=access, name="child")
    with pytest.raises(Forbidden, match="application credential"):  # whatever scopes it might have
        create_token(access=replace(access_for(tenant), token=new.row), name="child")


def test_a_program_cannot_own_an_organisation(tenant: Tenant) -> None:
    answer = Api(program_token(tenant, role=Role.ADMIN)).post("tenants", {"slug": "robots", "name": "Robots"})
    assert (answer.status_code, answer.json()["code"]) == (403, "only_people")
    assert not Tenant.objects.filter(slug="robots").exists()
