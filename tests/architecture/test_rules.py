"""Rules of the house that no linter knows, each as a test that names the offender."""

import ast
import re
import subprocess
from pathlib import Path

from django.apps import apps
from django.db import models

from carina_portal.embedded.layout import ROOT

EDGES = [*ROOT.glob("apps/*/views.py"), *ROOT.glob("apps/*/pages/*.py"), *ROOT.glob("apps/bays/api/*.py")]
TRACKED = [
    ROOT / name for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
]
TENANT_APPS = ("bays", "operations", "credentials")


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_pages_and_api_reach_rows_of_tenants_only_through_the_tenant() -> None:
    models_of_tenants = {model.__name__ for name in TENANT_APPS for model in apps.get_app_config(name).get_models()}
    pattern = re.compile(rf"\b({'|'.join(models_of_tenants)})\.objects\b")
    offenders = [f"{path.relative_to(ROOT)}: {match}" for path in EDGES for match in pattern.findall(path.read_text())]
    assert EDGES
    assert offenders == []


def test_every_row_of_a_bay_names_its_tenant() -> None:
    exempt = {"NodeGroup"}  # reached through its bay alone
    missing = [
        model.__name__
        for name in TENANT_APPS
        for model in apps.get_app_config(name).get_models()
        if model.__name__ not in exempt and not any(field.name == "tenant" for field in model._meta.get_fields())
    ]
    assert missing == []


def test_use_cases_take_keywords_only() -> None:
    files = [
        *ROOT.glob("apps/*/services.py"),
        *ROOT.glob("apps/*/selectors.py"),
        ROOT / "apps/bays/access.py",
        ROOT / "apps/tenants/tokens.py",
    ]
    offenders = [
        f"{path.relative_to(ROOT)}:{function.name}"
        for path in files
        for function in functions(path)
        if not function.name.startswith("_") and function.args.args and function.args.args[0].arg not in {"self", "cls", "bays"}
    ]
    assert files
    assert offenders == []


def test_no_function_is_longer_than_a_screen() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{function.name} has {length} lines"
        for path in TRACKED
        if path.suffix == ".py" and path.is_relative_to(ROOT / "apps") and "migrations" not in path.parts
        for function in functions(path)
        if (length := (function.end_lineno or function.lineno) - function.lineno + 1) > 60
    ]
    assert offenders == []


def test_pages_have_no_inline_script_or_style_and_load_nothing_from_elsewhere() -> None:
    forbidden = re.compile(
        r"<script(?![^>]*\bsrc=)|\son[a-z]+=\"|\sstyle=\"|(?:src|href)=\"https?://[^\"]+\.(?:js|css|woff2?)", re.IGNORECASE
    )
    templates = [*ROOT.glob("templates/**/*.html"), *ROOT.glob("apps/*/templates/**/*.html")]
    offenders = [f"{path.relative_to(ROOT)}: {match}" for path in templates for match in forbidden.findall(path.read_text())]
    assert templates
    assert offenders == []


def test_the_project_speaks_of_itself_alone() -> None:
    """No workplace, no mirror and no machine's path in anything that is committed."""
    words = re.compile(
        "|".join(
            ["/wo" + "rk/main", "/wo" + "rk/shared", r"\bsession of the model\b", "deb" + r"\.debian\.org", "snapshot" + r"\.debian\.org"]
        )
    )
    texts = [
        path
        for path in TRACKED
        if path.suffix in {".py", ".md", ".toml", ".html", ".txt", ".sh", ""} and path.is_file() and "vendor" not in path.parts
    ]
    offenders = [f"{path.relative_to(ROOT)}: {match}" for path in texts for match in words.findall(path.read_text(errors="ignore"))]
    assert offenders == []


def test_every_model_has_its_rules_in_the_database_where_it_can_be_wrong() -> None:
    """Models with a state carry constraints about it: a state without one is a rule kept by hope."""
    stateful = [
        model
        for config in apps.get_app_configs()
        if config.name.startswith("apps.")
        for model in config.get_models()
        if any(isinstance(field, models.CharField) and field.name in {"state", "condition"} for field in model._meta.fields)
    ]
    assert {model.__name__ for model in stateful} == {"Bay", "Host", "Invoice", "Operation", "QuotaRequest"}
    assert all(model._meta.constraints for model in stateful)
