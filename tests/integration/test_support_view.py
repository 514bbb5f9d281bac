"""The support view: an operator sees a tenant as a viewer would, with a reason, for a while, announced, and changes nothing."""

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core import mail
from django.core.mail.backends import locmem
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import URLPattern, resolvers, reverse
from pytest_django import Settings
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.bays.models import Bay
from apps.bays.urls import urlpatterns as pages_of_bays
from apps.common.api.problems import Unavailable
from apps.common.clock import now
from apps.common.errors import Conflict, Forbidden, InvalidInput, NotFound
from apps.common.scope import as_user
from apps.credentials.models import Certificate
from apps.dashboard.models import SupportView
from apps.dashboard.people import disable_user
from apps.dashboard.support import end_expired_support_views, end_support_view, running_view, start_support_view
from apps.operations.models import Operation
from apps.tenants.context import access_of
from apps.tenants.models import ApiToken, Tenant
from apps.tenants.roles import Permission, Role
from tests.factories import api_of, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of

pytestmark = pytest.mark.django_db
WHY = "Ticket 123: web does not come up"
BAYS = "/t/crew/bays/"


@pytest.fixture(autouse=True)
def _mails_stay_here(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor()
    tenant = make_tenant("crew")
    make_bay(tenant, "web", node_count=2)
    return tenant


@pytest.fixture
def operator() -> User:
    user = make_user("op@example.com")
    user.is_staff = True
    user.save()
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.fixture
def view(operator: User, tenant: Tenant) -> SupportView:
    return start_support_view(by=operator, slug="crew", reason=WHY, minutes=30)


@pytest.fixture
def guest(operator: User, view: SupportView) -> Client:
    return signed_in(operator)


def lines_of(tenant: Tenant) -> list[tuple[str, str]]:
    events = AuditEvent.objects.filter(tenant_id=tenant.id, action__startswith="support.").order_by("at")
    return list(events.values_list("action", "actor_label"))


# --- how it begins -------------------------------------------------------------------------------------------------------------


def test_without_a_support_view_an_operator_is_a_stranger(operator: User, tenant: Tenant) -> None:
    assert signed_in(operator).get(BAYS).status_code == 404


def test_it_is_opened_from_the_console_and_told_to_the_owners_and_the_audit_log(operator: User, tenant: Tenant) -> None:
    second = make_user("second@example.com")
    join(tenant, second, role=Role.OWNER)
    join(tenant, make_user("viewer@example.com"), role=Role.VIEWER)
    client = signed_in(operator)
    answer = client.post(f"/operators/tenants/{tenant.id}/support", {"reason": WHY, "minutes": "30"})
    assertRedirects(answer, BAYS)
    assert sorted(address for each in mail.outbox for address in each.to) == sorted([owner_of_first(tenant), "second@example.com"])
    for each in mail.outbox:
        assert "op@example.com" in each.body
        assert WHY in each.body
        assert "/t/crew/audit/" in each.body
    assert lines_of(tenant) == [("support.started", "op@example.com")]
    event = AuditEvent.objects.get(action="support.started")
    assert WHY in event.sentence
    assert event.data["reason"] == WHY


def test_an_operator_without_a_second_factor_does_not_see_an_organisation_that_asks_for_one(operator: User, tenant: Tenant) -> None:
    view = start_support_view(by=operator, slug="crew", reason=WHY, minutes=30)
    Tenant.objects.filter(id=tenant.id).update(mfa_required=True)
    with pytest.raises(Forbidden, match="second factor"):
        access_of(user=operator, slug="crew")
    assert signed_in(operator).get(BAYS).status_code == 403
    end_support_view(of=operator)
    with pytest.raises(Forbidden, match="second factor"):
        start_support_view(by=operator, slug="crew", reason=WHY, minutes=30)
    assert list(SupportView.objects.all()) == [view]
    Authenticator.objects.create(user=operator, type=Authenticator.Type.TOTP, data={})
    start_support_view(by=operator, slug="crew", reason=WHY, minutes=30)
    assert signed_in(operator).get(BAYS).status_code == 200


def owner_of_first(tenant: Tenant) -> str:
    return str(tenant.memberships.filter(role=Role.OWNER).order_by("created_at").first().user.email)  # type: ignore[union-attr]


@pytest.mark.parametrize("reason", ["", "   ", "because", "x" * 501, "because\0because"])
def test_a_reason_is_needed(operator: User, tenant: Tenant, reason: str) -> None:
    with pytest.raises(InvalidInput):
        start_support_view(by=operator, slug="crew", reason=reason, minutes=30)
    answer = signed_in(operator).post(f"/operators/tenants/{tenant.id}/support", {"reason": reason, "minutes": "30"})
    assert answer.status_code == 422
    assert not SupportView.objects.exists()
    assert not mail.outbox


@pytest.mark.parametrize("minutes", [0, -1, 61, 10**6])
def test_it_lasts_an_hour_at_most(operator: User, tenant: Tenant, minutes: int) -> None:
    with pytest.raises(InvalidInput, match="60 minutes"):
        start_support_view(by=operator, slug="crew", reason=WHY, minutes=minutes)
    answer = signed_in(operator).post(f"/operators/tenants/{tenant.id}/support", {"reason": WHY, "minutes": str(minutes)})
    assert answer.status_code == 422


def test_only_operators_open_one_and_nobody_of_a_tenant_they_belong_to(operator: User, tenant: Tenant) -> None:
    with pytest.raises(NotFound):
        start_support_view(by=make_user(), slug="crew", reason=WHY, minutes=30)
    with pytest.raises(NotFound):
        start_support_view(by=operator, slug="nowhere", reason=WHY, minutes=30)
    join(tenant, operator, role=Role.VIEWER)
    with pytest.raises(Conflict, match="member"):
        start_support_view(by=operator, slug="crew", reason=WHY, minutes=30)


def test_a_deleted_tenant_is_not_looked_at(operator: User, tenant: Tenant) -> None:
    Tenant.objects.filter(id=tenant.id).update(deleted_at=now())
    with pytest.raises(NotFound):
        start_support_view(by=operator, slug="crew", reason=WHY, minutes=30)


def test_one_at_a_time(operator: User, view: SupportView) -> None:
    make_tenant("other")
    with pytest.raises(Conflict, match="Crew"):
        start_support_view(by=operator, slug="other", reason=WHY, minutes=30)
    with pytest.raises(IntegrityError), transaction.atomic():
        SupportView.objects.create(
            tenant=view.tenant, operator=operator, reason=WHY, started_at=now(), expires_at=now() + timedelta(minutes=1)
        )


class SilentServer(locmem.EmailBackend):
    """A mail server that does not answer."""

    def send_messages(self, messages: Any) -> int:
        raise ConnectionRefusedError


def test_if_the_owners_cannot_be_told_it_does_not_begin(operator: User, tenant: Tenant, settings: Settings) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.SilentServer"
    with pytest.raises(Unavailable, match="could not be told"):
        start_support_view(by=operator, slug="crew", reason=WHY, minutes=30)
    assert not SupportView.objects.exists()
    assert lines_of(tenant) == []
    assert signed_in(operator).get(BAYS).status_code == 404


# --- what it shows -------------------------------------------------------------------------------------------------------------


def test_it_shows_what_a_viewer_sees(guest: Client) -> None:
    for page in ("", "web/", "web/hosts", "web/events", "web/access", "web/settings", "web/ca.pem"):
        assert guest.get(f"{BAYS}{page}").status_code == 200, page
    assert guest.get("/t/crew/settings/").status_code == 200
    assertNotContains(guest.get(f"{BAYS}web/access"), "Download web.zip")
    for forbidden in (f"{BAYS}new", "/t/crew/tokens/", "/t/crew/audit/", "/t/crew/audit/audit.csv"):
        assert guest.get(forbidden).status_code == 403, forbidden


def test_it_gives_the_permissions_to_read_and_no_others(operator: User, view: SupportView) -> None:
    with as_user(operator.id):
        access = access_of(user=operator, slug="crew")
    assert access.permissions == {Permission.BAY_READ, Permission.TENANT_READ}
    assert access.role == Role.VIEWER
    for permission in set(Permission) - access.permissions:
        with pytest.raises(Forbidden, match="support view"):
            access.require(permission)


def test_other_tenants_stay_closed(guest: Client) -> None:
    make_tenant("other")
    assert guest.get("/t/other/bays/").status_code == 404
    assert guest.get("/api/v1/tenants/other/bays").status_code == 404


def test_it_is_the_operators_alone(view: SupportView) -> None:
    colleague = make_user()
    colleague.is_staff = True
    colleague.save()
    assert signed_in(colleague).get(BAYS).status_code == 404
    assert signed_in(make_user()).get(BAYS).status_code == 404


def test_a_banner_on_every_page_says_so_and_ends_it(guest: Client, tenant: Tenant) -> None:
    for page in (BAYS, f"{BAYS}web/", "/t/crew/settings/", "/operators/", "/operators/clouds/", "/account/email/"):
        assertContains(guest.get(page), "You look at Crew in a support view.", msg_prefix=page)
    end = reverse("dashboard:operator-support-end")
    assertContains(guest.get(BAYS), f'action="{end}"')
    answer = guest.post(end)
    assertRedirects(answer, f"/operators/tenants/{tenant.id}/")
    assertNotContains(guest.get("/operators/"), "You look at Crew")
    assert guest.get(BAYS).status_code == 404
    assert lines_of(tenant) == [("support.started", "op@example.com"), ("support.ended", "op@example.com")]
    assertRedirects(guest.post(end), "/operators/tenants/")


def test_members_see_no_banner_but_the_line_in_their_log(view: SupportView, tenant: Tenant) -> None:
    owner = signed_in(owner_of(tenant))
    assertNotContains(owner.get(BAYS), "support view")
    assertContains(owner.get("/t/crew/audit/"), WHY)


# --- what it cannot ------------------------------------------------------------------------------------------------------------


def every_route() -> list[str]:
    """Return the routes of all pages and API addresses inside a tenant, from the URL conf."""
    found: list[str] = []

    def walk(patterns: Any, before: str) -> None:
        for each in patterns:
            route = before + str(each.pattern)
            if isinstance(each, URLPattern):
                found.append(route)
            else:
                walk(each.url_patterns, route)

    walk(resolvers.get_resolver().url_patterns, "")
    return [route for route in found if route.startswith(("t/<str:tenant>", "api/v1/tenants/<str:tenant>"))]


def address_of(route: str, bay: Bay) -> str:
    named = route.replace("<str:tenant>", "crew").replace("<str:bay>", bay.name)
    return "/" + re.sub(r"<[^>]+>", str(bay.id), named)


def state_of(tenant: Tenant) -> tuple[Any, ...]:
    return (
        list(Bay.objects.order_by("id").values()),
        list(Operation.objects.order_by("id").values_list("id", "kind")),
        list(Tenant.objects.order_by("id").values()),
        list(tenant.memberships.order_by("id").values()),
        ApiToken.objects.count(),
        Certificate.objects.count(),
        AuditEvent.objects.count(),
    )


def test_nothing_can_be_changed_from_it_at_any_address(guest: Client, tenant: Tenant) -> None:
    bay = Bay.objects.get(name="web")
    before = state_of(tenant)
    body = {"name": "mine", "confirm": "web", "node_count": "1", "csr": "x", "coe": "swarm", "flavor": "c1.small", "manager_count": "1"}
    routes = every_route()
    assert len(routes) >= len(pages_of_bays) + 20
    for route in routes:
        for method in ("POST", "PATCH", "PUT", "DELETE"):
            for content_type in ("application/x-www-form-urlencoded", "application/json"):
                data = "&".join(f"{key}={value}" for key, value in body.items()) if "form" in content_type else '{"name": "mine"}'
                answer = guest.generic(method, address_of(route, bay), data, content_type=content_type)
                assert answer.status_code in {403, 405}, (method, route, answer.status_code)
    assert state_of(tenant) == before


def test_the_refusal_is_a_sentence_on_pages_and_in_the_api(guest: Client) -> None:
    for address in (f"{BAYS}web/bundle", f"{BAYS}web/delete", f"{BAYS}new"):
        assertContains(guest.post(address), "changes nothing", status_code=403)
    answer = guest.post("/api/v1/tenants/crew/bays/web/bundle", {}, content_type="application/json")
    assert answer.status_code == 403
    assert "changes nothing" in answer.json()["detail"]


def test_a_token_of_the_operator_gets_no_further_than_before(operator: User, view: SupportView) -> None:
    own = make_tenant("own", owner=operator)
    assert api_of(own, operator).get("tenants/crew/bays").status_code == 404


# --- how it ends ---------------------------------------------------------------------------------------------------------------


def test_it_ends_by_itself_and_the_log_says_so_once(
    guest: Client, operator: User, tenant: Tenant, view: SupportView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda at=view.expires_at + timedelta(seconds=1): at)
    assert running_view(user=operator) is None
    assert guest.get(BAYS).status_code == 404
    assert end_expired_support_views() == 1
    assert end_expired_support_views() == 0
    assert lines_of(tenant) == [("support.started", "op@example.com"), ("support.ended", "Carina (support)")]
    row = SupportView.objects.get()
    assert (row.ended_at, row.end) == (row.expires_at, SupportView.End.TIME)


def test_whoever_reads_the_log_finds_the_end_also_where_no_worker_ran(
    tenant: Tenant, view: SupportView, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = signed_in(owner_of(tenant))
    assertNotContains(owner.get("/t/crew/audit/"), "support.ended")
    monkeypatch.setattr("django.utils.timezone.now", lambda at=view.expires_at + timedelta(seconds=1): at)
    assertContains(owner.get("/t/crew/audit/"), "time was over")


def test_after_one_is_over_by_time_another_may_begin(operator: User, view: SupportView, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tenant("other")
    monkeypatch.setattr("django.utils.timezone.now", lambda at=view.expires_at + timedelta(seconds=1): at)
    assert start_support_view(by=operator, slug="other", reason=WHY, minutes=15).tenant.slug == "other"


def test_it_ends_with_the_session(guest: Client, operator: User, tenant: Tenant) -> None:
    guest.post("/account/logout/")
    assert SupportView.objects.get().end == SupportView.End.SIGNED_OUT
    assert signed_in(operator).get(BAYS).status_code == 404
    assert lines_of(tenant)[-1] == ("support.ended", "op@example.com")


def test_it_ends_when_the_operator_is_no_longer_one_or_disabled(guest: Client, operator: User, tenant: Tenant) -> None:
    User.objects.filter(id=operator.id).update(is_staff=False)
    assert guest.get(BAYS).status_code == 404
    User.objects.filter(id=operator.id).update(is_staff=True)
    assert guest.get(BAYS).status_code == 200
    boss = make_user()
    boss.is_staff = True
    boss.save()
    disable_user(by=boss, user_id=operator.id, reason="left the company")
    assert SupportView.objects.get().end == SupportView.End.DISABLED
    assert end_support_view(of=operator) is None
