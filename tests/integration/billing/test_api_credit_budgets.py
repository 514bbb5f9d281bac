"""Credit and budgets over REST: what members with the right see and change, and what everybody else is told."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.audit.services import Actor
from apps.billing.credit.grants import grant_credit, note_uses, planned_uses
from apps.billing.models import Budget, Invoice
from apps.billing.terms.accounts import default_issuer
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import api_of, join, make_bay, make_cloud, make_flavor, make_tenant, make_user
from tests.integration.billing.clock import at

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
TEN = MARCH + timedelta(hours=10)


@pytest.fixture
def tenant() -> Tenant:
    """An organisation with one host at $1 an hour since the first of March."""
    make_cloud()
    make_flavor(price="1")
    with at(MARCH):
        tenant = make_tenant("acme")
        make_bay(tenant)
    return tenant


@pytest.fixture
def api(tenant: Tenant) -> Any:
    return api_of(tenant)


BUDGETS, CREDIT = "tenants/acme/budgets", "tenants/acme/credit"


def test_a_budget_is_set_read_changed_and_deleted(api: Any) -> None:
    with at(TEN):
        made = api.post(BUDGETS, {"name": "team", "amount": "40.00", "rules": [{"percent": 100, "action": "block"}]})
        assert made.status_code == 201
        assert made.headers["Location"] == "/api/v1/tenants/acme/budgets/team"
        body = made.json()
        assert {name: body[name] for name in ("name", "amount", "currency", "month", "spent", "left", "forecast", "state")} == {
            "name": "team", "amount": "40.00", "currency": "USD", "month": "2026-03", "spent": "10.000", "left": "30.000",
            "forecast": "744.000", "state": "tight",
        }  # fmt: skip
        assert body["rules"] == [{"percent": 100, "action": "block", "reached_at": None}]
        assert api.get(f"{BUDGETS}/team").json() == api.get(f"{BUDGETS}/{body['id']}").json() == body
        assert api.get(BUDGETS).json() == {"results": [body], "next": None}
        changed = api.patch(f"{BUDGETS}/team", {"amount": 5})
        assert (changed.status_code, changed.json()["state"], changed.json()["amount"]) == (200, "blocks", "5.00")
        refused = api.post("tenants/acme/bays", {"name": "more", "coe": "swarm", "flavor": "c1.small", "node_count": 1})
        assert (refused.status_code, refused.json()["code"]) == (409, "budget")
        assert api.delete(f"{BUDGETS}/team").status_code == 204
        assert api.get(f"{BUDGETS}/team").status_code == 404


def test_a_budget_set_twice_with_one_key_is_set_once(api: Any) -> None:
    first = api.post(BUDGETS, {"name": "team", "amount": "40"}, Idempotency_Key="one")
    again = api.post(BUDGETS, {"name": "team", "amount": "40"}, Idempotency_Key="one")
    assert (first.status_code, again.status_code, again.json()["id"]) == (201, 201, first.json()["id"])
    assert Budget.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": "40"}, "name"),
        ({"name": 5, "amount": "40"}, "name"),
        ({"name": "Team budget", "amount": "40"}, "name"),
        ({"name": "team"}, "amount"),
        ({"name": "team", "amount": "lots"}, "amount"),
        ({"name": "team", "amount": 0}, "amount"),
        ({"name": "team", "amount": "40", "rules": "mail"}, "rules"),
        ({"name": "team", "amount": "40", "rules": [{"percent": 500, "action": "mail"}]}, "rules"),
        ({"name": "team", "amount": "40", "colour": "red"}, "colour"),
    ],
)
def test_what_is_no_budget_is_refused_at_its_field(api: Any, body: Any, field: str) -> None:
    answer = api.post(BUDGETS, body)
    assert answer.status_code == 422
    assert field in answer.json()["errors"]
    assert not Budget.objects.exists()


@pytest.mark.parametrize("body", [{"amount": None}, {"rules": None}, {"name": None}, {"amount": "-1"}, {"created_by": "me"}])
def test_a_change_to_nothing_is_refused(api: Any, body: Any) -> None:
    api.post(BUDGETS, {"name": "team", "amount": "40"})
    assert api.patch(f"{BUDGETS}/team", body).status_code == 422
    assert Budget.objects.get().amount == 40


def test_a_taken_name_is_a_conflict(api: Any) -> None:
    api.post(BUDGETS, {"name": "team", "amount": "40"})
    answer = api.post(BUDGETS, {"name": "team", "amount": "40"})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_credit_is_told_with_what_used_it(api: Any, tenant: Tenant) -> None:
    april = datetime(2026, 4, 1, tzinfo=UTC)
    with at(MARCH):
        grant_credit(
            by=Actor.system("tests"), tenant=tenant, kind="prepaid", amount=Decimal(50), currency="USD", reason="Card",
            expires_at=datetime(2026, 6, 1, tzinfo=UTC),
        )  # fmt: skip
        invoice = Invoice.objects.create(
            tenant=tenant, issuer=default_issuer(), number="INV-1", period_start=MARCH - timedelta(days=28), period_end=MARCH,
            time_zone="UTC", currency="USD", seller={}, customer={}, net=5, tax=0, gross=5, issued_at=MARCH, due_on=april.date(),
        )  # fmt: skip
        uses = planned_uses(tenant_id=tenant.id, kind="prepaid", currency="USD", amount=Decimal(5), at=MARCH)
        note_uses(invoice=invoice, uses=uses, at=MARCH)
    with at(TEN):
        body = api.get(CREDIT).json()
    assert body["currency"] == "USD"
    assert body["left"] == {"promotional": "0.000", "prepaid": "45.000", "total": "45.000"}
    assert body["left_after_spend"]["prepaid"] == "35.000"
    (grant,) = body["grants"]
    assert (grant["reason"], grant["amount"], grant["used"], grant["left"]) == ("Card", "50.000", "5.000", "45.000")
    assert (grant["pays_until"], grant["expired"]) == ("2026-05-31", False)
    assert [(use["invoice"], use["amount"]) for use in grant["uses"]] == [("INV-1", "5.000")]


REQUESTS = [
    ("GET", CREDIT, None),
    ("GET", BUDGETS, None),
    ("POST", BUDGETS, {"name": "other", "amount": "1"}),
    ("GET", f"{BUDGETS}/team", None),
    ("PATCH", f"{BUDGETS}/team", {"amount": "1"}),
    ("DELETE", f"{BUDGETS}/team", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_a_stranger_finds_nothing(api: Any, method: str, path: str, body: Any) -> None:
    api.post(BUDGETS, {"name": "team", "amount": "40"})
    assert api_of(make_tenant("stranger"))(method, path, body).status_code == 404
    assert Budget.objects.get().amount == 40


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_a_member_without_the_right_is_refused(api: Any, tenant: Tenant, method: str, path: str, body: Any) -> None:
    api.post(BUDGETS, {"name": "team", "amount": "40"})
    member = make_user()
    join(tenant, member, role=Role.OPERATOR)
    assert api_of(tenant, member)(method, path, body).status_code == 403
    assert Budget.objects.get().amount == 40


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_a_token_that_only_reads_changes_nothing(api: Any, tenant: Tenant, method: str, path: str, body: Any) -> None:
    api.post(BUDGETS, {"name": "team", "amount": "40"})
    reader = api_of(tenant, scopes=["billing:read"])
    assert reader(method, path, body).status_code == (200 if method == "GET" else 403)
    assert Budget.objects.get().amount == 40
