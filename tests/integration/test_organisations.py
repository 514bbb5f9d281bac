"""Organisations and their people: who may rename, rule, leave, delete, and change members; and what a removed member is left with."""

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.bays.access import issue_bundle
from apps.bays.former_members import certificates_of_former_members
from apps.bays.models import Bay
from apps.common.clock import now
from apps.common.errors import Conflict, Forbidden
from apps.credentials.models import Certificate
from apps.tenants.invitations import invite
from apps.tenants.members import change_role, leave_tenant, remove_member
from apps.tenants.models import ApiToken, Invitation, Membership, Tenant
from apps.tenants.roles import Permission, Role
from apps.tenants.services import create_tenant, delete_tenant, ensure_personal_tenant, require_mfa, tenants_of
from tests.factories import (
    Api,
    access_for,
    api_of,
    join,
    make_bay,
    make_cloud,
    make_flavor,
    make_tenant,
    make_user,
    owner_of,
    token_for,
)

pytestmark = pytest.mark.django_db
SETTINGS, MEMBERS = "/t/crew/settings/", "/t/crew/members/"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("crew")


def member(tenant: Tenant, role: Role, email: str = "") -> User:
    user = make_user(email)
    join(tenant, user, role=role)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.content
    return str(answer.json()["detail"])


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("at").values_list("action", flat=True))


# --- roles --------------------------------------------------------------------------------------------------------------------


def test_each_role_may_what_it_is_for(tenant: Tenant) -> None:
    expected = {
        Role.OWNER: set(Permission),
        Role.ADMIN: set(Permission) - {Permission.TENANT_DELETE, Permission.OWNER_MANAGE},
        Role.OPERATOR: {
            *("bay:read", "bay:create", "bay:change", "bay:delete", "bay:access"),
            *("tenant:read", "tenant:leave", "token:manage"),
        },
        Role.BILLING: {"tenant:read", "tenant:leave", "token:manage", "billing:read", "billing:manage"},
        Role.VIEWER: {"bay:read", "tenant:read", "tenant:leave", "token:manage"},
    }
    for role, permissions in expected.items():
        user = owner_of(tenant) if role == Role.OWNER else member(tenant, role)
        assert access_for(tenant, user).permissions == permissions, role


CHANGES = [
    ("PATCH", "", {"name": "Ours"}),
    ("DELETE", "", None),
    ("PATCH", "/members/{owner}", {"role": "viewer"}),
    ("PATCH", "/members/{other}", {"role": "admin"}),
    ("DELETE", "/members/{owner}", None),
    ("DELETE", "/members/{other}", None),
    ("GET", "/invitations", None),
    ("POST", "/invitations", {"email": "new@example.com", "role": "viewer"}),
    ("DELETE", "/invitations/{invitation}", None),
    ("POST", "/invitations/{invitation}/resend", {}),
]
BEYOND_ADMINS = {("DELETE", ""), ("PATCH", "/members/{owner}"), ("DELETE", "/members/{owner}")}


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.BILLING, Role.VIEWER, Role.ADMIN, None])
def test_who_is_not_meant_to_manage_people_and_settings_is_refused(tenant: Tenant, role: Role | None) -> None:
    owner, other = owner_of(tenant), member(tenant, Role.VIEWER)
    row = invite(access=access_for(tenant), email="old@example.com", role="viewer")
    asker = member(tenant, role) if role else make_user()
    api = api_of(tenant, asker) if role else api_of(make_tenant(owner=asker), asker)
    known = set(AuditEvent.objects.values_list("id", flat=True))
    for method, path, body in CHANGES:
        if role == Role.ADMIN and (method, path) not in BEYOND_ADMINS:
            continue
        answer = api(method, f"tenants/crew{path.format(owner=owner.id, other=other.id, invitation=row.id)}", body)
        refused(answer, 403 if role else 404, "role_missing" if role else "tenant_not_found")
    assert not AuditEvent.objects.exclude(id__in=known).exists()
    assert Tenant.objects.get(slug="crew").name == "Crew"


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.BILLING, Role.VIEWER, None])
def test_pages_refuse_as_the_api_does(tenant: Tenant, role: Role | None) -> None:
    other = member(tenant, Role.VIEWER)
    row = invite(access=access_for(tenant), email="old@example.com", role="viewer")
    client = signed_in(member(tenant, role) if role else make_user())
    status = 403 if role else 404
    for path in ("settings/rename", "settings/second-factor", "settings/delete", "members/", f"members/{other.id}/role"):
        data = {"name": "x", "confirm": "crew", "role": "admin", "email": "a@example.com", "expires_in_days": "7"}
        assert client.post(f"/t/crew/{path}", data).status_code == status, path
    for path in (f"members/{other.id}/remove", f"members/invitations/{row.id}/resend", f"members/invitations/{row.id}/revoke"):
        assert client.post(f"/t/crew/{path}").status_code == status, path
    for path in ("settings/", "members/"):
        assert client.get(f"/t/crew/{path}").status_code == (200 if role else 404), path
    if role is None:
        assert client.post("/t/crew/settings/leave").status_code == 404
    assert Membership.objects.filter(tenant=tenant, user=other, role=Role.VIEWER).exists()


# --- the organisation ---------------------------------------------------------------------------------------------------------


def test_an_organisation_is_made_on_its_page_and_is_the_one_shown_next_time(tenant: Tenant) -> None:
    client = signed_in(owner_of(tenant))
    assertRedirects(client.post("/organisations/", {"name": "Blue team"}), "/t/blue-team/members/")
    assert Membership.objects.get(tenant__slug="blue-team").user == owner_of(tenant)
    assertRedirects(client.get("/"), "/t/blue-team/bays/new", fetch_redirect_response=False)
    client.get(SETTINGS)
    assertRedirects(client.get("/"), "/t/crew/bays/new", fetch_redirect_response=False)


def test_the_browsers_memory_of_an_organisation_opens_nothing(tenant: Tenant) -> None:
    stranger = make_user()
    own = make_tenant("own", owner=stranger)
    client = signed_in(stranger)
    client.get("/t/own/settings/")
    name = next(name for name in client.cookies if name.startswith("carina_tenant_"))
    assert client.cookies[name].value == str(own.id)
    client.cookies[name] = str(tenant.id)
    assertRedirects(client.get("/"), "/t/own/bays/new", fetch_redirect_response=False)
    assert client.get(SETTINGS).status_code == 404


@pytest.mark.parametrize(("name", "slug"), [("", ""), ("Team", "No Spaces"), ("x" * 81, "team"), ("see https://evil.example", "team")])
def test_a_name_that_cannot_be_is_refused_beside_its_field(tenant: Tenant, name: str, slug: str) -> None:
    answer = signed_in(owner_of(tenant)).post("/organisations/", {"name": name, "slug": slug})
    assertContains(answer, "_error", status_code=422)
    assert Tenant.objects.count() == 1


def test_renaming_changes_the_name_for_people_and_no_address(tenant: Tenant) -> None:
    answer = api_of(tenant).patch("tenants/crew", {"name": "  Night   watch "})
    assert (answer.status_code, answer.json()["name"], answer.json()["slug"]) == (200, "Night watch", "crew")
    client = signed_in(owner_of(tenant))
    assertRedirects(client.post(f"{SETTINGS}rename", {"name": "Day watch"}), SETTINGS)
    assertContains(client.get(SETTINGS), "Day watch")
    assertContains(client.post(f"{SETTINGS}rename", {"name": ""}), "A name is needed", status_code=422)
    refused(api_of(tenant).patch("tenants/crew", {"slug": "other"}), 422, "field_unknown")


def test_a_second_factor_is_asked_of_others_only_by_those_who_have_one(tenant: Tenant) -> None:
    with pytest.raises(Conflict, match="no second factor yourself"):
        require_mfa(access=access_for(tenant), required=True)
    refused(api_of(tenant).patch("tenants/crew", {"mfa_required": True}), 409, "second_factor_missing")
    client = signed_in(owner_of(tenant))
    assertContains(client.post(f"{SETTINGS}second-factor", {"mfa_required": "on"}), "no second factor yourself", status_code=422)
    assert not Tenant.objects.get().mfa_required
    with patch("apps.tenants.services.has_second_factor", return_value=True):
        require_mfa(access=access_for(tenant), required=True)
    assert Tenant.objects.get().mfa_required
    refused(api_of(make_tenant("other")).patch("tenants/other", {"mfa_required": "yes"}), 422, "type")


def test_what_is_half_wrong_changes_nothing(tenant: Tenant) -> None:
    refused(api_of(tenant).patch("tenants/crew", {"name": "New", "mfa_required": True}), 409, "second_factor_missing")
    assert Tenant.objects.get().name == "Crew"


def test_an_organisation_with_bays_is_not_deleted_and_the_refusal_names_them(tenant: Tenant) -> None:
    make_cloud()
    make_flavor()
    for name in ("vega", "altair"):
        make_bay(tenant, name)
    assert "2 bays: altair, vega" in refused(api_of(tenant).delete("tenants/crew"), 409, "tenant_has_bays")
    client = signed_in(owner_of(tenant))
    assertContains(client.get(SETTINGS), "/t/crew/bays/altair/settings")
    assertContains(client.post(f"{SETTINGS}delete", {"confirm": "crew"}), "still has 2 bays", status_code=422)
    Bay.objects.update(condition="deleted", deleted_at=now())
    assert api_of(tenant).delete("tenants/crew").status_code == 204


def test_a_deleted_organisation_is_gone_everywhere_and_its_name_is_free(tenant: Tenant) -> None:
    owner, viewer = owner_of(tenant), member(tenant, Role.VIEWER)
    clients, token = [signed_in(owner), signed_in(viewer)], token_for(tenant, viewer)
    row = invite(access=access_for(tenant), email="new@example.com", role="viewer")
    for client in clients:
        assert client.get(SETTINGS).status_code == 200
    assertContains(clients[0].post(f"{SETTINGS}delete", {"confirm": "crow"}), "This is not its name", status_code=422)
    assertRedirects(clients[0].post(f"{SETTINGS}delete", {"confirm": "crew"}), "/organisations/")
    gone = Tenant.objects.get(id=tenant.id)
    assert gone.deleted_at is not None
    for client in clients:
        for slug in ("crew", gone.slug):
            assert client.get(f"/t/{slug}/settings/").status_code == 404
            assert client.get(f"/api/v1/tenants/{slug}").status_code == 404
        assert client.get("/api/v1/tenants").json()["results"] == []
        assertNotContains(client.get("/organisations/"), "Crew")
    assert Api(token).get("tenants/crew").status_code == 401
    assert ApiToken.objects.get(user=viewer).revoked_at is not None
    assert Invitation.objects.get(id=row.id).revoked_at is not None
    assert not tenants_of(user=owner).exists()
    again = create_tenant(by=make_user(), slug="crew")
    assert signed_in(owner).get("/t/crew/settings/").status_code == 404
    assert again.id != gone.id
    assert "tenant.deleted" in actions()


def test_a_deleted_one_does_not_count_towards_what_a_person_may_own(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.tenants.services.TENANTS_PER_USER", 1)
    owner = owner_of(tenant)
    with pytest.raises(Conflict, match="the most one person may own"):
        create_tenant(by=owner, slug="second")
    delete_tenant(access=access_for(tenant))
    create_tenant(by=owner, slug="second")


def test_a_personal_organisation_goes_only_when_another_remains() -> None:
    user = make_user("ann@example.com")
    personal = ensure_personal_tenant(user=user)
    with pytest.raises(Conflict, match="the only one you belong to"):
        delete_tenant(access=access_for(personal))
    make_tenant("crew", owner=user)
    delete_tenant(access=access_for(personal))
    assert [tenant.slug for tenant in tenants_of(user=user)] == ["crew"]
    assert ensure_personal_tenant(user=user).id != personal.id


# --- leaving ------------------------------------------------------------------------------------------------------------------


def test_the_last_owner_cannot_leave_be_demoted_or_removed(tenant: Tenant) -> None:
    owner, admin = owner_of(tenant), member(tenant, Role.ADMIN)
    assert "last owner" in refused(api_of(tenant).post("tenants/crew/leave"), 409, "last_owner")
    assert "last owner" in refused(api_of(tenant).patch(f"tenants/crew/members/{owner.id}", {"role": "admin"}), 409, "last_owner")
    refused(api_of(tenant, admin).delete(f"tenants/crew/members/{owner.id}"), 403, "role_missing")
    client = signed_in(owner)
    assertContains(client.post(f"{SETTINGS}leave", follow=True), "is the last owner")
    assertContains(client.post(f"{MEMBERS}{owner.id}/role", {"role": "viewer"}, follow=True), "is the last owner")
    assert Membership.objects.get(user=owner).role == Role.OWNER


def test_neither_a_disabled_owner_nor_a_service_account_counts_as_an_owner_who_remains(tenant: Tenant) -> None:
    disabled, program = member(tenant, Role.OWNER), member(tenant, Role.OWNER)
    User.objects.filter(pk=disabled.pk).update(is_active=False)
    User.objects.filter(pk=program.pk).update(is_service=True)
    owner = Membership.objects.filter(tenant=tenant, role=Role.OWNER).earliest("created_at").user
    with pytest.raises(Conflict, match="last owner"):
        leave_tenant(access=access_for(tenant, owner))
    User.objects.filter(pk=disabled.pk).update(is_active=True)
    leave_tenant(access=access_for(tenant, owner))


def test_who_leaves_loses_tokens_and_pages_at_once(tenant: Tenant) -> None:
    viewer = member(tenant, Role.VIEWER)
    token, client = token_for(tenant, viewer), signed_in(viewer)
    assertRedirects(client.post(f"{SETTINGS}leave"), "/organisations/")
    assert client.get(SETTINGS).status_code == 404
    assert Api(token).get("tenants/crew/members").status_code == 401
    assert actions()[-1] == "member.left"


def test_a_service_account_does_not_leave(tenant: Tenant) -> None:
    program = member(tenant, Role.OPERATOR)
    User.objects.filter(pk=program.pk).update(is_service=True)
    program.refresh_from_db()
    with pytest.raises(Forbidden, match="cannot leave"):
        leave_tenant(access=access_for(tenant, program))


# --- members ------------------------------------------------------------------------------------------------------------------


def test_members_are_listed_with_roles_and_without_programs(tenant: Tenant) -> None:
    viewer, program = member(tenant, Role.VIEWER), member(tenant, Role.OPERATOR)
    User.objects.filter(pk=program.pk).update(is_service=True)
    listed = api_of(tenant, viewer).get("tenants/crew/members").json()["results"]
    assert [(row["id"], row["role"]) for row in listed] == [(str(viewer.id), "viewer"), (str(owner_of(tenant).id), "owner")]
    refused(api_of(tenant).get(f"tenants/crew/members/{program.id}"), 404, "member_not_found")
    refused(api_of(tenant).delete(f"tenants/crew/members/{program.id}"), 404, "member_not_found")


def test_a_role_holds_from_the_next_request_on(tenant: Tenant) -> None:
    viewer = member(tenant, Role.VIEWER)
    client = signed_in(viewer)
    assert client.get("/t/crew/bays/new").status_code == 403
    changed = api_of(tenant).patch(f"tenants/crew/members/{viewer.id}", {"role": "operator"})
    assert (changed.status_code, changed.json()["role"]) == (200, "operator")
    assert client.get("/t/crew/bays/new").status_code == 200
    assertRedirects(signed_in(owner_of(tenant)).post(f"{MEMBERS}{viewer.id}/role", {"role": "billing"}), MEMBERS)
    assert client.get("/t/crew/bays/new").status_code == 403


@pytest.mark.parametrize("role", ["emperor", "", "OWNER", "owner "])
def test_a_role_that_is_none_is_refused(tenant: Tenant, role: str) -> None:
    viewer = member(tenant, Role.VIEWER)
    refused(api_of(tenant).patch(f"tenants/crew/members/{viewer.id}", {"role": role}), 422, "role_unknown")


def test_an_admin_makes_no_owners_and_does_not_touch_them(tenant: Tenant) -> None:
    admin, second, viewer = member(tenant, Role.ADMIN), member(tenant, Role.OWNER), member(tenant, Role.VIEWER)
    api = api_of(tenant, admin)
    refused(api.patch(f"tenants/crew/members/{viewer.id}", {"role": "owner"}), 403, "role_missing")
    refused(api.patch(f"tenants/crew/members/{admin.id}", {"role": "owner"}), 403, "role_missing")
    refused(api.patch(f"tenants/crew/members/{second.id}", {"role": "viewer"}), 403, "role_missing")
    refused(api.delete(f"tenants/crew/members/{second.id}"), 403, "role_missing")
    refused(api.post("tenants/crew/invitations", {"email": "x@example.com", "role": "owner"}), 403, "role_missing")
    assert api.patch(f"tenants/crew/members/{viewer.id}", {"role": "admin"}).status_code == 200
    page = signed_in(admin).get(MEMBERS)
    assertNotContains(page, '<option value="owner"')
    assertNotContains(page, f"/members/{second.id}/role")


def test_an_owners_token_needs_the_scope_to_touch_owners(tenant: Tenant) -> None:
    second = member(tenant, Role.OWNER)
    first = Membership.objects.filter(tenant=tenant, role=Role.OWNER).earliest("created_at").user
    api = Api(token_for(tenant, first, scopes=["member:manage"]))
    refused(api.delete(f"tenants/crew/members/{second.id}"), 403, "scope_missing")
    assert Api(token_for(tenant, first)).delete(f"tenants/crew/members/{second.id}").status_code == 204


def test_a_member_of_another_organisation_is_not_found_here(tenant: Tenant) -> None:
    elsewhere = make_tenant("elsewhere")
    foreign = owner_of(elsewhere)
    for method, body in (("GET", None), ("PATCH", {"role": "viewer"}), ("DELETE", None)):
        refused(api_of(tenant)(method, f"tenants/crew/members/{foreign.id}", body), 404, "member_not_found")
    client = signed_in(owner_of(tenant))
    assert client.post(f"{MEMBERS}{foreign.id}/role", {"role": "viewer"}).status_code == 404
    assert client.get(f"{MEMBERS}{foreign.id}/remove").status_code == 404
    assert Membership.objects.get(user=foreign).role == Role.OWNER


def test_a_removed_members_tokens_and_sessions_are_refused_at_once(tenant: Tenant) -> None:
    bob = member(tenant, Role.OPERATOR)
    elsewhere = make_tenant("elsewhere", owner=bob)
    token, other_token, client = token_for(tenant, bob), token_for(elsewhere, bob), signed_in(bob)
    assert client.get(SETTINGS).status_code == 200
    assert api_of(tenant).delete(f"tenants/crew/members/{bob.id}").status_code == 204
    assert client.get(SETTINGS).status_code == 404
    assert Api(token).get("tenants/crew/members").status_code == 401
    assert ApiToken.objects.get(user=bob, tenant=tenant).revoked_at is not None
    assert Api(other_token).get("tenants/elsewhere").status_code == 200, "what is not of this organisation stays"


def test_a_removed_member_has_no_way_back_by_an_older_invitation_by_or_for_them(tenant: Tenant) -> None:
    bob = member(tenant, Role.ADMIN, "bob@example.com")
    EmailAddress.objects.create(user=bob, email="Bob@home.example", verified=True)
    owner = access_for(tenant)
    for access, email in ((owner, "bob@home.example"), (access_for(tenant, bob), "friend@example.com"), (owner, "eve@example.com")):
        invite(access=access, email=email, role="viewer")
    remove_member(access=owner, user_id=bob.id)
    assert list(Invitation.objects.filter(revoked_at=None).values_list("email", flat=True)) == ["eve@example.com"]


def test_nobody_removes_themselves(tenant: Tenant) -> None:
    member(tenant, Role.OWNER)
    me = Membership.objects.filter(tenant=tenant).earliest("created_at").user
    refused(api_of(tenant, me).delete(f"tenants/crew/members/{me.id}"), 409, "own_membership")


def test_of_two_owners_who_remove_each_other_the_second_is_an_owner_no_more(tenant: Tenant) -> None:
    second = member(tenant, Role.OWNER)
    first = Membership.objects.filter(tenant=tenant).earliest("created_at").user
    theirs = access_for(tenant, second)
    remove_member(access=access_for(tenant, first), user_id=second.id)
    with pytest.raises(Conflict, match="changed this moment"):
        change_role(access=theirs, user_id=first.id, role="viewer")


# --- certificates of those who went --------------------------------------------------------------------------------------------


def with_bay(tenant: Tenant, *users: User) -> Bay:
    make_cloud()
    make_flavor()
    bay = make_bay(tenant, "vega")
    for user in users:
        issue_bundle(access=access_for(tenant, user), reference="vega")
    return bay


def test_certificates_that_removed_and_demoted_members_hold_are_listed_and_the_others_not(tenant: Tenant) -> None:
    removed, demoted, stays = (member(tenant, Role.OPERATOR, f"{name}@example.com") for name in ("rob", "dem", "sam"))
    with_bay(tenant, removed, demoted, stays)
    owner = access_for(tenant)
    assert certificates_of_former_members(access=owner) == []
    client = signed_in(owner.user)
    assertContains(client.get(f"{MEMBERS}{removed.id}/remove"), "stays good until it expires")
    assertRedirects(client.post(f"{MEMBERS}{removed.id}/remove"), MEMBERS)
    change_role(access=owner, user_id=demoted.id, role="viewer")
    found = certificates_of_former_members(access=owner)
    assert {(item.holder, item.bay.name, item.why) for item in found} == {
        ("rob@example.com", "vega", "no longer a member"),
        ("dem@example.com", "vega", "viewer now, without credentials"),
    }
    page = client.get(MEMBERS)
    assertContains(page, "rob@example.com")
    assertContains(page, "Credentials in the hands of people who may not have them")


def test_expired_certificates_and_those_of_bays_that_are_gone_or_rotated_are_not_listed(tenant: Tenant) -> None:
    bob = member(tenant, Role.OPERATOR)
    bay = with_bay(tenant, bob)
    remove_member(access=access_for(tenant), user_id=bob.id)
    assert len(certificates_of_former_members(access=access_for(tenant))) == 1
    long_ago = now() - timedelta(days=2)
    Certificate.objects.update(issued_at=long_ago, expires_at=long_ago + timedelta(days=1))
    assert certificates_of_former_members(access=access_for(tenant)) == []
    Certificate.objects.update(expires_at=now() + timedelta(days=1))
    Bay.objects.filter(id=bay.id).update(authority=None)
    assert certificates_of_former_members(access=access_for(tenant)) == []


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER, Role.BILLING])
def test_certificates_of_others_are_shown_to_owners_and_admins_only(tenant: Tenant, role: Role) -> None:
    bob, other = member(tenant, Role.OPERATOR, "bob@example.com"), member(tenant, role)
    with_bay(tenant, bob)
    remove_member(access=access_for(tenant), user_id=bob.id)
    assertNotContains(signed_in(other).get(MEMBERS), "bob@example.com")
    assertContains(signed_in(member(tenant, Role.ADMIN)).get(MEMBERS), "bob@example.com")
    with pytest.raises(Forbidden):
        certificates_of_former_members(access=access_for(tenant, other))
