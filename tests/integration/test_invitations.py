"""Invitations: the mail, the link, the button; who may accept, what is said to everybody else, and fifty at once."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import connection
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.common.clock import now
from apps.common.errors import CarinaError, Conflict, NotFound
from apps.common.scope import as_user, in_tenant
from apps.tenants import acceptance, invitations
from apps.tenants.context import Access
from apps.tenants.invitations import digest_of, invite
from apps.tenants.members import leave_tenant, remove_member
from apps.tenants.models import Invitation, Membership, Tenant
from apps.tenants.roles import Role
from apps.tenants.services import delete_tenant
from tests.factories import access_for, api_of, join, make_tenant, make_user, owner_of

pytestmark = pytest.mark.django_db
PAGE, ACCEPT, MEMBERS = "/invitations/", "/invitations/accept", "/t/crew/members/"
DEAD = "This invitation is not valid any more"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("crew", owner=make_user("olga@example.com"))


def person(email: str) -> User:
    user = make_user(email)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.content
    return str(answer.json()["detail"])


def secret_of(message: Any = None) -> str:
    """The secret in the link of the newest mail."""
    found = re.search(r"/invitations/(\S+)/$", str((message or mail.outbox[-1]).body), re.MULTILINE)
    assert found
    return found[1]


def invited(tenant: Tenant, email: str = "ann@example.com", role: str = "operator") -> str:
    invite(access=access_for(tenant), email=email, role=role)
    return secret_of()


# --- sending ------------------------------------------------------------------------------------------------------------------


def test_a_mail_says_who_invites_to_what_and_its_secret_is_stored_as_a_hash_only(tenant: Tenant) -> None:
    secret = invited(tenant, "Ann@Example.com")
    message = mail.outbox[-1]
    assert message.to == ["ann@example.com"]
    assert message.subject == "olga@example.com invites you to Crew"
    assert "as Operator" in message.body
    assert "7 days" in message.body
    assert len(secret) >= 43
    row = Invitation.objects.values().get()
    assert row["digest"] == digest_of(secret=secret)
    assert all(secret not in str(value) for value in row.values())
    assert all(secret not in str(value) for event in AuditEvent.objects.values() for value in event.values())


def test_the_answer_is_the_same_whether_the_address_has_an_account_or_not(tenant: Tenant) -> None:
    person("known@example.com")
    api = api_of(tenant)
    answers = [api.post("tenants/crew/invitations", {"email": f"{name}@example.com", "role": "viewer"}) for name in ("known", "unknown")]
    assert [answer.status_code for answer in answers] == [201, 201]
    bodies = [{key: value for key, value in answer.json().items() if key not in {"id", "email"}} for answer in answers]
    assert bodies[0].keys() == bodies[1].keys()
    texts = [str(message.body).replace(secret_of(message), "") for message in mail.outbox]
    assert texts[0] == texts[1]
    pages = [
        signed_in(owner_of(tenant)).post(MEMBERS, {"email": f"{name}2@example.com", "role": "viewer", "expires_in_days": "7"})
        for name in ("known", "unknown")
    ]
    assert [(page.status_code, page["Location"]) for page in pages] == [(302, MEMBERS)] * 2


@pytest.mark.parametrize("email", ["", "ann", "ann@", "a b@example.com", "ann@example.com\nBcc: eve@example.com", "x@service.invalid"])
def test_an_address_that_is_none_is_refused(tenant: Tenant, email: str) -> None:
    refused(api_of(tenant).post("tenants/crew/invitations", {"email": email, "role": "viewer"}), 422, "email_invalid")
    assert mail.outbox == []


@pytest.mark.parametrize("days", [0, 31, -1, "7", True, 1.5])
def test_an_invitation_is_good_for_one_to_thirty_days(tenant: Tenant, days: object) -> None:
    answer = api_of(tenant).post("tenants/crew/invitations", {"email": "a@example.com", "role": "viewer", "expires_in_days": days})
    assert answer.status_code == 422
    made = api_of(tenant).post("tenants/crew/invitations", {"email": "a@example.com", "role": "viewer", "expires_in_days": 30})
    assert made.status_code == 201
    assert Invitation.objects.get().expires_at - now() > timedelta(days=29)


def test_a_member_is_not_invited_again_and_an_open_invitation_is_named(tenant: Tenant) -> None:
    assert "is a member already" in refused(
        api_of(tenant).post("tenants/crew/invitations", {"email": "OLGA@example.com", "role": "viewer"}), 409, "already_member"
    )
    invited(tenant)
    refused(api_of(tenant).post("tenants/crew/invitations", {"email": "ANN@example.com", "role": "viewer"}), 409, "already_invited")
    page = signed_in(owner_of(tenant)).post(MEMBERS, {"email": "ann@example.com", "role": "viewer", "expires_in_days": "7"})
    assertContains(page, "has an open invitation", status_code=422)
    Invitation.objects.update(expires_at=now() - timedelta(seconds=1))
    invited(tenant)
    assert Invitation.objects.filter(revoked_at=None).count() == 1


def test_a_mail_that_cannot_be_sent_changes_nothing_and_says_so(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> int:
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", broken)
    detail = refused(api_of(tenant).post("tenants/crew/invitations", {"email": "ann@example.com", "role": "viewer"}), 503, "unavailable")
    assert "nothing was changed" in detail
    assert not Invitation.objects.exists()
    page = signed_in(owner_of(tenant)).post(MEMBERS, {"email": "ann@example.com", "role": "viewer", "expires_in_days": "7"})
    assertContains(page, "nothing was changed", status_code=422)


def test_only_so_many_mails_an_hour_for_one_organisation_and_for_one_person(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "PER_TENANT", 2)
    monkeypatch.setattr(invitations, "PER_PERSON", 3)
    api = api_of(tenant)
    first = api.post("tenants/crew/invitations", {"email": "a@example.com", "role": "viewer"}).json()["id"]
    assert api.post(f"tenants/crew/invitations/{first}/resend").status_code == 200
    answer = api.post("tenants/crew/invitations", {"email": "b@example.com", "role": "viewer"})
    refused(answer, 429, "too_many_requests")
    assert int(answer.headers["Retry-After"]) > 0
    refused(api.post(f"tenants/crew/invitations/{first}/resend"), 429, "too_many_requests")
    admin = make_user()
    join(tenant, admin, role=Role.ADMIN)
    refused(api_of(tenant, admin).post("tenants/crew/invitations", {"email": "b@example.com", "role": "viewer"}), 429, "too_many_requests")
    second, third = (make_tenant(slug, owner=owner_of(tenant)) for slug in ("second", "third"))
    assert api_of(second).post("tenants/second/invitations", {"email": "b@example.com", "role": "viewer"}).status_code == 201
    refused(api_of(third).post("tenants/third/invitations", {"email": "b@example.com", "role": "viewer"}), 429, "too_many_requests")
    assert len(mail.outbox) == 3


def test_invitations_are_listed_without_their_secret_sent_again_and_withdrawn(tenant: Tenant) -> None:
    old = invited(tenant)
    api = api_of(tenant)
    listed = api.get("tenants/crew/invitations")
    row = listed.json()["results"][0]
    assert (row["email"], row["role"], row["invited_by"]) == ("ann@example.com", "operator", "olga@example.com")
    assert old not in listed.content.decode()
    assert digest_of(secret=old) not in listed.content.decode()
    address = f"tenants/crew/invitations/{row['id']}"
    Invitation.objects.update(expires_at=now() - timedelta(hours=1), sent_at=now() - timedelta(days=7, hours=1))
    assert api.post(f"{address}/resend").status_code == 200
    new = secret_of()
    assert new != old
    assert Invitation.objects.get().expires_at > now() + timedelta(days=6)
    ann = person("ann@example.com")
    with pytest.raises(NotFound):
        acceptance.accept(by=ann, digest=digest_of(secret=old))
    assert api.delete(address).status_code == 204
    refused(api.delete(address), 404, "invitation_not_found")
    refused(api.post(f"{address}/resend"), 404, "invitation_not_found")
    with pytest.raises(NotFound):
        acceptance.accept(by=ann, digest=digest_of(secret=new))


def test_the_page_sends_again_and_withdraws(tenant: Tenant) -> None:
    old = invited(tenant)
    client, row = signed_in(owner_of(tenant)), Invitation.objects.get()
    assertContains(client.post(f"{MEMBERS}invitations/{row.id}/resend", follow=True), "A new mail is on its way")
    assert secret_of() != old
    assertContains(client.post(f"{MEMBERS}invitations/{row.id}/revoke", follow=True), "is withdrawn")
    assert Invitation.objects.get().revoked_at is not None


def test_the_invitation_of_another_organisation_is_not_found_here(tenant: Tenant) -> None:
    invited(tenant)
    row, mallory = Invitation.objects.get(), make_user("mallory@example.com")
    other = make_tenant("other", owner=mallory)
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/resend")):
        refused(api_of(other)(method, f"tenants/other/invitations/{row.id}{rest}", {}), 404, "invitation_not_found")
        refused(api_of(other)(method, f"tenants/crew/invitations/{row.id}{rest}", {}), 404, "tenant_not_found")
    client = signed_in(mallory)
    for path in (f"/t/other/members/invitations/{row.id}/revoke", f"{MEMBERS}invitations/{row.id}/revoke"):
        assert client.post(path).status_code == 404
    assert Invitation.objects.get().revoked_at is None


def test_an_admin_neither_sends_again_nor_withdraws_the_invitation_of_an_owner(tenant: Tenant) -> None:
    invited(tenant, role="owner")
    admin = make_user()
    join(tenant, admin, role=Role.ADMIN)
    row = Invitation.objects.get()
    refused(api_of(tenant, admin).delete(f"tenants/crew/invitations/{row.id}"), 403, "role_missing")
    refused(api_of(tenant, admin).post(f"tenants/crew/invitations/{row.id}/resend"), 403, "role_missing")


# --- the link and the button --------------------------------------------------------------------------------------------------


def test_the_link_takes_its_secret_out_of_the_address_and_changes_nothing(tenant: Tenant) -> None:
    secret = invited(tenant)
    client = signed_in(person("ann@example.com"))
    for _ in range(3):
        assertRedirects(client.get(f"{PAGE}{secret}/"), PAGE)
    page = client.get(PAGE)
    for words in ("olga@example.com invites you to Crew as", "Operator", "Accept the invitation"):
        assertContains(page, words)
    assertNotContains(page, secret)
    assert page["Cache-Control"].startswith("max-age=0")
    assert client.get(ACCEPT).status_code == 405
    assert Membership.objects.count() == 1


def test_the_button_makes_a_member_with_the_role_and_leads_inside(tenant: Tenant) -> None:
    client = signed_in(ann := person("ann@example.com"))
    client.get(f"{PAGE}{invited(tenant)}/")
    assertRedirects(client.post(ACCEPT), "/", fetch_redirect_response=False)
    assertRedirects(client.get("/"), "/t/crew/bays/new", fetch_redirect_response=False)
    assert Membership.objects.get(tenant=tenant, user=ann).role == Role.OPERATOR
    row = Invitation.objects.get()
    assert (row.accepted_by, row.accepted_at is None) == (ann, False)
    assert AuditEvent.objects.latest("at").action == "invitation.accepted"
    assertNotContains(signed_in(owner_of(tenant)).get(MEMBERS), "Withdraw the invitation")


@pytest.mark.parametrize(("role", "leads_to"), [("viewer", "/t/crew/bays/"), ("billing", "/t/crew/settings/")])
def test_a_new_member_begins_with_a_page_their_role_has(tenant: Tenant, role: str, leads_to: str) -> None:
    client = signed_in(person("ann@example.com"))
    client.get(f"{PAGE}{invited(tenant, role=role)}/")
    assert client.post(ACCEPT, follow=True).redirect_chain[-1][0] == leads_to


def test_who_is_not_signed_in_is_led_to_sign_in_or_up_and_back(tenant: Tenant, client: Client) -> None:
    client.get(f"{PAGE}{invited(tenant)}/")
    page = client.get(PAGE)
    assertContains(page, "/account/login/?next=%2Finvitations%2F")
    assertContains(page, "/account/signup/?next=%2Finvitations%2F")
    assertContains(page, "ann@example.com")
    assertRedirects(client.post(ACCEPT), "/account/login/?next=%2Finvitations%2F", fetch_redirect_response=False)
    client.force_login(person("ann@example.com"), backend="allauth.account.auth_backends.AuthenticationBackend")
    assertContains(client.get(PAGE), "Accept the invitation")


def test_home_leads_once_to_the_invitation_somebody_signed_in_for(tenant: Tenant, client: Client) -> None:
    client.get(f"{PAGE}{invited(tenant)}/")
    client.force_login(person("ann@example.com"), backend="allauth.account.auth_backends.AuthenticationBackend")
    assertRedirects(client.get("/"), PAGE)
    assert client.get("/")["Location"] != PAGE


def test_somebody_with_another_address_is_told_so_and_what_to_do(tenant: Tenant) -> None:
    secret = invited(tenant)
    client = signed_in(bob := person("bob@example.com"))
    client.get(f"{PAGE}{secret}/")
    page = client.get(PAGE)
    for words in ("ann@example.com", "bob@example.com", "Sign out and use the other account"):
        assertContains(page, words)
    assertNotContains(page, "Accept the invitation")
    assertContains(client.post(ACCEPT), "Sign out and use the other account", status_code=409)
    assert not Membership.objects.filter(user=bob).exists()
    assertRedirects(client.post("/invitations/switch"), "/account/login/?next=%2Finvitations%2F", fetch_redirect_response=False)
    assert "_auth_user_id" not in client.session
    assertContains(client.get(PAGE), "Join Crew")


def test_an_address_that_was_added_and_confirmed_counts_and_one_that_was_not_does_not(tenant: Tenant) -> None:
    secret, bob = invited(tenant), person("bob@example.com")
    address = EmailAddress.objects.create(user=bob, email="Ann@example.com", verified=False)
    with pytest.raises(CarinaError, match="signed in as bob"):
        acceptance.accept(by=bob, digest=digest_of(secret=secret))
    address.verified = True
    address.save()
    assert acceptance.accept(by=bob, digest=digest_of(secret=secret)).user == bob


def spoil_expired(tenant: Tenant) -> None:
    Invitation.objects.update(expires_at=now() - timedelta(seconds=1))


def spoil_withdrawn(tenant: Tenant) -> None:
    Invitation.objects.update(revoked_at=now())


def spoil_used(tenant: Tenant) -> None:
    Invitation.objects.update(accepted_at=now(), accepted_by=make_user())


def spoil_deleted(tenant: Tenant) -> None:
    delete_tenant(access=access_for(tenant))


def spoil_unknown(tenant: Tenant) -> None:
    Invitation.objects.all().delete()


SPOILED = [spoil_expired, spoil_withdrawn, spoil_used, spoil_deleted, spoil_unknown]


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize("who", ["nobody", "invited", "other"])
def test_links_that_are_dead_and_links_that_never_were_get_one_and_the_same_page(
    tenant: Tenant, spoil: Callable[[Tenant], None], who: str
) -> None:
    secret, ann = invited(tenant), person("ann@example.com")
    spoil(tenant)
    client = Client()
    if who != "nobody":
        client = signed_in(ann if who == "invited" else person("bob@example.com"))
    reference = Client() if who == "nobody" else client
    reference.get(f"{PAGE}nonsense/")
    expected = _text(reference.get(PAGE))
    client.get(f"{PAGE}{secret}/")
    page = client.get(PAGE)
    assertContains(page, DEAD, status_code=404)
    assertNotContains(page, "Crew", status_code=404)
    assert _text(page) == expected
    if who != "nobody":
        assertContains(client.post(ACCEPT), DEAD, status_code=409)
    assert Membership.objects.count() == 1


def _text(page: Any) -> str:
    text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"|[0-9a-f]{32}', "", page.content.decode())
    return re.sub(r"\s+", " ", text)


def test_without_a_link_there_is_nothing_to_see(client: Client) -> None:
    assertContains(client.get(PAGE), DEAD, status_code=404)
    assertContains(signed_in(make_user()).post(ACCEPT), DEAD, status_code=409)


def test_accepting_twice_is_harmless_and_a_members_role_stays(tenant: Tenant) -> None:
    secret, ann = invited(tenant, role="owner"), person("ann@example.com")
    join(tenant, ann, role=Role.VIEWER)
    client = signed_in(ann)
    client.get(f"{PAGE}{secret}/")
    assertRedirects(client.get(PAGE), "/", fetch_redirect_response=False)
    for _ in range(2):
        assert acceptance.accept(by=ann, digest=digest_of(secret=secret)).role == Role.VIEWER
    assert Membership.objects.filter(user=ann).count() == 1


def test_a_member_does_not_use_up_an_invitation_that_is_for_somebody_else(tenant: Tenant) -> None:
    secret = invited(tenant)
    client = signed_in(owner_of(tenant))
    client.get(f"{PAGE}{secret}/")
    assertContains(client.get(PAGE), "Sign out and use the other account")
    assertContains(client.post(ACCEPT), "Sign out and use the other account", status_code=409)
    assert acceptance.accept(by=person("ann@example.com"), digest=digest_of(secret=secret)).role == Role.OPERATOR


def test_who_was_removed_does_not_come_back_by_the_link_they_once_used(tenant: Tenant) -> None:
    secret, ann = invited(tenant), person("ann@example.com")
    acceptance.accept(by=ann, digest=digest_of(secret=secret))
    remove_member(access=access_for(tenant), user_id=ann.id)
    with pytest.raises(NotFound):
        acceptance.accept(by=ann, digest=digest_of(secret=secret))


# --- REST ---------------------------------------------------------------------------------------------------------------------


def test_accepting_over_the_api_needs_the_address_the_secret_and_the_scope(tenant: Tenant) -> None:
    secret, ann, bob = invited(tenant), person("ann@example.com"), person("bob@example.com")
    own, bobs = make_tenant("own", owner=ann), make_tenant("bobs", owner=bob)
    refused(api_of(bobs).post("invitations/accept", {"secret": secret}), 403, "another_address")
    refused(api_of(own, scopes=["bay:read"]).post("invitations/accept", {"secret": secret}), 403, "scope_missing")
    refused(api_of(own).post("invitations/accept", {"secret": "nonsense"}), 404, "invitation_invalid")
    refused(api_of(own).post("invitations/accept", {"secret": 7}), 422, "type")
    answer = api_of(own).post("invitations/accept", {"secret": secret})
    assert (answer.status_code, answer.json()["tenant"]["slug"], answer.json()["member"]["role"]) == (200, "crew", "operator")
    assert api_of(own).post("invitations/accept", {"secret": secret}).status_code == 200
    assert Membership.objects.filter(tenant=tenant, user=ann).count() == 1


def test_nobody_without_a_token_accepts_over_the_api() -> None:
    assert Client().post("/api/v1/invitations/accept", {"secret": "x"}, content_type="application/json").status_code == 401


# --- at once ------------------------------------------------------------------------------------------------------------------


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Call all at the same moment, each in a thread with a connection of its own; return results and errors."""
    start = Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        try:
            connection.ensure_connection()
            start.wait(60)
            return call()
        except CarinaError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.django_db(transaction=True)
def test_fifty_accepts_at_once_make_one_membership(tenant: Tenant) -> None:
    digest, ann = digest_of(secret=invited(tenant)), person("ann@example.com")

    def accept() -> object:
        with as_user(ann.id):
            return acceptance.accept(by=ann, digest=digest).pk

    results = at_once([accept] * 50)
    assert len(set(results)) == 1, results
    assert Membership.objects.filter(tenant=tenant, user=ann).count() == 1
    assert AuditEvent.objects.filter(action="invitation.accepted").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_an_accept_and_a_withdrawal_at_once_exactly_one_counts(tenant: Tenant) -> None:
    for number in range(8):
        user = person(f"p{number}@example.com")
        digest = digest_of(secret=invited(tenant, user.email))
        row, access = Invitation.objects.get(email=user.email), access_for(tenant)

        def accept(user: User = user, digest: str = digest) -> object:
            with as_user(user.id):
                return acceptance.accept(by=user, digest=digest)

        def withdraw(row: Invitation = row, access: Access = access) -> object:
            with as_user(access.user.id), in_tenant(tenant.id):
                return invitations.revoke(access=access, invitation_id=row.id)

        results = at_once([accept, withdraw])
        assert sum(isinstance(result, CarinaError) for result in results) == 1, results
        row.refresh_from_db()
        assert (row.accepted_at is None) != (row.revoked_at is None)
        assert Membership.objects.filter(user=user).exists() == (row.accepted_at is not None)


@pytest.mark.django_db(transaction=True)
def test_when_all_owners_leave_at_once_one_stays(tenant: Tenant) -> None:
    for number in range(5):
        crew = make_tenant(f"crew-{number}")
        for _ in range(3):
            join(crew, make_user(), role=Role.OWNER)
        people = [access_for(crew, member.user) for member in crew.memberships.select_related("user")]

        def leaving(access: Access, crew: Tenant = crew) -> Callable[[], object]:
            def leave() -> object:
                with as_user(access.user.id), in_tenant(crew.id):
                    return leave_tenant(access=access)

            return leave

        results = at_once([leaving(access) for access in people])
        assert [result.code for result in results if isinstance(result, Conflict)] == ["last_owner"], results
        assert crew.memberships.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_address_invited_twice_at_once_gets_one_invitation(tenant: Tenant) -> None:
    admin = make_user()
    join(tenant, admin, role=Role.ADMIN)

    def inviting(access: Access) -> Callable[[], object]:
        def send() -> object:
            with as_user(access.user.id), in_tenant(tenant.id):
                return invite(access=access, email="ann@example.com", role="viewer")

        return send

    results = at_once([inviting(access_for(tenant)), inviting(access_for(tenant, admin))])
    assert [result.code for result in results if isinstance(result, CarinaError)] == ["already_invited"], results
    assert Invitation.objects.count() == 1
