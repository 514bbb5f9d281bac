"""Bodies nobody thought of: never a 5xx, and what is refused is problem+json with a sentence."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import Api, api_of, make_bay, make_cloud, make_flavor, make_tenant

pytestmark = pytest.mark.django_db
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
NASTY = st.sampled_from(
    ["\ud800", "a\udfffb", "a\x00b", "\u202e", "\U0001f600" * 50, "x" * 1000, "{}", "%s", "'; --", "../..", "\r\n", "-----BEGIN"]
)
TEXT = NASTY | st.text(max_size=60)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8)
NAMES = [
    "name",
    "coe",
    "coe_version",
    "flavor",
    "node_count",
    "manager_count",
    "cloud",
    "ttl",
    "label",
    "csr",
    "scopes",
    "expires_at",
    "slug",
]
LIKELY = st.sampled_from(["web", "swarm", "c1.small", "local", "", 1, 3, 5, 600, "bay:read", "2030-01-01T00:00:00Z"])
BODIES = st.dictionaries(st.sampled_from(NAMES) | TEXT, LIKELY | JSON, max_size=8) | JSON


@pytest.fixture
def api() -> Api:
    make_cloud()
    make_flavor()
    tenant = make_tenant("demo", max_bays=1000, max_hosts=10_000)
    make_bay(tenant, "ready")
    return api_of(tenant)


def check(answer: Any) -> None:
    assert answer.status_code < 500, answer.content
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"].endswith(".")


@FUZZ
@given(body=BODIES)
def test_no_body_of_a_post_breaks_the_portal(api: Api, body: Any) -> None:
    for path in ("tenants/demo/bays", "tenants/demo/bays/estimate", "tenants/demo/tokens", "tenants", "tenants/demo/bays/ready/bundle"):
        check(api("POST", path, body))
    check(api("POST", "tenants/demo/bays/ready/certificates", body))


@FUZZ
@given(body=BODIES)
def test_no_body_of_a_patch_breaks_the_portal(api: Api, body: Any) -> None:
    check(api("PATCH", "tenants/demo/bays/nothing", body))
    check(api("PATCH", "tenants/demo/bays/ready", body | {"name": "ready"} if isinstance(body, dict) else body))


@FUZZ
@given(raw=st.binary(max_size=200))
def test_no_bytes_break_the_portal(api: Api, raw: bytes) -> None:
    check(api.client.generic("POST", "/api/v1/tenants/demo/bays", data=raw, content_type="application/json", headers=api.headers))


@FUZZ
@given(
    name=st.sampled_from(["Idempotency-Key", "If-Match", "Accept", "Content-Type", "Authorization", "X-Auth-Token", "X-Request-ID"]),
    value=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80),
)
def test_no_header_breaks_the_portal(api: Api, name: str, value: str) -> None:
    headers = {**api.headers, name: value}
    content = value if name == "Content-Type" else "application/json"
    check(api.client.generic("PATCH", "/api/v1/tenants/demo/bays/ready", data=b'{"name": "ready"}', content_type=content, headers=headers))
    check(api.client.generic("POST", "/api/v1/tenants/demo/bays/estimate", data=b"{}", content_type=content, headers=headers))


@FUZZ
@given(query=st.dictionaries(st.sampled_from(["limit", "cursor", "name", "status", "format"]), st.text(max_size=60), max_size=3))
def test_no_query_breaks_the_portal(api: Api, query: dict[str, str]) -> None:
    check(api.client.get("/api/v1/tenants/demo/bays", query_params=query, headers=api.headers))
