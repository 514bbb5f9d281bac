"""What the pages of bays answer to a member, to a member who may only look, and to a stranger."""

import re
from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects, assertTemplateUsed

from apps.accounts.models import User
from apps.bays.models import Bay, Condition
from apps.bays.pricing import prices_for
from apps.hosts.contracts import HostKind
from apps.operations.models import Operation
from apps.operations.states import State
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import activate, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of

pytestmark = pytest.mark.django_db
BAYS = "/t/crew/bays/"
BAY_PAGES = ("", "hosts", "access", "events", "settings", "resize?node_count=2", "resize/estimate?node_count=2", "ca.pem")
BAY_ACTIONS = ("bundle", "certificates", "resize", "rename", "heal", "delete")
TENANT_PAGES = (BAYS, f"{BAYS}new", "/t/crew/settings/", "/t/crew/tokens/")


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor()
    return make_tenant("crew")


@pytest.fixture
def bay(tenant: Tenant) -> Bay:
    return make_bay(tenant, "vela", node_count=3)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.fixture
def owner(tenant: Tenant) -> Client:
    return signed_in(owner_of(tenant))


@pytest.fixture
def viewer(tenant: Tenant) -> Client:
    user = make_user()
    join(tenant, user, role=Role.VIEWER)
    return signed_in(user)


@pytest.fixture
def stranger() -> Client:
    user = make_user()
    make_tenant(owner=user)
    return signed_in(user)


def form(**changes: str) -> dict[str, str]:
    return {
        "name": "vega",
        "coe": "swarm",
        "flavor": "c1.small",
        "node_count": "1",
        "manager_count": "1",
        "ttl": "",
        "cloud": "",
        **changes,
    }


def test_a_member_sees_every_page(owner: Client, bay: Bay) -> None:
    for address in (*TENANT_PAGES, *(f"{BAYS}vela/{page}" for page in BAY_PAGES)):
        assert owner.get(address).status_code == 200, address


def test_every_address_works_with_and_without_a_slash_at_its_end(owner: Client, bay: Bay) -> None:
    for address in ("/t/crew/bays", f"{BAYS}new/", f"{BAYS}vela", f"{BAYS}vela/hosts/", "/t/crew/settings", "/t/crew/tokens"):
        assert owner.get(address).status_code == 200, address


def test_a_stranger_gets_404_everywhere_and_changes_nothing(stranger: Client, bay: Bay) -> None:
    for address in (*TENANT_PAGES, *(f"{BAYS}{name}/{page}" for page in BAY_PAGES for name in ("vela", bay.id))):
        assert stranger.get(address).status_code == 404, address
    for action in BAY_ACTIONS:
        assert stranger.post(f"{BAYS}vela/{action}", {"confirm": "vela", "node_count": "2", "name": "mine"}).status_code == 404, action
    assert stranger.post(f"{BAYS}new", form()).status_code == 404
    assert Bay.objects.get().generation == 1
    assert Operation.objects.count() == 1


def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(client: Client, bay: Bay) -> None:
    assertRedirects(client.get(f"{BAYS}vela/hosts"), "/account/login/?next=/t/crew/bays/vela/hosts", fetch_redirect_response=False)


def test_a_fragment_sends_a_visitor_whose_session_is_over_to_sign_in(client: Client, bay: Bay) -> None:
    assert client.get(BAYS, headers={"HX-Request": "true"})["HX-Redirect"] == "/account/login/"


def test_a_viewer_looks_but_may_not_change(viewer: Client, bay: Bay) -> None:
    assertNotContains(viewer.get(BAYS), "Create bay")
    assertContains(viewer.get(f"{BAYS}vela/access"), "Your role does not include credentials")
    for action in BAY_ACTIONS:
        answer = viewer.post(f"{BAYS}vela/{action}", {"confirm": "vela", "node_count": "2", "name": "mine", "csr": "x"})
        assertContains(answer, "Your role", status_code=403)
    assertContains(viewer.get(f"{BAYS}new"), "does not include “bay:create”", status_code=403)
    assert Operation.objects.count() == 1


def test_the_bay_of_another_tenant_is_not_found_under_ones_own(stranger: Client, bay: Bay) -> None:
    mine = Tenant.objects.exclude(slug="crew").get()
    assert stranger.get(f"/t/{mine.slug}/bays/{bay.id}/").status_code == 404


def test_an_empty_list_offers_the_first_bay(owner: Client) -> None:
    assertContains(owner.get(BAYS), "Create your first bay")


def test_creating_leads_to_the_page_of_the_bay(owner: Client) -> None:
    assertRedirects(owner.post(f"{BAYS}new", form()), f"{BAYS}vega/")
    assert Bay.objects.get().condition == Condition.CREATING


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "Vega!"}, "lower-case letters a-z"),
        ({"name": ""}, "A name is needed"),
        ({"name": "new"}, "is reserved"),
        ({"node_count": "many"}, "Write the number of hosts as a whole number"),
        ({"node_count": "0"}, "between 1 and 50 hosts"),
        ({"node_count": "1000000000"}, "between 1 and 50 hosts"),
        ({"flavor": "c9.huge"}, "There is no flavor “c9.huge”"),
        ({"coe": "nomad"}, "There is no orchestrator “nomad”"),
        ({"manager_count": "3"}, "3 managers need at least 3 hosts"),
        ({"flavor": ""}, "Choose the kind and size of the hosts"),
    ],
)
def test_wrong_input_says_the_sentence_and_keeps_what_was_typed(owner: Client, changes: dict[str, str], sentence: str) -> None:
    typed = form(**{"ttl": "3600", **changes})
    answer = owner.post(f"{BAYS}new", typed)
    assertContains(answer, sentence, status_code=422)
    page = answer.content.decode()
    assert f'value="{typed["name"]}"' in page or not typed["name"]
    assert f'value="{typed["node_count"]}"' in page
    assert re.search(r'value="3600"\s+selected', page)
    assert Bay.objects.count() == 0


def test_a_name_in_use_is_said_beside_the_name(owner: Client, bay: Bay) -> None:
    answer = owner.post(f"{BAYS}new", form(name="vela"))
    assertContains(answer, 'id="id_name_error"', status_code=422)
    assertContains(answer, "There is already a bay “vela”", status_code=422)


def test_the_summary_follows_the_form_and_creates_nothing(owner: Client) -> None:
    answer = owner.post(f"{BAYS}new/estimate", form(node_count="3"), headers={"HX-Request": "true"})
    month = prices_for(tenant=None).month
    whole_month = f"${Decimal('0.03') * round(month.hours):.2f} per month"
    assertContains(answer, "$0.03")
    assertContains(answer, whole_month)
    assertContains(answer, f"{month.first:%B %Y}, {month.hours:.0f} hours")
    assertContains(owner.post(f"{BAYS}new/estimate", form(node_count="51")), "between 1 and 50 hosts")
    badly_named = owner.post(f"{BAYS}new/estimate", form(node_count="3", name="No Good"))
    assertContains(badly_named, whole_month)
    assertContains(badly_named, "lower-case letters a-z")
    assertContains(owner.post(f"{BAYS}new", {**form(node_count="3"), "preview": "1"}), whole_month)
    assert Bay.objects.count() == 0


def test_a_kind_of_host_nobody_has_is_greyed_with_its_reason(owner: Client) -> None:
    make_flavor("b1.large", kind=HostKind.BAREMETAL, vcpus=16)
    page = owner.get(f"{BAYS}new").content.decode()
    assert "The cloud Local has no hosts of kind baremetal." in page
    assert re.search(r'value="b1\.large"\s+disabled', page)


def test_the_list_looks_again_while_something_runs_and_only_then(owner: Client, tenant: Tenant) -> None:
    bay = make_bay(tenant, "vela", active=False)
    assertContains(owner.get(BAYS), "hx-trigger")
    assertTemplateUsed(owner.get(BAYS, headers={"HX-Request": "true"}), "bays/_list.html")
    activate(bay)
    assertNotContains(owner.get(BAYS, headers={"HX-Request": "true"}), "hx-trigger")


def test_the_page_of_a_bay_looks_again_while_something_runs_and_only_then(owner: Client, tenant: Tenant) -> None:
    bay = make_bay(tenant, "vela", active=False)
    assertContains(owner.get(f"{BAYS}vela/"), f'hx-get="{BAYS}{bay.id}/" hx-trigger="every 500ms"')
    activate(bay)
    done = owner.get(f"{BAYS}{bay.id}/", headers={"HX-Request": "true"})
    assertNotContains(done, "hx-trigger")
    assertContains(done, "Download vela.zip")


def test_who_watches_a_bay_being_deleted_is_told_when_it_is_gone(owner: Client, bay: Bay) -> None:
    Bay.objects.filter(id=bay.id).update(condition=Condition.DELETED, deleted_at=bay.created_at)
    answer = owner.get(f"{BAYS}{bay.id}/", headers={"HX-Request": "true"})
    assert answer["HX-Redirect"] == BAYS
    owner.get(answer.wsgi_request.path, headers={"HX-Request": "true"})  # asked again before the next page came
    assertContains(owner.get(BAYS), "vela is deleted. Nothing of it is left.", count=1)
    assert owner.get(f"{BAYS}vela/").status_code == 404


def test_an_error_says_what_happened_what_to_do_and_offers_the_button(owner: Client, bay: Bay) -> None:
    Bay.objects.filter(id=bay.id).update(condition=Condition.ERROR, reason_code="no_capacity", reason_message="Room for 1, not for 3.")
    page = owner.get(f"{BAYS}vela/")
    for words in ("The cloud has no room left", "Room for 1, not for 3.", "You can mend this.", "Choose a smaller flavor", "Try again"):
        assertContains(page, words)
    owner.post(f"{BAYS}vela/heal")
    assert Operation.objects.filter(kind="bay.heal", state=State.PENDING).count() == 1


def test_a_short_wait_that_belongs_to_every_change_is_not_shown_as_trouble(owner: Client, tenant: Tenant) -> None:
    make_bay(tenant, "vela", active=False)
    Operation.objects.update(state=State.WAITING, code="engine_not_ready", message="Still waiting.")
    assertNotContains(owner.get(f"{BAYS}vela/"), "does not answer yet")
    Operation.objects.update(code="cloud_unreachable", message="No answer within 5 s.")
    assertContains(owner.get(f"{BAYS}vela/"), "This is not up to you.")


def test_resizing_down_names_the_hosts_that_go_and_the_new_price_before_anything_happens(owner: Client, bay: Bay) -> None:
    page = owner.get(f"{BAYS}vela/resize", {"node_count": "1"})
    leaving = [host.hostname for host in bay.hosts.exclude(index=1)]
    assert len(leaving) == 2
    for hostname in leaving:
        assertContains(page, hostname)
    month = prices_for(tenant=None).month
    assertContains(page, f"${Decimal('0.01') * round(month.hours):.2f}/month")
    assert Operation.objects.filter(kind="bay.resize").count() == 0
    assertRedirects(owner.post(f"{BAYS}vela/resize", {"node_count": "1"}), f"{BAYS}vela/")
    assert Operation.objects.filter(kind="bay.resize").count() == 1


@pytest.mark.parametrize(
    ("count", "sentence"),
    [("0", "between 1 and 50"), ("4x", "whole number"), ("", "how many"), ("51", "between 1 and 50")],
)
def test_a_wrong_number_of_hosts_is_refused_beside_the_field(owner: Client, bay: Bay, count: str, sentence: str) -> None:
    for answer in (owner.get(f"{BAYS}vela/resize", {"node_count": count}), owner.post(f"{BAYS}vela/resize", {"node_count": count})):
        assertContains(answer, sentence, status_code=422)
    assert Operation.objects.count() == 1


def test_deleting_needs_the_typed_name(owner: Client, bay: Bay) -> None:
    for typed in ("", "vel", "VELA", "vela2"):
        assertContains(owner.post(f"{BAYS}vela/delete", {"confirm": typed}), "This is not the name of the bay", status_code=422)
    assert Bay.objects.get().delete_requested_at is None
    assertRedirects(owner.post(f"{BAYS}vela/delete", {"confirm": " vela "}), f"{BAYS}vela/")
    assert Bay.objects.get().delete_requested_at is not None


def test_deleting_by_a_link_is_not_possible(owner: Client, bay: Bay) -> None:
    for action in BAY_ACTIONS:
        if action != "resize":
            assert owner.get(f"{BAYS}vela/{action}").status_code == 405, action


def test_renaming_leads_to_the_new_address(owner: Client, bay: Bay) -> None:
    assertRedirects(owner.post(f"{BAYS}vela/rename", {"name": "lyra"}), f"{BAYS}lyra/settings")
    assertContains(owner.post(f"{BAYS}lyra/rename", {"name": "No Such"}), "lower-case letters", status_code=422)


def test_the_bundle_is_a_zip_that_nobody_keeps(owner: Client, bay: Bay) -> None:
    answer = owner.post(f"{BAYS}vela/bundle")
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"] == 'attachment; filename="vela.zip"'
    assert answer["Cache-Control"] == "no-store"
    assert answer.content.startswith(b"PK")
    assertContains(owner.get(f"{BAYS}vela/access"), owner_of(bay.tenant).email)


def test_a_bundle_asked_for_too_early_is_refused_with_a_sentence(owner: Client, tenant: Tenant) -> None:
    make_bay(tenant, "vela", active=False)
    assertContains(owner.post(f"{BAYS}vela/bundle", follow=True), "is not ready yet (status creating)")


def test_a_signing_request_that_is_garbage_is_refused_and_kept(owner: Client, bay: Bay) -> None:
    answer = owner.post(f"{BAYS}vela/certificates", {"csr": "certainly not PEM", "label": "CI"})
    assertContains(answer, "certainly not PEM", status_code=422)
    assertContains(answer, 'id="id_csr_error"', status_code=422)


def test_pages_for_members_are_kept_by_no_cache(owner: Client, bay: Bay) -> None:
    for address in TENANT_PAGES:
        assert owner.get(address)["Cache-Control"] == "no-store", address


def test_odd_references_are_not_found_rather_than_errors(owner: Client, bay: Bay) -> None:
    for odd in ("nope", "%00", "a" * 300, "%F0%9F%9A%A2", "00000000-0000-0000-0000-000000000000"):
        assert owner.get(f"{BAYS}{odd}/").status_code == 404, odd
        assert owner.get(f"{BAYS}{odd}/", headers={"HX-Request": "true"}).status_code == 404, odd
    for before in ("x", "9" * 30, "-1", "²"):
        assert owner.get(f"{BAYS}vela/events", {"before": before}).status_code == 200, before


def test_what_people_name_is_shown_as_text(owner: Client, bay: Bay) -> None:
    page = owner.get(BAYS, {"q": "<script>alert(1)</script>"}).content.decode()
    assert "<script>alert" not in page


# Session, user, membership with tenant; the rest is what the page shows, however many bays there are.
QUERIES = {
    BAYS: 14,
    f"{BAYS}new": 32,
    f"{BAYS}vela/": 12,
    f"{BAYS}vela/hosts": 12,
    f"{BAYS}vela/access": 18,
    f"{BAYS}vela/events": 14,
    f"{BAYS}vela/settings": 12,
}


@pytest.mark.parametrize("address", QUERIES)
def test_the_number_of_queries_does_not_grow_with_the_bays(
    owner: Client, tenant: Tenant, bay: Bay, address: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(4):
        make_bay(tenant, f"bay-{number}", node_count=3)
    owner.get(address)
    with django_assert_max_num_queries(QUERIES[address]):
        assert owner.get(address).status_code == 200
