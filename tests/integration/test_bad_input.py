"""Whatever is sent, the answer is one clear sentence as problem+json, and nothing in the database has changed."""

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from django.apps import apps

from apps.bays.models import Bay
from apps.hosts.contracts import HostKind
from apps.tenants.models import Tenant
from tests.factories import Api, api_of, make_bay, make_cloud, make_flavor, make_tenant

pytestmark = pytest.mark.django_db
GOOD = {"name": "web", "coe": "swarm", "flavor": "c1.small", "node_count": 3}
ANY = object()


@pytest.fixture
def tenant() -> Tenant:
    make_cloud(free=20)
    make_flavor()
    make_flavor("c1.huge", vcpus=64)
    make_flavor("v1.small", kind=HostKind.VM)
    make_flavor("c1.old", enabled=False)
    return make_tenant("demo")


@pytest.fixture
def api(tenant: Tenant) -> Api:
    return api_of(tenant)


def everything() -> dict[str, list[Any]]:
    """Every row of the portal's own tables, but for when a token was last used."""
    ours = [model for model in apps.get_models() if model.__module__.startswith("apps.")]
    hidden = {"last_used_at", "last_used_address"}
    return {
        model.__name__: [
            {key: value for key, value in row.items() if key not in hidden} for row in model._default_manager.order_by("pk").values()
        ]
        for model in ours
    }


def check_problem(answer: Any, *, status: int, code: str | object = ANY) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "code", "errors", "request_id"}
    assert problem["status"] == status
    assert problem["type"] == f"/api/v1/problems/{problem['code']}"
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["detail"].endswith(".")
    assert "\n" not in problem["detail"]
    if code is not ANY:
        assert problem["code"] == code
    return problem


BAD_VALUES: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "name", "name_empty"),
    ({"name": None}, "name", "type"),
    ({"name": 7}, "name", "type"),
    ({"name": ["web"]}, "name", "type"),
    ({"name": "a" * 41}, "name", "name_too_long"),
    ({"name": "estimate"}, "name", "name_reserved"),
    ({"name": "new"}, "name", "name_reserved"),
    ({"name": "Web"}, "name", "name_characters"),
    ({"name": "w\u0435b"}, "name", "name_characters"),
    ({"name": "web\u200b"}, "name", "name_characters"),
    ({"name": "web\n"}, "name", "name_characters"),
    ({"name": "../../etc/passwd"}, "name", "name_characters"),
    ({"node_count": 0}, "node_count", "node_count_range"),
    ({"node_count": -1}, "node_count", "node_count_range"),
    ({"node_count": 51}, "node_count", "node_count_range"),
    ({"node_count": 10**9}, "node_count", "node_count_range"),
    ({"node_count": 10**100}, "node_count", "node_count_range"),
    ({"node_count": "4"}, "node_count", "type"),
    ({"node_count": True}, "node_count", "type"),
    ({"node_count": 1.5}, "node_count", "type"),
    ({"node_count": 3.0}, "node_count", "type"),
    ({"node_count": None}, "node_count", "type"),
    ({"node_count": [3]}, "node_count", "type"),
    ({"manager_count": 2}, "manager_count", "manager_count_range"),
    ({"manager_count": 0}, "manager_count", "manager_count_range"),
    ({"manager_count": True}, "manager_count", "manager_count_range"),
    ({"manager_count": "1"}, "manager_count", "manager_count_range"),
    ({"manager_count": 5}, "manager_count", "manager_count_range"),
    ({"coe": "mesos"}, "coe", "coe_unknown"),
    ({"coe": ""}, "coe", "coe_unknown"),
    ({"coe": 1}, "coe", "type"),
    ({"coe_version": "1.0"}, "coe_version", "version_unknown"),
    ({"coe_version": None}, "coe_version", "type"),
    ({"flavor": "c9.large"}, "flavor", "flavor_unknown"),
    ({"flavor": "c1.old"}, "flavor", "flavor_unknown"),
    ({"flavor": "c1.small "}, "flavor", "flavor_unknown"),
    ({"flavor": "\U0001f600"}, "flavor", "flavor_unknown"),
    ({"flavor": {}}, "flavor", "type"),
    ({"flavor": "v1.small"}, "flavor", "flavor_not_offered"),
    ({"cloud": "moon"}, "cloud", "cloud_unknown"),
    ({"cloud": False}, "cloud", "type"),
    ({"cloud": 0}, "cloud", "type"),
    ({"ttl": 599}, "ttl", "ttl_range"),
    ({"ttl": 10**12}, "ttl", "ttl_range"),
    ({"ttl": "600"}, "ttl", "type"),
    ({"ttl": True}, "ttl", "type"),
    ({"nodecount": 3}, "nodecount", "field_unknown"),
    ({"tenant": "other"}, "tenant", "field_unknown"),
]


@pytest.mark.parametrize(
    ("change", "field", "code"), BAD_VALUES, ids=[f"{field}-{code}-{index}" for index, (_, field, code) in enumerate(BAD_VALUES)]
)
def test_a_create_with_a_value_that_is_not_allowed_names_the_field_and_changes_nothing(
    api: Api, change: dict[str, Any], field: str, code: str
) -> None:
    before = everything()
    problem = check_problem(api.post("tenants/demo/bays", GOOD | change, Idempotency_Key="k1"), status=422, code=code)
    assert list(problem["errors"]) == [field]
    assert problem["errors"][field] == problem["detail"]
    assert everything() == before


def test_all_fields_at_fault_are_named_at_once(api: Api) -> None:
    problem = check_problem(api.post("tenants/demo/bays", {"name": "Web", "coe": "x", "flavor": "y", "node_count": 0}), status=422)
    assert set(problem["errors"]) == {"name", "coe", "flavor", "node_count"}


@pytest.mark.parametrize(("flavor", "node_count"), [("c1.huge", 1), ("c1.small", 21)])
def test_more_than_any_cloud_has_room_for_is_said_before_creation(api: Api, flavor: str, node_count: int) -> None:
    before = everything()
    body = GOOD | {"flavor": flavor, "node_count": node_count}
    problem = check_problem(api.post("tenants/demo/bays", body), status=409, code="no_capacity")
    assert f"not for {node_count}" in problem["detail"]
    estimate = api.post("tenants/demo/bays/estimate", body).json()
    assert (estimate["accepted"], estimate["refusal"]) == (False, problem["detail"])
    assert everything() == before


def test_a_portal_without_a_cloud_says_so(api: Api) -> None:
    for cloud in apps.get_model("hosts", "Cloud").objects.all():
        cloud.delete()
    problem = check_problem(api.post("tenants/demo/bays", GOOD), status=409, code="no_cloud")
    assert "add_cloud" in problem["detail"]


def test_a_name_in_use_is_refused_until_its_bay_is_gone(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    before = everything()
    problem = check_problem(api.post("tenants/demo/bays", GOOD), status=409, code="name_taken")
    assert list(problem["errors"]) == ["name"]
    assert everything() == before


def test_more_bays_or_hosts_than_the_tenant_may_have_are_refused(api: Api, tenant: Tenant) -> None:
    Tenant.objects.filter(id=tenant.id).update(max_hosts=2)
    before = everything()
    problem = check_problem(api.post("tenants/demo/bays", GOOD), status=409, code="limit_reached")
    assert "may have 2 hosts" in problem["detail"]
    assert everything() == before


@pytest.mark.parametrize(
    ("raw", "content_type", "status", "code"),
    [
        (b'{"name": "web"', "application/json", 400, "broken_json"),
        (b'{"name": "web", "name": "shop"}', "application/json", 400, "broken_json"),
        (b'{"name": NaN}', "application/json", 400, "broken_json"),
        (b"\xff\xfe", "application/json", 400, "body_not_utf8"),
        (b'{"name": "a\\u0000b"}', "application/json", 400, "text_not_unicode"),
        (b'{"name": "\\ud800"}', "application/json", 400, "text_not_unicode"),
        (b"[" * 60_000, "application/json", 400, "broken_json"),
        (b"[1, 2]", "application/json", 400, "body_not_an_object"),
        (b'"web"', "application/json", 400, "body_not_an_object"),
        (b"null", "application/json", 400, "body_not_an_object"),
        (b"4", "application/json", 400, "body_not_an_object"),
        (b" " * 65_537, "application/json", 413, "body_too_large"),
        (b"name=web", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"name: web", "application/yaml", 415, "unsupported_media_type"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{}", "no/such/type; ;=", 415, "unsupported_media_type"),
        (b"{}", "", 400, "content_type_missing"),
        (b"--x--", "multipart/form-data; boundary=x", 415, "unsupported_media_type"),
    ],
)
@pytest.mark.parametrize(
    "path", ["tenants/demo/bays", "tenants/demo/bays/estimate", "tenants/demo/tokens", "tenants", "tenants/demo/bays/web/bundle"]
)
def test_a_body_that_cannot_be_understood_is_refused(
    api: Api, tenant: Tenant, path: str, raw: bytes, content_type: str, status: int, code: str
) -> None:
    make_bay(tenant, "web")
    before = everything()
    answer = api.client.generic(
        "POST", f"/api/v1/{path}", data=raw, content_type=content_type, headers={**api.headers, "Idempotency-Key": "k2"}
    )
    check_problem(answer, status=status, code=code)
    assert everything() == before


def test_a_body_in_chunks_is_refused_instead_of_being_overlooked(api: Api) -> None:
    answer = api.client.generic(
        "POST",
        "/api/v1/tenants/demo/bays",
        content_type="application/json",
        headers={**api.headers, "Transfer-Encoding": "chunked"},
        CONTENT_LENGTH="",
    )
    check_problem(answer, status=411, code="length_required")


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "schlüssel", "a\tb"])
def test_an_idempotency_key_that_is_none_is_refused(api: Api, key: str) -> None:
    before = everything()
    check_problem(api.post("tenants/demo/bays", GOOD, Idempotency_Key=key), status=400, code="idempotency_key_invalid")
    assert everything() == before


@pytest.mark.parametrize("body", [{}, {"name": "a", "node_count": 2}])
def test_a_change_must_be_exactly_one(api: Api, tenant: Tenant, body: dict[str, Any]) -> None:
    make_bay(tenant, "web")
    before = everything()
    check_problem(api.patch("tenants/demo/bays/web", body), status=422, code="one_change")
    assert everything() == before


@pytest.mark.parametrize("field", ["hibernated", "coe_version", "flavor", "status", "id"])
def test_a_change_of_anything_else_says_what_can_be_changed(api: Api, tenant: Tenant, field: str) -> None:
    make_bay(tenant, "web")
    before = everything()
    problem = check_problem(api.patch("tenants/demo/bays/web", {field: "x"}), status=422, code="field_unknown")
    assert "name, node_count" in problem["detail"]
    assert everything() == before


@pytest.mark.parametrize("count", [0, -1, 10**9, "4", True, 1.5, None])
def test_a_resize_to_a_count_that_is_none_is_refused(api: Api, tenant: Tenant, count: object) -> None:
    make_bay(tenant, "web")
    before = everything()
    check_problem(api.patch("tenants/demo/bays/web", {"node_count": count}), status=422)
    assert everything() == before


def test_a_resize_below_the_managers_is_refused(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web", node_count=4, manager_count=3)
    before = everything()
    check_problem(api.patch("tenants/demo/bays/web", {"node_count": 2}), status=422, code="below_quorum")
    assert everything() == before


def test_a_resize_beyond_the_room_is_refused(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    before = everything()
    check_problem(api.patch("tenants/demo/bays/web", {"node_count": 22}), status=409, code="no_capacity")
    assert everything() == before


def test_a_resize_during_a_create_is_refused(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web", active=False)
    before = everything()
    problem = check_problem(api.patch("tenants/demo/bays/web", {"node_count": 2}), status=409, code="bay_busy")
    assert "being created" in problem["detail"]
    assert everything() == before


def test_a_heal_during_a_create_is_refused(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web", active=False)
    before = everything()
    check_problem(api.post("tenants/demo/bays/web/heal"), status=409, code="bay_busy")
    assert everything() == before


def test_a_rename_to_a_name_in_use_is_refused(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    make_bay(tenant, "shop")
    before = everything()
    check_problem(api.patch("tenants/demo/bays/web", {"name": "shop"}), status=409, code="name_taken")
    check_problem(api.patch("tenants/demo/bays/web", {"name": "Shop"}), status=422, code="name_characters")
    check_problem(api.patch("tenants/demo/bays/web", {"name": 1}), status=422, code="type")
    assert everything() == before


def test_a_second_delete_is_refused(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    assert api.delete("tenants/demo/bays/web").status_code == 202
    before = everything()
    check_problem(api.delete("tenants/demo/bays/web"), status=409, code="already_deleting")
    check_problem(api.patch("tenants/demo/bays/web", {"node_count": 2}), status=409, code="bay_busy")
    check_problem(api.post("tenants/demo/bays/web/bundle"), status=409, code="already_deleting")
    assert everything() == before


def test_credentials_before_the_bay_is_ready_are_refused(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web", active=False)
    before = everything()
    check_problem(api.post("tenants/demo/bays/web/bundle"), status=409, code="bay_not_ready")
    check_problem(api.post("tenants/demo/bays/web/certificates", {"csr": csr()}), status=409, code="bay_not_ready")
    check_problem(api.get("tenants/demo/bays/web/ca.pem"), status=409, code="bay_not_ready")
    assert everything() == before


def csr(*, key: Any = None, authority: bool = False) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me")]))
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def damaged() -> str:
    lines = csr().splitlines()
    return "\n".join([lines[0], lines[1][::-1], *lines[2:]])


BAD_REQUESTS: dict[str, Any] = {
    "nothing": None,
    "empty": "  ",
    "a number": 5,
    "garbage": "garbage",
    "damaged": damaged,
    "the wrong thing": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "a weak key": lambda: csr(key=rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - what is refused
    "an authority's rights": lambda: csr(authority=True),
    "far too much": "-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 20_000,
}


@pytest.mark.parametrize("kind", BAD_REQUESTS)
def test_a_signing_request_that_is_not_acceptable_is_refused(api: Api, tenant: Tenant, kind: str) -> None:
    make_bay(tenant, "web")
    made = BAD_REQUESTS[kind]
    before = everything()
    problem = check_problem(api.post("tenants/demo/bays/web/certificates", {"csr": made() if callable(made) else made}), status=422)
    assert list(problem["errors"]) == ["csr"]
    assert everything() == before


@pytest.mark.parametrize("label", ["x" * 81, "a\u202eb", "a\x07b", 5, None, ["a"]])
def test_a_label_that_cannot_be_shown_is_refused(api: Api, tenant: Tenant, label: object) -> None:
    make_bay(tenant, "web")
    before = everything()
    problem = check_problem(api.post("tenants/demo/bays/web/bundle", {"label": label}), status=422)
    assert list(problem["errors"]) == ["label"]
    assert everything() == before


@pytest.mark.parametrize(
    "reference",
    [
        "nothing",
        "%00",
        "a%00b",
        "..%2f..",
        "%ff%fe",
        "WEB",
        "w%D0%B5b",
        "0" * 32,
        "00000000-0000-0000-0000-000000000000",
        "x" * 5000,
        "%F0%9F%98%80",
        "'%20or%201=1",
    ],
)
@pytest.mark.parametrize("rest", ["", "/hosts", "/operations", "/events", "/certificates", "/ca.pem"])
def test_a_bay_that_is_none_is_not_found_however_it_is_written(api: Api, tenant: Tenant, reference: str, rest: str) -> None:
    make_bay(tenant, "web")
    check_problem(api.get(f"tenants/demo/bays/{reference}{rest}"), status=404)


@pytest.mark.parametrize("slug", ["nothing", "%00", "%ff", "DEMO", "d%D0%B5mo", "x" * 5000, "..", "%F0%9F%98%80"])
def test_a_tenant_that_is_none_is_not_found_however_it_is_written(api: Api, slug: str) -> None:
    check_problem(api.get(f"tenants/{slug}/bays"), status=404)


@pytest.mark.parametrize("part", ["operations/1", "operations/zzz", f"operations/{'0' * 8}-0000-0000-0000-{'0' * 12}"])
def test_an_operation_that_is_none_is_not_found(api: Api, tenant: Tenant, part: str) -> None:
    make_bay(tenant, "web")
    check_problem(api.get(f"tenants/demo/bays/web/{part}"), status=404)


@pytest.mark.parametrize(
    "address", ["/api", "/api/", "/api/v2/bays", "/api/v1/nothing", "/api/v1/tenants/demo/nothing", "/api/v1/tenants/demo/bays/web/x/y"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_an_address_that_leads_nowhere_says_so_as_problem_json(api: Api, address: str, method: str) -> None:
    check_problem(api(method, address), status=404)
    check_problem(Api()(method, address), status=404)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "tenants/demo/bays/web"), ("DELETE", "tenants/demo/bays"), ("POST", "clouds"), ("TRACE", "clouds")]
)
def test_a_method_an_address_does_not_know_is_refused_with_those_it_knows(api: Api, tenant: Tenant, method: str, path: str) -> None:
    make_bay(tenant, "web")
    before = everything()
    answer = api(method, path)
    check_problem(answer, status=405, code="method_not_allowed")
    assert "GET" in answer.headers["Allow"]
    assert everything() == before


def test_a_client_that_excludes_json_is_told(api: Api) -> None:
    check_problem(api.get("clouds", Accept="text/csv"), status=406, code="not_acceptable")


@pytest.mark.parametrize("limit", ["0", "-1", "201", "1000000", "ten", "1.5", "", "٣", "%00"])
def test_a_limit_that_is_none_is_refused(api: Api, limit: str) -> None:
    check_problem(api.get(f"tenants/demo/bays?limit={limit}"), status=400, code="limit_range")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "",
        "%00",
        "%ff",
        "bm9uc2Vuc2U",
        "W10",
        "WyIyMDI2IiwiMSJd",
        "eyJhIjoxfQ",
        "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwIl0",
        "A" * 5000,
        "W" * 4001,
    ],
)
def test_a_cursor_that_is_none_is_refused(api: Api, cursor: str) -> None:
    check_problem(api.get(f"tenants/demo/bays?cursor={cursor}"), status=400, code="cursor_invalid")


def test_a_cursor_of_another_list_is_refused_not_misread(api: Api, tenant: Tenant) -> None:
    make_bay(tenant, "web")
    make_bay(tenant, "shop")
    cursor = api.get("tenants/demo/bays?limit=1").json()["next"].partition("cursor=")[2].partition("&")[0]
    check_problem(api.get(f"tenants/demo/bays/web/events?cursor={cursor}"), status=400, code="cursor_invalid")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": "bay:read"}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": [1]}, "scopes"),
        ({"scopes": ["bay:fly"]}, "scopes"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "9999-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2030-99-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": 1893456000}, "expires_at"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"name": 5}, "name"),
        ({"scope": ["bay:read"]}, "scope"),
    ],
)
def test_a_token_with_a_value_that_is_not_allowed_is_refused(api: Api, body: dict[str, Any], field: str) -> None:
    before = everything()
    problem = check_problem(api.post("tenants/demo/tokens", body), status=422)
    assert list(problem["errors"]) == [field]
    assert everything() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"slug": "Blue"}, 422),
        ({"slug": 5}, 422),
        ({"slug": "demo"}, 409),
        ({"slug": "blue", "name": "x" * 81}, 422),
        ({"slug": "admin"}, 422),
    ],
)
def test_a_tenant_with_a_value_that_is_not_allowed_is_refused(api: Api, body: dict[str, Any], status: int) -> None:
    before = everything()
    check_problem(api.post("tenants", body), status=status)
    assert everything() == before


def test_the_sentence_of_a_refusal_is_valid_json_whatever_was_sent(api: Api) -> None:
    answer = api.post("tenants/demo/bays", GOOD | {"flavor": '"\\<script>\u2028é'})
    assert json.loads(answer.content)["code"] == "flavor_unknown"


def test_nothing_above_is_refused_for_another_reason(api: Api) -> None:
    assert api.post("tenants/demo/bays", GOOD, Idempotency_Key="k1").status_code == 201
    assert Bay.objects.count() == 1
