"""Invoices and billing details over REST."""

from decimal import Decimal
from typing import Any

import pytest

from apps.audit.services import Actor
from apps.billing.credit.grants import grant_credit
from apps.billing.invoices.issued import pdf_of
from apps.billing.models import Account, CreditGrant
from apps.tenants.models import Tenant
from apps.tenants.roles import Permission, Role
from tests.factories import Api, api_of, join, make_tenant, make_user
from tests.integration.billing.clock import at
from tests.integration.billing.debts import credit, make_invoice
from tests.integration.billing.months import APRIL, use
from tests.integration.billing.papers import HOUR, billed_tenant, issued

pytestmark = pytest.mark.django_db
ROOT = "tenants/acme"


@pytest.fixture
def tenant() -> Tenant:
    return billed_tenant()


def member(tenant: Tenant, role: Role) -> Api:
    user = make_user()
    join(tenant, user, role=role)
    return api_of(tenant, user)


def test_invoices_are_listed_newest_first_in_pages(tenant: Tenant) -> None:
    first = make_invoice(tenant, "10.00", paid=Decimal("4.00"))
    note = credit(first, "1.00")
    api = api_of(tenant)
    page = api.get(f"{ROOT}/invoices?limit=1").json()
    following = api.get(page["next"]).json()
    rows = {row["number"]: row for row in (*page["results"], *following["results"])}
    assert len(rows) == 2
    assert following["next"] is None
    assert {key: rows[first.number][key] for key in ("kind", "state", "gross", "paid", "owed", "corrects", "currency", "due_on")} == {
        "kind": "invoice", "state": "open", "gross": "10.00", "paid": "4.00", "owed": "5.00", "corrects": None, "currency": "USD",
        "due_on": "2026-03-15",
    }  # fmt: skip
    assert (rows[note.number]["kind"], rows[note.number]["gross"], rows[note.number]["corrects"]) == ("credit_note", "-1.00", first.number)


def test_an_invoice_is_read_whole(tenant: Tenant) -> None:
    grant_credit(by=Actor.system("tests"), tenant=tenant, kind=CreditGrant.Kind.PREPAID, amount=Decimal(2), currency="USD", reason="Bought")
    invoice = issued(tenant)
    found = api_of(tenant).get(f"{ROOT}/invoices/{invoice.number}").json()
    (line,) = found.pop("lines")
    assert (line["kind"], line["seconds"], line["host_hours"], line["per_hour"], line["amount"]) == (
        "usage",
        3600000,
        "1000",
        "0.01",
        "10.00",
    )
    assert found["period"] == {
        "start": "2026-03-01T00:00:00+00:00", "end": "2026-04-01T00:00:00+00:00", "time_zone": "UTC", "first_day": "2026-03-01",
        "last_day": "2026-03-31",
    }  # fmt: skip
    assert found["tax"] == {"name": "VAT", "percent": "19.00", "text": "", "amount": "1.90"}
    assert (found["net"], found["gross"], found["prepaid"], found["due"]) == ("10.00", "11.90", "2.00", "9.90")
    assert (found["state"], found["paid"], found["owed"], found["payments"], found["credit_notes"]) == ("open", "2.00", "9.90", [], [])
    assert (found["seller"]["name"], found["customer"]["code"]) == ("Hafenwolke GmbH", "acme")


def test_the_draft_says_what_the_next_invoice_will(tenant: Tenant) -> None:
    issued(tenant)
    use(tenant, APRIL, None)
    with at(APRIL + 100 * HOUR):
        found = api_of(tenant).get(f"{ROOT}/invoices/draft").json()
    assert (found["kind"], found["period"]["first_day"], found["net"], found["gross"]) == ("draft", "2026-04-01", "1.00", "1.19")
    assert "number" not in found


def test_pdf_and_xml_are_files(tenant: Tenant) -> None:
    invoice = issued(tenant)
    api = api_of(tenant)
    pdf = api.get(f"{ROOT}/invoices/{invoice.number}.pdf", Accept="application/pdf")
    assert (pdf.status_code, pdf["Content-Type"], pdf.content) == (200, "application/pdf", pdf_of(invoice=invoice))
    assert pdf["Content-Disposition"] == f'attachment; filename="{invoice.number}.pdf"'
    xml = api.get(f"{ROOT}/invoices/{invoice.number}.xml")
    assert (xml.status_code, xml["Content-Type"]) == (200, "application/xml")


def test_where_there_can_be_no_xml_the_answer_says_why(tenant: Tenant) -> None:
    Account.objects.update(country="")
    answer = api_of(tenant).get(f"{ROOT}/invoices/{issued(tenant).number}.xml")
    assert (answer.status_code, answer.json()["code"]) == (409, "xml_not_possible")
    assert answer["Content-Type"] == "application/problem+json"


def test_details_are_read_and_changed(tenant: Tenant) -> None:
    api = api_of(tenant)
    before = api.get(f"{ROOT}/billing").json()
    assert (before["legal_name"], before["currency"], before["plan"]) == ("Acme GmbH", "USD", "Pay as you go")
    after = api.patch(f"{ROOT}/billing", {"vat_id": "DE136695976", "email": "bills@example.com"})
    assert (after.status_code, after.json()) == (200, {**before, "vat_id": "DE136695976", "email": "bills@example.com"})


@pytest.mark.parametrize(
    ("body", "field"),
    [({"vat_id": "DE1"}, "vat_id"), ({"country": 7}, "country"), ({"currency": "EUR"}, "currency"), ({"time_zone": None}, "time_zone")],
)
def test_details_that_cannot_be_are_refused_by_field(tenant: Tenant, body: dict[str, Any], field: str) -> None:
    answer = api_of(tenant).patch(f"{ROOT}/billing", body)
    assert answer.status_code == 422
    assert field in answer.json()["errors"]


PATHS = ("invoices", "invoices/draft", "invoices/NUMBER", "invoices/NUMBER.pdf", "invoices/NUMBER.xml", "billing")


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_finds_nothing_and_a_member_without_the_right_or_scope_is_refused(tenant: Tenant, path: str) -> None:
    address = f"{ROOT}/{path.replace('NUMBER', issued(tenant).number)}"
    assert api_of(make_tenant("other")).get(address).status_code == 404
    assert member(tenant, Role.VIEWER).get(address).status_code == 403
    assert api_of(tenant, scopes=[Permission.TENANT_READ]).get(address).status_code == 403
    assert member(tenant, Role.BILLING).get(address).status_code == 200
    assert Api().get(address).status_code == 401


def test_who_may_read_only_changes_nothing(tenant: Tenant) -> None:
    answer = api_of(tenant, scopes=[Permission.BILLING_READ]).patch(f"{ROOT}/billing", {"legal_name": "Mine"})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert Account.objects.get().legal_name == "Acme GmbH"


@pytest.mark.parametrize("number", ["2026-999999", "x" * 300, "%00", "draft.pdf", "..%2F"])
def test_a_number_that_is_none_is_not_found(tenant: Tenant, number: str) -> None:
    answer = api_of(tenant).get(f"{ROOT}/invoices/{number}")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
