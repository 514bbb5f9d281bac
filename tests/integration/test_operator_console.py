"""The operator's console, for operators alone: organisations, accounts, limits, flavors, announcements, capacity, the portal's log."""

import json
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client
from django.urls import URLPattern
from django.utils.html import escape
from pytest_django import Settings
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.billing.models import Price
from apps.billing.terms.accounts import default_issuer, default_plan
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput, NotFound
from apps.dashboard.announcements import announce, current_announcements, withdraw
from apps.dashboard.flavors import change_flavor
from apps.dashboard.models import Announcement
from apps.dashboard.people import disable_user, enable_user
from apps.dashboard.urls import CONSOLE, urlpatterns
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import ApiToken, QuotaRequest, ServiceAccount, Tenant
from apps.tenants.roles import Role
from tests.factories import (
    Api,
    api_of,
    join,
    make_bay,
    make_cloud,
    make_flavor,
    make_tenant,
    make_user,
    owner_of,
    token_for,
)  # fmt: skip
from tests.integration.billing.debts import make_invoice

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _mails_stay_here(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def make_operator(email: str = "") -> User:
    user = make_user(email)
    user.is_staff = True
    user.save()
    return user


@pytest.fixture
def boss() -> User:
    return make_operator("boss@example.com")


@pytest.fixture
def operator(boss: User) -> Client:
    return signed_in(boss)


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor()
    tenant = make_tenant("crew")
    make_bay(tenant, "web", node_count=2)
    return tenant


def last_line(action: str) -> AuditEvent:
    return AuditEvent.objects.filter(action=action).latest("at")


# --- for operators alone -------------------------------------------------------------------------------------------------------


def console_addresses(tenant: Tenant) -> list[str]:
    """Return an address for every route of the console, from the URL conf, with ids that exist where it has any."""
    ids = {
        "tenant_id": tenant.id, "user_id": owner_of(tenant).id, "flavor_id": Flavor.objects.first().id,  # type: ignore[union-attr]
        "announcement_id": Announcement.objects.create(text="x", starts_at=now(), created_by="x", created_at=now()).id,
        "request_id": QuotaRequest.objects.create(tenant=tenant, wanted={"max_bays": 99}, requested_by="x", created_at=now()).id,
        "name": "local", "price_id": Price.objects.first().id, "plan_id": default_plan().id,  # type: ignore[union-attr]
        "issuer_id": default_issuer().id, "invoice_id": make_invoice(tenant, pdf=b"%PDF").id, "rate_id": 1, "event_id": "evt_1",
    }  # fmt: skip
    found = []
    for each in urlpatterns:
        route = str(each.pattern)
        assert isinstance(each, URLPattern)
        if route.startswith(CONSOLE):
            for name, value in ids.items():
                for kind in ("uuid", "str", "int"):
                    route = route.replace(f"<{kind}:{name}>", str(value))
            assert "<" not in route
            found.append(f"/{route}")
    return found


def test_for_everybody_but_operators_no_page_of_the_console_exists(tenant: Tenant) -> None:
    addresses = console_addresses(tenant)
    assert len(addresses) > 25
    admin = make_user()
    join(tenant, admin, role=Role.ADMIN)
    people = {"owner": owner_of(tenant), "admin": admin, "stranger": owner_of(make_tenant())}
    before = AuditEvent.objects.count()
    for who, user in people.items():
        client = signed_in(user)
        for address in addresses:
            assert {client.get(address).status_code, client.post(address).status_code} <= {404, 405}, (who, address)
            assert 404 in {client.get(address).status_code, client.post(address).status_code}, (who, address)
    assert AuditEvent.objects.count() == before


def test_who_is_not_signed_in_is_sent_to_sign_in(tenant: Tenant) -> None:
    for address in console_addresses(tenant):
        answers = [answer for answer in (Client().get(address), Client().post(address)) if answer.status_code != 405]
        assert answers
        for answer in answers:
            assertRedirects(answer, f"/account/login/?next={address}", fetch_redirect_response=False)


def test_an_operator_without_the_admin_sites_rights_reaches_every_page(operator: Client, tenant: Tenant) -> None:
    for address in console_addresses(tenant):
        answer = operator.get(address)
        assert answer.status_code in {200, 405}, address
        if answer.status_code == 200:
            assert answer["Cache-Control"] == "no-store", address


def test_a_token_opens_nothing_of_it(boss: User) -> None:
    own = make_tenant("own", owner=boss)
    token = token_for(own, boss)
    answer = Client().get("/operators/", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 302


def test_use_cases_do_not_exist_for_others_either(tenant: Tenant) -> None:
    user = owner_of(tenant)
    flavor = Flavor.objects.get()
    for attempt in (
        lambda: disable_user(by=user, user_id=user.id, reason="because"),
        lambda: enable_user(by=user, user_id=user.id, reason="because"),
        lambda: change_flavor(by=user, flavor_id=flavor.id, enabled=False),
        lambda: announce(by=user, text="x", level="info"),
        lambda: withdraw(by=user, announcement_id=uuid.uuid4()),
    ):
        with pytest.raises(NotFound):
            attempt()
    disabled = make_operator()
    disabled.is_active = False
    with pytest.raises(NotFound):
        announce(by=disabled, text="x", level="info")


def test_unknown_ids_and_nonsense_in_addresses_are_no_error(operator: Client, tenant: Tenant) -> None:
    for page in (f"tenants/{uuid.uuid4()}/", f"users/{uuid.uuid4()}/"):
        assert operator.get(f"/operators/{page}").status_code == 404
    for odd in ("\0", "x" * 5000, "%", "'; --"):
        for page in ("tenants", "users", "limits", "announcements"):
            assert operator.get(f"/operators/{page}/", {"q": odd, "which": odd, "page": odd}).status_code == 200, (page, odd)


# --- organisations -------------------------------------------------------------------------------------------------------------


def test_the_list_of_organisations_shows_usage_against_limits(operator: Client, tenant: Tenant) -> None:
    page = operator.get("/operators/tenants/")
    assertContains(page, "Crew")
    row = next(row for row in page.context["rows"] if row["tenant"].slug == "crew")
    used = {each.name: (each.used, each.limit) for each in row["usage"]}
    assert used["bays"] == (1, 10)
    assert used["hosts"] == (2, 50)
    assert set(used) == {"bays", "hosts", "vcpus", "memory_mib", "disk_gib"}
    assert row["look"].word == "Active"


def test_an_organisation_is_found_by_name_or_by_a_member(operator: Client, tenant: Tenant) -> None:
    make_tenant("other", owner=make_user("zoe@example.com"))
    assertNotContains(operator.get("/operators/tenants/", {"q": "CRE"}), "Other")
    found = operator.get("/operators/tenants/", {"q": "zoe@"})
    assertContains(found, "Other")
    assertNotContains(found, "Crew")
    assertContains(operator.get("/operators/tenants/", {"q": "nowhere"}), "None found")


def test_deleted_organisations_are_listed_apart(operator: Client, tenant: Tenant) -> None:
    Tenant.objects.filter(id=tenant.id).update(deleted_at=now())
    assertNotContains(operator.get("/operators/tenants/"), "Crew")
    assertContains(operator.get("/operators/tenants/", {"which": "deleted"}), "Crew")
    assertContains(operator.get(f"/operators/tenants/{tenant.id}/"), "Deleted")


def test_the_page_of_an_organisation_shows_members_bays_status_and_its_log(operator: Client, tenant: Tenant) -> None:
    page = operator.get(f"/operators/tenants/{tenant.id}/")
    for words in (owner_of(tenant).email, "Owner", "web", "Active", "1 of 10", "2 of 50", "bay.created"):
        assertContains(page, words)


def test_limits_are_set_and_written_down(operator: Client, tenant: Tenant) -> None:
    asked = {"max_bays": "12", "max_hosts": "50", "max_vcpus": "200", "max_memory_mib": "16", "max_disk_gib": "5000"}
    assertRedirects(operator.post(f"/operators/tenants/{tenant.id}/limits", asked), f"/operators/tenants/{tenant.id}/")
    tenant.refresh_from_db()
    assert (tenant.max_bays, tenant.max_memory_mib, tenant.max_hosts) == (12, 16 * 1024, 50)
    assert last_line("tenant.limits_changed").actor_label == "boss@example.com"
    for wrong in ("-1", "many", "", "9" * 30):
        answer = operator.post(f"/operators/tenants/{tenant.id}/limits", {**asked, "max_bays": wrong})
        assert answer.status_code == 422, wrong
    tenant.refresh_from_db()
    assert tenant.max_bays == 12


def test_a_limit_below_what_is_used_shows_as_exceeded(operator: Client, tenant: Tenant) -> None:
    Tenant.objects.filter(id=tenant.id).update(max_hosts=1)
    assertContains(operator.get("/operators/tenants/"), "Over a limit")


# --- requests for more ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def wish(tenant: Tenant) -> QuotaRequest:
    return QuotaRequest.objects.create(
        tenant=tenant, wanted={"max_bays": 99, "max_memory_mib": 2048 * 1024}, reason="A fair in May", requested_by=owner_of(tenant).email,
        created_at=now(),
    )  # fmt: skip


def test_a_request_is_shown_with_what_is_used_and_wanted(operator: Client, wish: QuotaRequest) -> None:
    page = operator.get("/operators/limits/")
    for words in ("Crew", "A fair in May", "<b>99</b>", "2,048 GiB"):
        assertContains(page, words)
    assertContains(operator.get("/operators/"), "Requests for more")


def test_approving_raises_the_limits_and_tells_whoever_asked(
    operator: Client, tenant: Tenant, wish: QuotaRequest, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = operator.post(f"/operators/limits/{wish.id}", {"decision": "approve", "answer": "Have fun."})
    assertRedirects(answer, "/operators/limits/")
    tenant.refresh_from_db()
    assert (tenant.max_bays, tenant.max_memory_mib) == (99, 2048 * 1024)
    assert "Have fun." in mail.outbox[0].body
    assertContains(operator.get("/operators/limits/"), "Nothing to decide")
    assertContains(operator.get("/operators/limits/?which=all"), "Decided by boss@example.com")


def test_refusing_needs_an_answer_and_a_decision_is_made_once(operator: Client, tenant: Tenant, wish: QuotaRequest) -> None:
    address = f"/operators/limits/{wish.id}"
    assert operator.post(address, {"decision": "refuse", "answer": ""}).status_code == 422
    assert operator.post(address, {"answer": "Yes?"}).status_code == 422
    assert operator.post(address, {"decision": "refuse", "answer": "Next year."}).status_code == 302
    again = operator.post(address, {"decision": "approve", "answer": ""})
    assertContains(again, "already", status_code=422)
    tenant.refresh_from_db()
    assert tenant.max_bays == 10
    assert operator.post(f"/operators/limits/{uuid.uuid4()}", {"decision": "approve", "answer": ""}).status_code == 404


# --- accounts ------------------------------------------------------------------------------------------------------------------


def test_accounts_are_found_by_address_and_kind(operator: Client, boss: User, tenant: Tenant) -> None:
    ann = make_user("ann@example.com")
    User.objects.filter(id=ann.id).update(is_active=False)
    assertContains(operator.get("/operators/users/", {"q": "ANN@"}), "ann@example.com")
    disabled = operator.get("/operators/users/?which=disabled")
    assertContains(disabled, "ann@example.com")
    assertNotContains(disabled, f">{owner_of(tenant).email}<")
    operators = operator.get("/operators/users/?which=operators")
    assertContains(operators, ">boss@example.com<")
    assertNotContains(operators, "ann@example.com")


def test_no_page_of_the_console_shows_or_sets_a_password(operator: Client, tenant: Tenant) -> None:
    user = User.objects.create_user("pw@example.com", "a plank of cedar 42")
    for page in (f"/operators/users/{user.id}/", "/operators/users/"):
        text = operator.get(page).content.decode()
        assert user.password not in text
        assert 'type="password"' not in text
    operator.post(f"/operators/users/{user.id}/disable", {"reason": "because", "password": "mine now 123", "password1": "mine now 123"})
    assert User.objects.get(id=user.id).check_password("a plank of cedar 42")


def test_a_disabled_account_loses_sessions_and_tokens_at_once_and_for_good(operator: Client, tenant: Tenant) -> None:
    user = owner_of(tenant)
    browser, other_browser, api = signed_in(user), signed_in(user), api_of(tenant)
    bystander = signed_in(make_user())
    bystander_key = bystander.session.session_key
    assert browser.get("/t/crew/bays/").status_code == api.get("tenants/crew/bays").status_code == 200
    answer = operator.post(f"/operators/users/{user.id}/disable", {"reason": "stolen laptop"})
    assertRedirects(answer, f"/operators/users/{user.id}/")
    for client in (browser, other_browser):
        assertRedirects(client.get("/t/crew/bays/"), "/account/login/?next=/t/crew/bays/", fetch_redirect_response=False)
    assert api.get("tenants/crew/bays").status_code == 401
    assert not ApiToken.objects.filter(user=user, revoked_at=None).exists()
    line = AuditEvent.objects.get(action="user.disabled", tenant_id=None)
    assert (line.actor_label, line.data) == (
        "boss@example.com",
        {"reason": "stolen laptop", "sessions_ended": 2, "tokens_revoked": 1},
    )
    in_tenant = AuditEvent.objects.get(action="user.disabled", tenant_id=tenant.id)
    assert "stolen laptop" not in in_tenant.sentence
    operator.post(f"/operators/users/{user.id}/enable", {"reason": "found again"})
    assert User.objects.get(id=user.id).is_active
    assert browser.get("/t/crew/bays/").status_code == 302
    assert api.get("tenants/crew/bays").status_code == 401
    assert signed_in(user).get("/t/crew/bays/").status_code == 200
    assert Session.objects.filter(session_key=bystander_key).exists()
    assert AuditEvent.objects.filter(action="user.enabled", tenant_id=None).count() == 1


@pytest.mark.parametrize("reason", ["", "  ", "x", "x" * 501, "a\0b\0c"])
def test_a_reason_is_needed(operator: Client, reason: str) -> None:
    user = make_user()
    assert operator.post(f"/operators/users/{user.id}/disable", {"reason": reason}).status_code == 422
    assert User.objects.get(id=user.id).is_active


def test_an_operator_disables_neither_themselves_nor_the_last_one(operator: Client, boss: User) -> None:
    answer = operator.post(f"/operators/users/{boss.id}/disable", {"reason": "tired"})
    assertContains(answer, "your own account", status_code=422)
    colleague = make_operator()
    disable_user(by=boss, user_id=colleague.id, reason="left the company")
    with pytest.raises(NotFound):
        disable_user(by=User.objects.get(id=colleague.id), user_id=boss.id, reason="revenge")
    assert User.objects.filter(is_staff=True, is_active=True).get() == boss


def test_twice_is_refused_in_words(boss: User) -> None:
    user = make_user()
    with pytest.raises(Conflict, match="not disabled"):
        enable_user(by=boss, user_id=user.id, reason="because")
    disable_user(by=boss, user_id=user.id, reason="because")
    with pytest.raises(Conflict, match="already"):
        disable_user(by=boss, user_id=user.id, reason="because")


def test_a_programs_account_that_was_deleted_stays_so(boss: User, tenant: Tenant) -> None:
    program = make_user()
    User.objects.filter(id=program.id).update(is_service=True, is_active=False)
    ServiceAccount.objects.create(tenant=tenant, user=program, name="ci", created_by="x", created_at=now(), deleted_at=now())
    with pytest.raises(Conflict, match="deleted"):
        enable_user(by=boss, user_id=program.id, reason="because")
    assert not User.objects.get(id=program.id).is_active


def test_programs_are_listed_by_name_and_apart_from_people(operator: Client, tenant: Tenant) -> None:
    program = make_user("0b7c@service.invalid")
    User.objects.filter(id=program.id).update(is_service=True)
    ServiceAccount.objects.create(tenant=tenant, user=program, name="pipeline", created_by="x", created_at=now())
    assertNotContains(operator.get("/operators/users/"), "pipeline")
    assertContains(operator.get("/operators/users/", {"which": "programs", "q": "pipe"}), "pipeline")
    assertContains(operator.get(f"/operators/users/{program.id}/"), "pipeline")


# --- flavors -------------------------------------------------------------------------------------------------------------------


def test_an_offer_is_changed_and_written_down_and_leaves_the_price_alone(operator: Client) -> None:
    flavor = make_flavor("c1.huge", price="0.0125")
    answer = operator.post(f"/operators/flavors/{flavor.id}", {"price_per_hour": "0.5"})
    assertRedirects(answer, "/operators/flavors/")
    flavor.refresh_from_db()
    assert not flavor.enabled
    assert [price.per_hour for price in flavor.prices.all()] == [Decimal("0.0125")]
    line = last_line("flavor.changed")
    assert line.sentence == "changed the flavor c1.huge: no longer offered"
    assert line.data == {"before": {"enabled": True}, "after": {"enabled": False}}
    operator.post(f"/operators/flavors/{flavor.id}", {"enabled": "on"})
    assert last_line("flavor.changed").sentence == "changed the flavor c1.huge: now offered"


def test_the_same_again_is_no_change_and_no_line(boss: User) -> None:
    flavor = make_flavor()
    change_flavor(by=boss, flavor_id=flavor.id, enabled=True)
    assert not AuditEvent.objects.filter(action="flavor.changed").exists()


def test_the_price_that_holds_now_is_shown_or_that_there_is_none(operator: Client) -> None:
    flavor = make_flavor("c1.huge", price="0.0125")
    flavor.prices.create(currency="USD", per_hour="0.5", starts_at=now() + timedelta(days=1), created_by="x", created_at=now())
    assertContains(operator.get("/operators/flavors/"), "$0.0125")
    assertNotContains(operator.get("/operators/flavors/"), "$0.50")
    assertNotContains(operator.get("/operators/flavors/"), ">none<")
    make_flavor("c1.new", price=None)
    assertContains(operator.get("/operators/flavors/"), ">none<")


def test_what_is_changed_in_the_operators_desk_is_written_down_too(boss: User) -> None:
    User.objects.filter(id=boss.id).update(is_superuser=True)
    flavor = make_flavor("c1.huge", price="0.010")
    asked = {
        "name": "c1.huge", "host_kind": "container", "vcpus": "1", "memory_mib": "1024", "disk_gib": "10", "processes": "4096",
        "volume_gib": "20", "extra_specs": "{}", "enabled": "on",
    }  # fmt: skip
    answer = signed_in(boss).post(f"/admin/hosts/flavor/{flavor.id}/change/", asked)
    assert answer.status_code == 302, answer.content
    line = last_line("flavor.changed")
    assert (line.actor_label, line.target_id) == ("boss@example.com", str(flavor.id))
    assert "olume gib" in line.sentence


# --- announcements -------------------------------------------------------------------------------------------------------------


def test_everybody_who_is_signed_in_sees_an_announcement_on_every_page_until_they_put_it_away(operator: Client, tenant: Tenant) -> None:
    text = "Maintenance <tonight> from 22:00"
    operator.post("/operators/announcements/", {"text": text, "level": "warning", "cloud": "local"})
    member = signed_in(owner_of(tenant))
    for page in ("/t/crew/bays/", "/t/crew/bays/web/", "/t/crew/settings/", "/account/email/"):
        assertContains(member.get(page), escape(text), msg_prefix=page)
        assertContains(member.get(page), "<b>Local:</b>")
    assertNotContains(Client().get("/"), "Maintenance")
    row = Announcement.objects.get()
    answer = member.post(f"/announcements/{row.id}/dismiss", {"next": "/t/crew/settings/"})
    assertRedirects(answer, "/t/crew/settings/")
    assertNotContains(member.get("/t/crew/bays/"), "Maintenance")
    assertContains(signed_in(owner_of(tenant)).get("/t/crew/bays/"), "Maintenance")
    assert last_line("announcement.made").actor_label == "boss@example.com"


def test_the_way_back_after_putting_one_away_stays_in_the_portal(tenant: Tenant) -> None:
    member = signed_in(owner_of(tenant))
    for elsewhere in ("https://evil.example/", "//evil.example/", "javascript:alert(1)", ""):
        answer = member.post(f"/announcements/{uuid.uuid4()}/dismiss", {"next": elsewhere})
        assertRedirects(answer, "/", fetch_redirect_response=False)
    assert member.get(f"/announcements/{uuid.uuid4()}/dismiss").status_code == 405


def test_announcements_are_shown_in_their_time_the_most_critical_first(boss: User, monkeypatch: pytest.MonkeyPatch) -> None:
    start = now()
    announce(by=boss, text="later", level="critical", starts_at=start + timedelta(hours=1), ends_at=start + timedelta(hours=2))
    announce(by=boss, text="info", level="info")
    announce(by=boss, text="fire", level="critical")
    assert [each.text for each in current_announcements(dismissed=[])] == ["fire", "info"]
    monkeypatch.setattr("django.utils.timezone.now", lambda: start + timedelta(minutes=90))
    assert [each.text for each in current_announcements(dismissed=[])] == ["later", "fire", "info"]
    monkeypatch.setattr("django.utils.timezone.now", lambda: start + timedelta(hours=3))
    assert [each.text for each in current_announcements(dismissed=[])] == ["fire", "info"]


def test_withdrawing_ends_it_at_once_and_keeps_what_was_said(operator: Client, boss: User) -> None:
    row = announce(by=boss, text="fire", level="critical")
    ahead = announce(by=boss, text="later", level="info", starts_at=now() + timedelta(hours=1))
    for each in (row, ahead):
        assertRedirects(operator.post(f"/operators/announcements/{each.id}/withdraw"), "/operators/announcements/")
    assert current_announcements(dismissed=[]) == []
    assert [each.text for each in Announcement.objects.all()] == ["fire"]
    assert AuditEvent.objects.filter(action="announcement.withdrawn").count() == 2
    assertContains(operator.get("/operators/announcements/"), "over")


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": ""},
        {"text": "x" * 501},
        {"level": "panic"},
        {"ends_at": "2000-01-01T00:00"},
        {"starts_at": "2099-01-02T00:00", "ends_at": "2099-01-01T00:00"},
        {"starts_at": "tomorrow"},
        {"cloud": "moon"},
    ],
)
def test_an_announcement_that_cannot_be_meant_is_refused_and_kept_in_the_form(operator: Client, wrong: dict[str, str]) -> None:
    answer = operator.post("/operators/announcements/", {"text": "All is well", "level": "info", **wrong})
    assertContains(answer, "fault", status_code=422)
    assert not Announcement.objects.exists()


def test_an_announcement_of_a_cloud_goes_with_it(boss: User) -> None:
    cloud = make_cloud()
    announce(by=boss, text="slow", level="info", cloud=cloud)
    Cloud.objects.all().delete()
    assert current_announcements(dismissed=[]) == []


def test_an_empty_portal_announces_nothing_wrong(boss: User) -> None:
    with pytest.raises(InvalidInput):
        announce(by=boss, text=" ", level="info")


# --- capacity, overview, the portal's log ---------------------------------------------------------------------------------------


def test_aggregates_of_all_clouds_are_shown_with_what_is_free(operator: Client) -> None:
    make_cloud("north", free=7)
    make_cloud("south", free=9)
    page = operator.get("/operators/aggregates/")
    for words in ("North", "South", "7 of 7 free", "9 of 9 free", "1 server"):
        assertContains(page, words)


def test_the_overview_names_open_support_views_and_counts(operator: Client, tenant: Tenant) -> None:
    operator.post(f"/operators/tenants/{tenant.id}/support", {"reason": "Ticket 123: no bay comes up", "minutes": "15"})
    page = operator.get("/operators/")
    assertContains(page, "Ticket 123: no bay comes up")
    assert (page.context["tenants"], page.context["bays"]) == (1, 1)


def test_the_portals_log_shows_all_tenants_and_itself_and_exports(operator: Client, boss: User, tenant: Tenant) -> None:
    announce(by=boss, text="All is well", level="info")
    page = operator.get("/operators/audit/")
    assertContains(page, "Announced: All is well")
    assertContains(page, "bay.created")
    assertContains(page, "crew")
    exported: Any = operator.get("/operators/audit/audit.json", {"action": "announcement"})
    rows = json.loads(b"".join(exported.streaming_content))
    assert [row["sentence"] for row in rows] == ["announced: All is well"]


def test_the_console_asks_no_more_of_the_database_for_more_members(
    operator: Client, tenant: Tenant, django_assert_max_num_queries: Any
) -> None:
    for _ in range(5):
        join(tenant, make_user(), role=Role.VIEWER)
    operator.get("/operators/")
    with django_assert_max_num_queries(25):
        operator.get(f"/operators/tenants/{tenant.id}/")


def test_api_clients_are_not_touched_by_announcements(boss: User, tenant: Tenant) -> None:
    announce(by=boss, text="fire", level="critical")
    assert Api(token_for(tenant)).get("tenants/crew/bays").status_code == 200
