"""Limits of a tenant: what counts, when it is free again, what is refused in which words, and asking for more."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.bays.models import Bay, Condition, Host
from apps.bays.plan import plan_hosts
from apps.bays.services import create_bay, delete_bay, heal_bay, resize_bay
from apps.bays.spec import parse_spec
from apps.bays.usage import usage_after
from apps.common.clock import now
from apps.common.errors import Conflict, Forbidden, InvalidInput, LimitReached, NotFound
from apps.operations.models import Operation
from apps.operations.states import State
from apps.tenants.limits import limits_of, set_limits
from apps.tenants.models import QuotaRequest, Tenant
from apps.tenants.quota_requests import (
    ITSELF,
    decide_quota_request,
    open_quota_requests,
    request_quota,
    self_approved_limits,
    withdraw_quota_request,
)
from apps.tenants.roles import Role
from tests.factories import (
    PLANNED_ON,
    access_for,
    activate,
    api_of,
    join,
    make_bay,
    make_cloud,
    make_flavor,
    make_tenant,
    make_user,
    owner_of,
)

pytestmark = pytest.mark.django_db
PAGE = "/t/demo/limits/"
REST = "tenants/demo/quota/requests"


@pytest.fixture
def tenant() -> Tenant:
    make_cloud(free=1000)
    make_flavor()
    make_flavor("c1.large", vcpus=4)
    tenant = make_tenant("demo")
    limits = {"max_vcpus": 200, "max_memory_mib": 200 * 1024, "max_disk_gib": 2000}
    Tenant.objects.filter(id=tenant.id).update(**limits)
    return Tenant.objects.get(id=tenant.id)


@pytest.fixture
def operator() -> User:
    return User.objects.create_superuser("operator@example.com")


def used(tenant: Tenant) -> dict[str, int]:
    return {each.name: each.used for each in usage_after(tenant=tenant)}


def limited(tenant: Tenant, **limits: int) -> Tenant:
    Tenant.objects.filter(id=tenant.id).update(**limits)
    return Tenant.objects.get(id=tenant.id)


def spec(**changes: object) -> dict[str, object]:
    return {"name": "web", "coe": "swarm", "flavor": "c1.small", "node_count": 1, **changes}


def create(tenant: Tenant, **changes: object) -> Bay:
    return create_bay(access=access_for(tenant), spec=parse_spec(data=spec(**changes)))


def resize(bay: Bay, count: int) -> Bay:
    return resize_bay(access=access_for(bay.tenant), reference=str(bay.id), node_count=count)


def settle(bay: Bay, state: State = State.SUCCEEDED) -> None:
    Operation.objects.filter(subject_id=bay.id).update(state=state, finished_at=now())


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


# --- what counts ----------------------------------------------------------------------------------------------------------------


def test_what_is_accepted_is_used_before_anything_exists(tenant: Tenant) -> None:
    create(tenant, flavor="c1.large", node_count=3)
    assert used(tenant) == {"bays": 1, "hosts": 3, "vcpus": 12, "memory_mib": 12 * 1024, "disk_gib": 120}
    assert not Host.objects.exists()


def test_planning_hosts_and_their_coming_and_going_is_used_once(tenant: Tenant) -> None:
    bay = activate(create(tenant, node_count=3))
    assert used(tenant)["hosts"] == 3
    for state in (Host.State.LOST, Host.State.PLANNED, Host.State.STARTED, Host.State.READY):
        bay.hosts.filter(index=3).update(state=state)
        assert used(tenant)["hosts"] == 3, state


def test_hosts_that_go_are_used_until_each_is_gone(tenant: Tenant) -> None:
    bay = activate(create(tenant, node_count=5))
    resize(bay, 2)
    assert used(tenant)["hosts"] == 5
    plan_hosts(bay=bay, provider=PLANNED_ON, engine_port=2376)
    assert used(tenant)["hosts"] == 5
    for left, host in zip((4, 3, 2), bay.hosts.filter(state=Host.State.DRAINING), strict=True):
        Host.objects.filter(id=host.id).update(state=Host.State.REMOVED, removed_at=now())
        assert used(tenant)["hosts"] == left


def test_hosts_that_are_still_going_and_new_ones_are_both_used(tenant: Tenant) -> None:
    bay = activate(create(tenant, node_count=5))
    resize(bay, 2)
    plan_hosts(bay=bay, provider=PLANNED_ON, engine_port=2376)
    settle(bay, State.FAILED)
    limited(tenant, max_hosts=6)
    with pytest.raises(LimitReached):
        resize(bay, 4)  # three are going, and two wanted: two more would be seven
    resize(bay, 3)
    plan_hosts(bay=bay, provider=PLANNED_ON, engine_port=2376)
    assert used(tenant)["hosts"] == 6
    assert bay.hosts.exclude(state=Host.State.REMOVED).count() == 6


def test_wanting_hosts_back_that_have_not_begun_to_go_asks_for_nothing(tenant: Tenant) -> None:
    bay = activate(create(tenant, node_count=5))
    limited(tenant, max_hosts=5)
    resize(bay, 2)
    settle(bay, State.FAILED)
    resize(bay, 5)
    assert used(tenant)["hosts"] == 5


def test_a_bay_that_could_not_be_made_keeps_its_place_until_it_is_deleted(tenant: Tenant) -> None:
    bay = create(tenant, node_count=3)
    settle(bay, State.FAILED)
    Bay.objects.filter(id=bay.id).update(condition=Condition.ERROR, reason_code="no_capacity")
    limited(tenant, max_hosts=3)
    assert used(tenant)["hosts"] == 3
    heal_bay(access=access_for(tenant), reference="web")  # trying again needs no new place
    assert used(tenant)["hosts"] == 3


def test_a_deleted_bay_is_released_when_it_is_gone_and_only_once(tenant: Tenant) -> None:
    bay = activate(create(tenant, node_count=3))
    create(tenant, name="other")
    delete_bay(access=access_for(tenant), reference="web")
    assert used(tenant)["hosts"] == 4
    for _ in range(2):
        bay.hosts.update(state=Host.State.REMOVED, removed_at=now())
        Bay.objects.filter(id=bay.id).update(condition=Condition.DELETED, deleted_at=now())
        assert (used(tenant)["bays"], used(tenant)["hosts"]) == (1, 1)


def test_another_tenants_bays_are_not_ones_own(tenant: Tenant) -> None:
    make_bay(make_tenant("other"), node_count=5)
    assert set(used(tenant).values()) == {0}


# --- what is refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"max_bays": 1}, "may have 1 bay and uses 1 bay; with 1 bay more it would be 2 bays."),
        ({"max_hosts": 3}, "may have 3 hosts and uses 2 hosts; with 2 hosts more it would be 4 hosts."),
        ({"max_vcpus": 9}, "may have 9 vCPUs and uses 2 vCPUs; with 8 vCPUs more it would be 10 vCPUs."),
        ({"max_memory_mib": 9 * 1024}, "may have 9 GiB and uses 2 GiB; with 8 GiB more it would be 10 GiB."),
        ({"max_disk_gib": 99}, "may have 99 GiB and uses 20 GiB; with 80 GiB more it would be 100 GiB."),
    ],
)
def test_each_limit_is_refused_by_name_with_used_asked_limit_and_what_to_do(tenant: Tenant, limits: dict[str, int], sentence: str) -> None:
    make_bay(tenant, "first", node_count=2)
    limited(tenant, **limits)
    answer = api_of(tenant).post("tenants/demo/bays", spec(flavor="c1.large", node_count=2))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "limit_reached")
    assert sentence in problem["detail"]
    assert "ask for higher limits" in problem["detail"]
    assert list(problem["errors"]) == ["name" if "max_bays" in limits else "node_count"]
    assert Bay.objects.count() == 1


@pytest.mark.parametrize("column", ["max_bays", "max_hosts", "max_vcpus", "max_memory_mib", "max_disk_gib"])
def test_exactly_the_limit_is_accepted(tenant: Tenant, column: str) -> None:
    exact = {"max_bays": 1, "max_hosts": 2, "max_vcpus": 8, "max_memory_mib": 8 * 1024, "max_disk_gib": 80}
    limited(tenant, **{column: exact[column] - 1})
    with pytest.raises(LimitReached):
        create(tenant, flavor="c1.large", node_count=2)
    limited(tenant, **exact)
    create(tenant, flavor="c1.large", node_count=2)


def test_every_limit_in_the_way_is_named(tenant: Tenant) -> None:
    limited(tenant, max_bays=0, max_hosts=1, max_vcpus=1)
    with pytest.raises(LimitReached) as refused:
        create(tenant, node_count=2)
    assert "2 hosts and 2 vCPUs too" in refused.value.detail
    assert set(refused.value.errors) == {"name", "node_count"}
    assert "At most 1 host" in refused.value.errors["node_count"]
    assert "At most 1 vCPU" in refused.value.errors["node_count"]


def test_a_single_host_too_large_is_a_matter_of_its_flavor(tenant: Tenant) -> None:
    limited(tenant, max_vcpus=3)
    with pytest.raises(LimitReached) as refused:
        create(tenant, flavor="c1.large")
    assert list(refused.value.errors) == ["flavor"]


def test_who_is_above_a_limit_may_shrink_and_delete_but_not_grow(tenant: Tenant, operator: User) -> None:
    bay = activate(create(tenant, node_count=4))
    set_limits(by=operator, tenant=tenant, limits={"max_hosts": 2, "max_bays": 0})
    with pytest.raises(LimitReached):
        resize(bay, 5)
    resize(bay, 3)
    settle(bay)
    heal_bay(access=access_for(tenant), reference="web")
    delete_bay(access=access_for(tenant), reference="web")


# --- what is shown --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flavor", "count"), [("c1.small", 1), ("c1.large", 3), ("c1.small", 7)])
def test_the_estimate_is_what_the_create_then_uses(tenant: Tenant, flavor: str, count: int) -> None:
    make_bay(tenant, "first", node_count=2)
    api = api_of(tenant)
    body = spec(flavor=flavor, node_count=count)
    estimate = api.post("tenants/demo/bays/estimate", body).json()
    assert estimate["accepted"]
    assert all(each["after"] == each["used"] + each["asked"] for each in estimate["usage"])
    assert [each["unit"] for each in estimate["usage"]] == ["bays", "hosts", "vCPUs", "MiB", "GiB"]
    assert {each["name"]: each["used"] for each in estimate["usage"]} == used(tenant)
    assert api.post("tenants/demo/bays", body).status_code == 201
    assert {each["name"]: each["after"] for each in estimate["usage"]} == used(tenant)
    quota = api.get("tenants/demo/quota").json()
    assert {name: each["used"] for name, each in quota.items()} == used(tenant)


@pytest.mark.parametrize("room", [1, 2, 3, 4])
def test_an_estimate_is_accepted_if_and_only_if_the_create_is(tenant: Tenant, room: int) -> None:
    limited(tenant, max_vcpus=room * 4)
    api = api_of(tenant)
    body = spec(flavor="c1.large", node_count=3)
    accepted = api.post("tenants/demo/bays/estimate", body).json()["accepted"]
    assert api.post("tenants/demo/bays", body).status_code == (201 if accepted else 409)
    assert accepted is (room >= 3)


def test_the_create_form_shows_used_asked_and_limit_of_all_five(tenant: Tenant) -> None:
    make_bay(tenant, "first", node_count=2)
    page = signed_in(owner_of(tenant)).post("/t/demo/bays/new/estimate", spec(flavor="c1.large", node_count=2, name="x"))
    for words in ("2 of 10", "4 of 50", "10 of 200", "10 of 200 GiB", "100 of 2,000 GiB", "+8", "+80"):
        assertContains(page, words)


def test_the_resize_summary_and_its_review_show_the_limits_after(tenant: Tenant) -> None:
    activate(create(tenant, node_count=3, flavor="c1.large"))
    client = signed_in(owner_of(tenant))
    for address in ("/t/demo/bays/web/resize/estimate?node_count=5", "/t/demo/bays/web/resize?node_count=5"):
        assertContains(client.get(address), "20 of 200")
        assertContains(client.get(address), "+8")
    assertContains(client.get("/t/demo/bays/web/resize/estimate?node_count=2"), "−4")
    limited(tenant, max_vcpus=16)
    refused = client.get("/t/demo/bays/web/resize/estimate?node_count=5")
    assertContains(refused, "may have 16 vCPUs and uses 12 vCPUs")
    assertContains(refused, "over")


def test_settings_and_limits_pages_show_what_is_used(tenant: Tenant) -> None:
    create(tenant, node_count=3, flavor="c1.large")
    client = signed_in(owner_of(tenant))
    for address in ("/t/demo/settings/", PAGE):
        for words in ("1 of 10", "3 of 50", "12 of 200", "12 of 200 GiB", "120 of 2,000 GiB"):
            assertContains(client.get(address), words)


# --- asking for more ------------------------------------------------------------------------------------------------------------


def test_a_small_request_approves_itself_and_is_in_force_at_once(tenant: Tenant) -> None:
    answer = api_of(tenant).post(REST, {"wanted": {"hosts": 100, "vcpus": 400}})
    assert (answer.status_code, answer.json()["state"], answer.json()["decided_by"]) == (201, "approved", ITSELF.label)
    after = Tenant.objects.get(id=tenant.id)
    assert (after.max_hosts, after.max_vcpus, after.max_bays) == (100, 400, 10)
    assert list(AuditEvent.objects.order_by("at").values_list("action", "actor_label"))[-2:] == [
        ("quota.requested", owner_of(tenant).email),
        ("tenant.limits_changed", ITSELF.label),
    ]


def test_the_second_small_request_within_30_days_waits_for_an_operator(tenant: Tenant) -> None:
    request_quota(access=access_for(tenant), wanted={"max_hosts": 60}, reason="")
    with pytest.raises(InvalidInput, match="within 30 days"):
        request_quota(access=access_for(tenant), wanted={"max_hosts": 70}, reason="")
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 70}, reason="more of them")
    assert (row.state, Tenant.objects.get(id=tenant.id).max_hosts) == ("open", 60)
    withdraw_quota_request(access=access_for(tenant), request_id=row.id)
    QuotaRequest.objects.filter(state="approved").update(decided_at=now() - timedelta(days=30, seconds=1))
    assert request_quota(access=access_for(tenant), wanted={"max_hosts": 70}, reason="").state == "approved"


@pytest.mark.parametrize("column", ["max_bays", "max_hosts", "max_vcpus", "max_memory_mib", "max_disk_gib"])
def test_one_more_than_approves_itself_is_for_the_operator(tenant: Tenant, column: str) -> None:
    reach = self_approved_limits()
    row = request_quota(access=access_for(tenant), wanted={**reach, column: reach[column] + 1}, reason="a launch")
    assert row.state == "open"
    assert limits_of(tenant=Tenant.objects.get(id=tenant.id)) == limits_of(tenant=tenant)
    assert [each.id for each in open_quota_requests()] == [row.id]


def test_where_the_operator_wants_to_decide_all_nothing_approves_itself(tenant: Tenant, settings: Settings) -> None:
    settings.QUOTA_SELF_APPROVED = 0
    assert request_quota(access=access_for(tenant), wanted={"max_bays": 11}, reason="why").state == "open"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "type", "wanted"),
        ({"wanted": []}, "type", "wanted"),
        ({"wanted": {}}, "quota_nothing_more", None),
        ({"wanted": {"hosts": 50}}, "quota_nothing_more", None),
        ({"wanted": {"hosts": 49}}, "invalid", "wanted.hosts"),
        ({"wanted": {"hosts": "80"}}, "invalid", "wanted.hosts"),
        ({"wanted": {"hosts": True}}, "invalid", "wanted.hosts"),
        ({"wanted": {"hosts": -1}}, "invalid", "wanted.hosts"),
        ({"wanted": {"hosts": 10**30}}, "invalid", "wanted.hosts"),
        ({"wanted": {"max_hosts": 80}}, "field_unknown", "max_hosts"),
        ({"wanted": {"hosts": 80}, "reason": 1}, "type", "reason"),
        ({"wanted": {"hosts": 80}, "reason": "x" * 1001}, "invalid", "reason"),
        ({"wanted": {"hosts": 800}}, "invalid", "reason"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_at_the_field(tenant: Tenant, body: dict[str, Any], code: str, field: str | None) -> None:
    answer = api_of(tenant).post(REST, body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert list(answer.json().get("errors", {})) == ([field] if field else [])
    assert not QuotaRequest.objects.exists()


def test_only_one_request_is_open_and_it_can_be_withdrawn_once(tenant: Tenant) -> None:
    api = api_of(tenant)
    row = api.post(REST, {"wanted": {"hosts": 5000}, "reason": "big"}).json()
    again = api.post(REST, {"wanted": {"bays": 11}})
    assert (again.status_code, again.json()["code"]) == (409, "quota_request_open")
    assert api.get(f"{REST}/{row['id']}").json()["state"] == "open"
    gone = api.delete(f"{REST}/{row['id']}")
    assert (gone.status_code, gone.json()["state"]) == (200, "withdrawn")
    assert api.delete(f"{REST}/{row['id']}").json()["code"] == "quota_request_decided"
    assert [each["state"] for each in api.get(REST).json()["results"]] == ["withdrawn"]
    assert api.get(REST).json()["results"][0]["wanted"] == {"hosts": 5000}


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.BILLING, Role.VIEWER])
def test_members_without_the_right_see_requests_but_make_none(tenant: Tenant, role: Role) -> None:
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 5000}, reason="big")
    member = make_user()
    join(tenant, member, role=role)
    api = api_of(tenant, member)
    assert api.get(REST).status_code == 200
    assert api.post(REST, {"wanted": {"bays": 11}}).status_code == 403
    assert api.delete(f"{REST}/{row.id}").status_code == 403
    client = signed_in(member)
    assertNotContains(client.get(PAGE), "Ask for these limits")
    assert client.post(PAGE, {"max_bays": "11"}).status_code == 403
    assert client.post(f"{PAGE}requests/{row.id}/withdraw").status_code == 403
    assert QuotaRequest.objects.get().state == "open"


def test_a_stranger_finds_neither_limits_nor_requests(tenant: Tenant) -> None:
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 5000}, reason="big")
    stranger = make_user()
    other = make_tenant("other", owner=stranger)
    api = api_of(other, stranger)
    for method, path in (("GET", "quota"), ("GET", "quota/requests"), ("POST", "quota/requests"), ("DELETE", f"quota/requests/{row.id}")):
        assert api(method, f"tenants/demo/{path}", {} if method == "POST" else None).status_code == 404, path
        own = api(method, f"tenants/other/quota/requests/{row.id}")
        assert own.status_code in {404, 405}
    client = signed_in(stranger)
    assert client.get(PAGE).status_code == 404
    assert client.post(PAGE, {"max_bays": "11"}).status_code == 404
    assert client.post(f"/t/other/limits/requests/{row.id}/withdraw").status_code == 404
    assert Client().get(PAGE).status_code == 302
    assert QuotaRequest.objects.get().state == "open"


def test_the_page_asks_in_gib_and_keeps_what_was_typed_when_it_is_refused(tenant: Tenant) -> None:
    client = signed_in(owner_of(tenant))
    page = client.post(PAGE, {"max_memory_mib": "99999", "reason": ""})
    assertContains(page, "Say what it is for", status_code=422)
    assertContains(page, 'value="99999"', status_code=422)
    assertRedirects(client.post(PAGE, {"max_memory_mib": "300", "max_hosts": "50"}), PAGE)
    assert Tenant.objects.get(id=tenant.id).max_memory_mib == 300 * 1024
    assertContains(client.get(PAGE), "300 GiB of memory")
    assertContains(client.get(PAGE), "only every 30 days")


def test_a_request_can_be_withdrawn_on_the_page_by_a_button_alone(tenant: Tenant) -> None:
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 5000}, reason="<script>alert(1)</script>")
    client = signed_in(owner_of(tenant))
    assertContains(client.get(PAGE), "&lt;script&gt;alert")
    assert client.get(f"{PAGE}requests/{row.id}/withdraw").status_code == 405
    assertRedirects(client.post(f"{PAGE}requests/{row.id}/withdraw"), PAGE)
    assertContains(client.post(f"{PAGE}requests/{row.id}/withdraw", follow=True), "is withdrawn already")


# --- deciding -------------------------------------------------------------------------------------------------------------------


def test_an_approved_request_is_in_force_and_the_asker_is_told_by_mail(
    tenant: Tenant, operator: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 500}, reason="big")
    with django_capture_on_commit_callbacks(execute=True):
        decide_quota_request(by=operator, request_id=row.id, approve=True, answer="Have fun.")
    assert Tenant.objects.get(id=tenant.id).max_hosts == 500
    (sent,) = mail.outbox
    assert sent.to == [owner_of(tenant).email]
    for words in ("500 hosts", "Have fun.", "The limits are in force", "/t/demo/limits/"):
        assert words in sent.body
    assert "Higher limits" in sent.subject
    actions = list(AuditEvent.objects.filter(actor_label=operator.email).order_by("at").values_list("action", flat=True))
    assert actions == ["quota.approved", "tenant.limits_changed"]


def test_an_operator_may_give_less_and_says_so(
    tenant: Tenant, operator: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 500}, reason="big")
    with django_capture_on_commit_callbacks(execute=True):
        decide_quota_request(by=operator, request_id=row.id, approve=True, answer="", limits={"max_hosts": 120})
    assert Tenant.objects.get(id=tenant.id).max_hosts == 120
    assert "120 hosts" in mail.outbox[0].body


def test_a_refusal_needs_words_and_changes_nothing(
    tenant: Tenant, operator: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 500}, reason="big")
    with pytest.raises(InvalidInput):
        decide_quota_request(by=operator, request_id=row.id, approve=False, answer=" ")
    with django_capture_on_commit_callbacks(execute=True):
        decide_quota_request(by=operator, request_id=row.id, approve=False, answer="No room before May.")
    assert limits_of(tenant=Tenant.objects.get(id=tenant.id)) == limits_of(tenant=tenant)
    assert "No room before May." in mail.outbox[0].body
    assertContains(signed_in(owner_of(tenant)).get(PAGE), "No room before May.")
    with pytest.raises(Conflict):
        decide_quota_request(by=operator, request_id=row.id, approve=True, answer="")


def test_who_asked_and_was_removed_gets_no_mail_but_the_owners_do(
    tenant: Tenant, operator: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    admin = make_user()
    membership = join(tenant, admin, role=Role.ADMIN)
    row = request_quota(access=access_for(tenant, admin), wanted={"max_hosts": 500}, reason="big")
    membership.delete()
    with django_capture_on_commit_callbacks(execute=True):
        decide_quota_request(by=operator, request_id=row.id, approve=True, answer="")
    assert [each.to for each in mail.outbox] == [[owner_of(tenant).email]]


def test_an_approval_takes_nothing_back_that_was_given_meanwhile(tenant: Tenant, operator: User) -> None:
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 500}, reason="big")
    set_limits(by=operator, tenant=tenant, limits={"max_hosts": 900})
    decide_quota_request(by=operator, request_id=row.id, approve=True, answer="")
    assert Tenant.objects.get(id=tenant.id).max_hosts == 900


@pytest.mark.parametrize("limits", [{"max_hosts": -1}, {"hosts": 5}, {"max_hosts": True}, {"max_hosts": 10**9}, {"slug": 1}])
def test_limits_that_none_can_have_are_refused(tenant: Tenant, operator: User, limits: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        set_limits(by=operator, tenant=tenant, limits=limits)
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 500}, reason="big")
    with pytest.raises(InvalidInput):
        decide_quota_request(by=operator, request_id=row.id, approve=True, answer="", limits=limits)
    assert QuotaRequest.objects.get().state == "open"


def test_only_operators_decide(tenant: Tenant, operator: User) -> None:
    row = request_quota(access=access_for(tenant), wanted={"max_hosts": 500}, reason="big")
    disabled = User.objects.create_superuser("former@example.com", is_active=False)
    attempts: list[Callable[[User], object]] = [
        lambda by: decide_quota_request(by=by, request_id=row.id, approve=True, answer=""),
        lambda by: set_limits(by=by, tenant=tenant, limits={"max_hosts": 500}),
    ]
    for by in (owner_of(tenant), make_user(), disabled):
        for attempt in attempts:
            with pytest.raises(Forbidden):
                attempt(by)
    Tenant.objects.filter(id=tenant.id).update(deleted_at=now())
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt(operator)
    assert (QuotaRequest.objects.get().state, Tenant.objects.get(id=tenant.id).max_hosts) == ("open", 50)
