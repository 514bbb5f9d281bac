"""The API describes itself: a valid schema without warnings, a page from this server alone, and a meaning for every code."""

import ast
import io
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from apps.bays.api.problem_codes import PROBLEMS
from apps.billing.budgets.watching import BUDGETS, CREDIT
from apps.billing.receivables.overdue import FAMILY as OVERDUE
from apps.common.api.problems import TYPES
from tests.factories import Api

METHODS = {"get", "post", "patch", "delete"}
SOURCES = ("bays", "billing", "tenants", "credentials", "hosts", "common", "audit", "accounts")
HOLDS = {BUDGETS, CREDIT, OVERDUE}
"""Families of holds: what they refuse has their name as its code."""
AT_THE_DESK = {
    "currency_in_use", "event_settled", "not_payable", "nothing_to_credit", "payment_reference_reused", "plan_currency", "plan_exists",
    "plan_is_default", "plan_retired", "plan_too_late", "plan_unchanged",
}  # fmt: skip
"""What only operators are told, on pages of the console."""
NOT_PROBLEMS = {"leftovers", "no_network_left", "no_port_left", "cancelled", "main", "payg", "signature_invalid"} | AT_THE_DESK


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    out = io.StringIO()
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=out)
    loaded: dict[str, Any] = yaml.safe_load(out.getvalue())
    return loaded


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, item[method]) for path, item in schema["paths"].items() for method in METHODS & set(item)]


def test_the_schema_is_openapi_3_1_and_valid_without_a_warning(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1")
    assert len(operations(schema)) >= 30


def test_every_operation_has_a_summary_a_tag_and_an_id_of_its_own(schema: dict[str, Any]) -> None:
    found = operations(schema)
    assert all(operation["summary"] and operation["tags"] for _, _, operation in found)
    assert len({operation["operationId"] for _, _, operation in found}) == len(found)


def test_every_operation_of_a_tenant_names_its_errors_as_problems(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        if "{tenant}" not in path:
            continue
        assert {"401", "403", "404", "429"} <= set(operation["responses"]), (path, method)
        for code, answer in operation["responses"].items():
            assert code.startswith("2") or "application/problem+json" in answer["content"], (path, method, code)


def test_either_header_or_a_session_is_enough(schema: dict[str, Any]) -> None:
    security = schema["paths"]["/api/v1/tenants/{tenant}/bays"]["post"]["security"]
    assert security == [{"bearer": []}, {"x-auth-token": []}, {"session": []}]


def test_addresses_are_described_once_in_the_form_without_a_slash(schema: dict[str, Any]) -> None:
    assert not [path for path in schema["paths"] if path.endswith("/")]


def test_files_are_described_as_files(schema: dict[str, Any]) -> None:
    bay = "/api/v1/tenants/{tenant}/bays/{bay}"
    assert list(schema["paths"][f"{bay}/bundle"]["post"]["responses"]["200"]["content"]) == ["application/zip"]
    assert list(schema["paths"][f"{bay}/ca.pem"]["get"]["responses"]["200"]["content"]) == ["application/x-pem-file"]


@pytest.mark.django_db
def test_the_schema_is_served_to_everybody_as_yaml_and_as_json() -> None:
    answer = Client().get("/api/v1/schema")
    assert answer.status_code == 200
    assert yaml.safe_load(answer.content)["info"]["title"] == "Carina"
    assert Client().get("/api/v1/schema/?format=json").json()["openapi"].startswith("3.1")


@pytest.mark.django_db
def test_the_page_of_the_documentation_comes_from_this_server_alone_without_inline_script() -> None:
    answer = Client().get("/api/v1/docs")
    page = answer.content.decode()
    assert answer.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) >= 4
    assert all(address.startswith("/") and not address.startswith("//") for address in addresses)
    assert not re.findall(r"<script(?![^>]*\bsrc=)", page)
    assert not re.findall(r"<style|\sstyle=|\son\w+=", page)
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    script = Client().get(next(address for address in addresses if "script=" in address).replace("&amp;", "&"))
    assert (script.status_code, script.headers["Content-Type"].partition(";")[0]) == (200, "application/javascript")
    assert "/api/v1/schema" in script.content.decode()


@pytest.mark.django_db
def test_the_index_leads_to_addresses_that_exist_and_needs_no_token() -> None:
    index = Api().get("").json()
    for name, address in index["links"].items():
        if "{" not in address:
            assert Api().get(address).status_code in {200, 401}, name
    assert index["version"] == settings.VERSION


@pytest.mark.django_db
def test_the_type_of_a_problem_leads_to_its_meaning() -> None:
    problem = Api().get("clouds").json()
    meaning = Api().get(problem["type"]).json()
    assert (meaning["code"], meaning["status"]) == ("not_authenticated", 401)
    assert Api().get(f"{TYPES}nonsense").status_code == 404


def codes_in(source: str) -> set[str]:
    """The codes of refusals in a source: `code="…"` in calls, `code = "…"` in classes of errors."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
            found.add(str(node.value.value))
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.Assign) and getattr(item.targets[0], "id", "") == "code" and isinstance(item.value, ast.Constant):
                    found.add(str(item.value.value))
    return {code for code in found if "." not in code}  # those with a dot are events


def test_every_code_a_refusal_can_have_is_explained_and_none_that_does_not_exist() -> None:
    root = Path(settings.BASE_DIR) / "apps"
    sources = [
        path
        for app in SOURCES
        for path in (root / app).rglob("*.py")
        if root / "hosts" / "providers" not in path.parents and path != root / "hosts" / "contracts.py"
    ]
    found = set().union(*(codes_in(path.read_text()) for path in sources)) - NOT_PROBLEMS
    found |= HOLDS
    assert found == set(PROBLEMS)
