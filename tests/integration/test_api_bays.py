"""The main job over REST, as far as it goes without real hosts: ask, watch, change, obtain credentials, delete; lists and their pages."""

import io
import zipfile
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apps.audit.models import AuditEvent
from apps.bays import selectors
from apps.bays.models import Bay, Condition
from apps.bays.pricing import prices_for
from apps.common.clock import now
from apps.credentials.models import Certificate
from apps.operations.models import Operation
from apps.operations.run import add_event
from apps.operations.states import State
from apps.tenants.models import Tenant
from tests.factories import Api, activate, api_of, make_bay, make_cloud, make_flavor, make_tenant, owner_of

pytestmark = pytest.mark.django_db
GOOD = {"name": "web", "coe": "swarm", "flavor": "c1.small", "node_count": 3}
FIELDS = {
    "id", "name", "coe", "coe_version", "cloud", "flavor", "host_kind", "node_count", "manager_count", "status", "health",
    "status_reason", "endpoint",
    "price_per_hour", "currency", "tags", "created_at", "updated_at", "expires_at", "operation", "notices",
}  # fmt: skip


@pytest.fixture
def tenant() -> Tenant:
    make_cloud(limitations=["no_ip_vs"])
    make_flavor()
    return make_tenant("demo")


@pytest.fixture
def api(tenant: Tenant) -> Api:
    return api_of(tenant)


def test_a_bay_is_asked_for_watched_until_active_and_read_by_name_and_by_id(api: Api) -> None:
    made = api.post("tenants/demo/bays", GOOD)
    assert made.status_code == 201
    bay = made.json()
    assert set(bay) == FIELDS
    assert (bay["status"], bay["node_count"], bay["manager_count"], bay["price_per_hour"]) == ("creating", 3, 1, "0.03000000")
    assert (bay["currency"], bay["tags"]) == ("USD", {})
    assert (bay["endpoint"], bay["status_reason"], bay["expires_at"]) == (None, None, None)
    assert set(bay["operation"]) == {"id", "kind", "state", "progress", "phase", "phases"}
    assert (bay["operation"]["kind"], bay["operation"]["state"], bay["operation"]["progress"]) == ("bay.create", "pending", 0)
    assert made.headers["Location"] == f"/api/v1/tenants/demo/bays/{bay['id']}"
    assert api.get(made.headers["Location"]).json() == bay
    activate(Bay.objects.get())
    seen = api.get("tenants/demo/bays/web").json()
    assert (seen["status"], seen["health"], seen["operation"]["progress"]) == ("active", "healthy", 100)
    assert seen["endpoint"].startswith("tcp://10.")


def test_both_forms_of_every_address_lead_to_the_same(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    for path in ("", "clouds", "tenants", "tenants/demo", "tenants/demo/bays", "tenants/demo/bays/web", "tenants/demo/bays/web/hosts"):
        assert api.get(f"{path}/" if path else "/api/v1").json() == api.get(path).json()
    assert api.post("tenants/demo/bays/", GOOD | {"name": "shop"}).status_code == 201


def test_what_the_bays_users_must_know_of_its_cloud_is_part_of_it(api: Api) -> None:
    notices = api.post("tenants/demo/bays", GOOD).json()["notices"]
    assert [notice["code"] for notice in notices] == ["no_ip_vs"]
    assert all(notices[0][part] for part in ("title", "text", "instead"))


def test_an_operation_that_waits_or_fails_says_why_who_can_mend_it_and_how(api: Api, tenant: Tenant) -> None:
    bay = make_bay(tenant, "web", active=False)
    Operation.objects.update(state=State.WAITING, code="cloud_unreachable", message="The cloud local does not answer.")
    reason = api.get("tenants/demo/bays/web").json()["status_reason"]
    assert reason["code"] == "cloud_unreachable"
    assert reason["message"] == "The cloud local does not answer."
    assert reason["user_can_fix"] is False
    assert "goes on by itself" in reason["advice"]
    Operation.objects.update(state=State.FAILED, code="no_capacity", message="No room.", finished_at=now())
    Bay.objects.filter(id=bay.id).update(condition=Condition.ERROR, reason_code="no_capacity", reason_message="No room.")
    seen = api.get("tenants/demo/bays/web").json()
    assert (seen["status"], seen["status_reason"]["code"], seen["status_reason"]["user_can_fix"]) == ("error", "no_capacity", True)
    operation = api.get(f"tenants/demo/bays/web/operations/{seen['operation']['id']}").json()
    assert (operation["state"], operation["reason"]["code"]) == ("failed", "no_capacity")


def test_a_bay_is_resized_renamed_healed_and_deleted(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    grown = api.patch("tenants/demo/bays/web", {"node_count": 3})
    assert (grown.status_code, grown.json()["status"], grown.json()["node_count"], grown.json()["operation"]["kind"]) == (
        202,
        "updating",
        3,
        "bay.resize",
    )
    activate(Bay.objects.get())
    same = api.patch("tenants/demo/bays/web", {"node_count": 3})
    assert (same.status_code, same.json()["status"]) == (200, "active")
    renamed = api.patch("tenants/demo/bays/web", {"name": "shop"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "shop")
    assert api.get("tenants/demo/bays/web").status_code == 404
    healed = api.post("tenants/demo/bays/shop/heal")
    assert (healed.status_code, healed.json()["operation"]["kind"]) == (202, "bay.heal")
    deleted = api.delete("tenants/demo/bays/shop")
    assert (deleted.status_code, deleted.json()["status"]) == (202, "deleting")
    said = [row["action"] for row in api.get("tenants/demo/audit").json()["results"]]
    assert said[:5] == ["bay.deleted", "bay.healed", "bay.renamed", "bay.resized", "bay.created"]


def test_a_delete_is_accepted_while_the_bay_is_being_created(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web", active=False)
    assert api.delete("tenants/demo/bays/web").json()["status"] == "deleting"
    assert Operation.objects.get(kind="bay.create").state == State.CANCELLED


def test_a_change_based_on_an_older_state_is_refused_and_changes_nothing(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    old = api.get("tenants/demo/bays/web").headers["ETag"]
    new = api.patch("tenants/demo/bays/web", {"name": "shop"}, If_Match=old).headers["ETag"]
    assert new != old
    for answer in (
        api.patch("tenants/demo/bays/shop", {"node_count": 2}, If_Match=old),
        api.delete("tenants/demo/bays/shop", If_Match=old),
    ):
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert api.get("tenants/demo/bays/shop").json()["node_count"] == 1
    assert api.delete("tenants/demo/bays/shop", If_Match=new).status_code == 202


def test_an_estimate_names_price_limits_and_room_and_changes_nothing(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web", node_count=2)
    before = (Bay.objects.count(), Operation.objects.count(), AuditEvent.objects.count())
    estimate = api.post("tenants/demo/bays/estimate", {"coe": "swarm", "flavor": "c1.small", "node_count": 3}).json()
    month = prices_for(tenant=tenant).month
    whole_month = f"{Decimal('0.03') * round(month.hours):.2f}"
    assert (estimate["accepted"], estimate["refusal"]) == (True, "")
    assert (estimate["price_per_hour"], estimate["price_per_month"], estimate["currency"]) == ("0.03000000", whole_month, "USD")
    assert (estimate["change_per_hour"], estimate["change_per_month"]) == ("0.03000000", whole_month)
    assert (estimate["month"], estimate["hours_per_month"]) == (month.code, month.hours)
    assert (estimate["adjustments"], estimate["remaining"]) == ([], [])
    assert {item["name"]: (item["used"], item["after"], item["limit"]) for item in estimate["usage"]} == {
        "bays": (1, 2, 10),
        "hosts": (2, 5, 50),
        "vcpus": (2, 5, 200),
        "memory_mib": (2 * 1024, 5 * 1024, 800 * 1024),
        "disk_gib": (20, 50, 5000),
    }
    assert (estimate["cloud"], estimate["room"]) == ("local", 98)
    assert (Bay.objects.count(), Operation.objects.count(), AuditEvent.objects.count()) == before
    assert api.post("tenants/demo/bays/estimate", GOOD | {"node_count": 49}).json()["accepted"] is False


def test_hosts_events_and_operations_of_a_bay_are_listed(api: Api, tenant: Tenant) -> None:
    bay = make_bay(tenant, "web", node_count=3)
    operation = Operation.objects.get()
    add_event(operation=operation, code="host.ready", message="web-1 is ready")
    hosts = api.get("tenants/demo/bays/web/hosts").json()["results"]
    assert [(host["name"], host["role"], host["state"], host["published"]) for host in hosts] == [
        ("web-1", "manager", "ready", None),
        ("web-2", "worker", "ready", None),
        ("web-3", "worker", "ready", None),
    ]
    assert f"tcp://{hosts[0]['address']}:2376" == bay.endpoint
    event = api.get("tenants/demo/bays/web/events").json()["results"][0]
    assert (event["code"], event["message"], event["operation"]) == ("host.ready", "web-1 is ready", str(operation.id))
    assert [row["id"] for row in api.get("tenants/demo/bays/web/operations").json()["results"]] == [str(operation.id)]


def test_the_bundle_is_a_zip_for_the_asker_that_no_cache_keeps(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    answer = api.post("tenants/demo/bays/web/bundle", {"label": "my laptop"}, Accept="application/zip")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="web.zip"'
    assert answer.headers["Cache-Control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as bundle:
        assert {"web/ca.pem", "web/cert.pem", "web/key.pem", "web/docker.env", "web/README.md"} <= set(bundle.namelist())
        certificate = x509.load_pem_x509_certificate(bundle.read("web/cert.pem"))
    listed = api.get("tenants/demo/bays/web/certificates").json()["results"]
    assert [(row["label"], row["owner"], row["revoked_at"]) for row in listed] == [("my laptop", owner_of(tenant).email, None)]
    assert int(listed[0]["serial"], 16) == certificate.serial_number
    assert Certificate.objects.filter(purpose="client").count() == 1


def test_ones_own_key_is_certified_by_the_bays_authority(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    answer = api.post("tenants/demo/bays/web/certificates", {"csr": request.public_bytes(serialization.Encoding.PEM).decode()})
    assert answer.status_code == 201
    certificate = x509.load_pem_x509_certificate(answer.json()["certificate"].encode())
    authority = x509.load_pem_x509_certificate(answer.json()["ca"].encode())
    certificate.verify_directly_issued_by(authority)
    assert certificate.public_key() == key.public_key()
    assert api.get("tenants/demo/bays/web/ca.pem").content.decode() == answer.json()["ca"]


def test_the_catalogue_says_what_can_be_asked_for_and_why_the_rest_cannot(api: Api) -> None:
    make_flavor("v1.small", kind="vm", price="0.025")  # type: ignore[arg-type]
    flavors = {row["name"]: row for row in api.get("flavors").json()["results"]}
    assert (flavors["c1.small"]["available"], flavors["c1.small"]["room"], flavors["c1.small"]["cloud"]) == (True, 100, "local")
    assert set(flavors["c1.small"]["trade_offs"]) == {"performance", "isolation", "cost"}
    assert (flavors["v1.small"]["available"], flavors["v1.small"]["cloud"]) == (False, None)
    assert "no hosts of kind vm" in flavors["v1.small"]["reason"]
    assert [row["name"] for row in api.get("clouds").json()["results"]] == ["local"]
    coe = api.get("coes").json()["results"][0]
    assert (coe["name"], coe["manager_counts"]) == ("swarm", [1, 3, 5])
    assert [version["default"] for version in coe["versions"]].count(True) == 1


def test_answers_about_clouds_hold_no_settings_and_no_secrets(api: Api) -> None:
    cloud = make_cloud("secretive", settings={"socket": "/secret/path"}, secrets_encrypted="sealed")
    shown = api.get("clouds").content.decode()
    assert cloud.name in shown
    assert "/secret/path" not in shown
    assert "sealed" not in shown


def test_limits_and_members_of_a_tenant_are_shown(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web", node_count=2)
    quota = api.get("tenants/demo/quota").json()
    assert {name: (each["used"], each["limit"], each["unit"]) for name, each in quota.items()} == {
        "bays": (1, 10, "bays"),
        "hosts": (2, 50, "hosts"),
        "vcpus": (2, 200, "vCPUs"),
        "memory_mib": (2 * 1024, 800 * 1024, "MiB"),
        "disk_gib": (20, 5000, "GiB"),
    }
    members = api.get("tenants/demo/members").json()["results"]
    assert [(row["email"], row["role"]) for row in members] == [(owner_of(tenant).email, "owner")]


# --- lists --------------------------------------------------------------------------------------------------------------------


def names(api: Api, address: str) -> list[str]:
    found = []
    while address:
        page = api.get(address).json()
        found += [row["name"] for row in page["results"]]
        address = page["next"]
    return found


def test_pages_follow_each_other_newest_first_without_gap_or_repetition(api: Api, tenant: Tenant) -> None:
    for number in range(7):
        make_bay(tenant, f"bay-{number}", active=False)
    assert names(api, "tenants/demo/bays?limit=3") == [f"bay-{number}" for number in reversed(range(7))]
    assert names(api, "tenants/demo/bays/?limit=7") == [f"bay-{number}" for number in reversed(range(7))]
    assert api.get("tenants/demo/bays?limit=7").json()["next"] is None


def test_a_page_stays_the_same_when_rows_are_added_or_deleted_meanwhile(api: Api, tenant: Tenant) -> None:
    for number in range(4):
        make_bay(tenant, f"bay-{number}", active=False)
    following = api.get("tenants/demo/bays?limit=2").json()["next"]
    make_bay(tenant, "newer", active=False)
    Bay.objects.filter(name="bay-2").update(deleted_at=now(), condition=Condition.DELETED)
    assert names(api, following) == ["bay-1", "bay-0"]


def test_rows_of_the_same_moment_are_all_shown_once(api: Api, tenant: Tenant) -> None:
    for number in range(5):
        make_bay(tenant, f"bay-{number}", active=False)
    Bay.objects.update(created_at=now())
    assert sorted(names(api, "tenants/demo/bays?limit=1")) == [f"bay-{number}" for number in range(5)]


def test_events_which_have_numbers_for_ids_are_paged_too(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    for number in range(5):
        add_event(operation=Operation.objects.get(), code="test", message=str(number))
    found, address = [], "tenants/demo/bays/web/events?limit=2"
    while address:
        page = api.get(address).json()
        found += [row["message"] for row in page["results"]]
        address = page["next"]
    assert found == ["4", "3", "2", "1", "0"]


def test_the_next_page_keeps_what_was_asked(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "a", active=False)
    make_bay(tenant, "b", active=False)
    make_bay(tenant, "c")
    assert names(api, "tenants/demo/bays?status=creating&limit=1") == ["b", "a"]


def test_bays_are_found_by_name_and_by_the_status_they_show(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "done")
    make_bay(tenant, "young", active=False)
    make_bay(tenant, "going")
    api.delete("tenants/demo/bays/going")
    make_bay(tenant, "growing")
    api.patch("tenants/demo/bays/growing", {"node_count": 2})
    for status, expected in (
        ("active", ["done"]),
        ("creating", ["young"]),
        ("deleting", ["going"]),
        ("updating", ["growing"]),
        ("error", []),
        ("x", []),
    ):
        assert names(api, f"tenants/demo/bays?status={status}") == expected
        assert all(row["status"] == status for row in api.get(f"tenants/demo/bays?status={status}").json()["results"])
    assert names(api, "tenants/demo/bays?name=done") == ["done"]
    assert names(api, "tenants/demo/bays?name=%00") == []


def test_a_bay_whose_operation_ends_while_it_is_read_never_looks_done_before_it_is(
    api: Api, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    bay = make_bay(tenant, "web", active=False)
    real = selectors._newest_operations

    def and_then_it_ends(ids: list[UUID]) -> dict[UUID, Operation]:
        read = real(ids)
        activate(bay)
        return read

    for path in ("tenants/demo/bays", "tenants/demo/bays/web"):
        monkeypatch.setattr(selectors, "_newest_operations", and_then_it_ends)
        seen = api.get(path).json()
        monkeypatch.undo()
        seen = seen["results"][0] if "results" in seen else seen
        assert (seen["status"], seen["operation"]["state"]) == ("creating", "pending")
        again = api.get(path).json()
        again = again["results"][0] if "results" in again else again
        assert (again["status"], again["operation"]["state"]) == ("active", "succeeded")
        Bay.objects.update(condition=Condition.CREATING)
        Operation.objects.update(state=State.PENDING, finished_at=None)


def test_deleted_bays_are_in_no_list_and_at_no_address(api: Api, tenant: Tenant) -> None:
    bay = make_bay(tenant, "web")
    Bay.objects.update(deleted_at=now(), condition=Condition.DELETED)
    assert names(api, "tenants/demo/bays") == []
    for reference in ("web", str(bay.id)):
        assert api.get(f"tenants/demo/bays/{reference}").status_code == 404
    assert api.post("tenants/demo/bays", GOOD).status_code == 201


@pytest.mark.parametrize(
    ("path", "queries"),
    [
        ("clouds", 3),
        ("flavors", 7),
        ("coes", 1),
        ("tenants", 2),
        ("tenants/demo", 2),
        ("tenants/demo/members", 3),
        ("tenants/demo/quota", 4),
        ("tenants/demo/tokens", 3),
        ("tenants/demo/audit", 3),
        ("tenants/demo/bays", 9),
        ("tenants/demo/bays/web-0", 9),
        ("tenants/demo/bays/web-0/hosts", 7),
        ("tenants/demo/bays/web-0/operations", 8),
        ("tenants/demo/bays/web-0/events", 8),
        ("tenants/demo/bays/web-0/certificates", 8),
    ],
)
def test_the_number_of_queries_does_not_grow_with_the_rows(
    api: Api, tenant: Tenant, django_assert_num_queries: Any, path: str, queries: int
) -> None:
    api.get("coes")  # the first use of a token is noted
    for number in range(3):
        make_bay(tenant, f"web-{number}", node_count=2)
        make_flavor(f"c2.{number}")
        make_cloud(f"cloud-{number}", free=0)
        make_tenant(owner=owner_of(tenant))
        api_of(tenant)
        for count in range(3):
            add_event(operation=Operation.objects.filter(kind="bay.create")[0], code="test", message=str(count))
    with django_assert_num_queries(queries):
        answer = api.get(path)
    assert answer.status_code == 200


def test_a_bay_with_a_time_to_live_shows_when_it_ends(api: Api) -> None:
    bay = api.post("tenants/demo/bays", GOOD | {"ttl": 3600}).json()
    assert bay["expires_at"] > bay["created_at"]
    row = Bay.objects.get()
    assert row.expires_at is not None
    assert row.expires_at - row.created_at == timedelta(hours=1)
