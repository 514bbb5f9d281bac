"""The API against its own OpenAPI schema, by a fuzzer that reads it: as an owner and as a viewer, with another tenant's bays next door."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import yaml
from django.conf import settings as django_settings
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from apps.tenants.roles import Role
from tests.factories import join, make_bay, make_cloud, make_flavor, make_tenant, make_user, token_for

pytestmark = pytest.mark.django_db
EXAMPLES = 12
"""For each operation and role; more on a quiet machine find more: the strategies are the schema's own."""
PLAN = settings(
    max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
FOREIGN = ("foreign-bay", "foreign-owner@example.com")


def published() -> Any:
    """The schema as clients get it."""
    out = io.StringIO()
    call_command("spectacular", stdout=out)
    return schemathesis.openapi.from_dict(yaml.safe_load(out.getvalue()))


SCHEMA = published()
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]


@pytest.fixture(scope="module")
def tokens(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, str]]:
    """Tokens of an owner and a viewer of the tenant demo."""
    del django_db_setup
    middleware = [name for name in django_settings.MIDDLEWARE if "whitenoise" not in name]
    with django_db_blocker.unblock(), transaction.atomic(), override_settings(MIDDLEWARE=middleware):
        SCHEMA.app = WSGIHandler()
        make_cloud()
        make_flavor()
        demo = make_tenant("demo")
        make_bay(demo, "ready")
        make_bay(make_tenant("theirs", owner=make_user(FOREIGN[1])), FOREIGN[0])
        viewer = make_user()
        join(demo, viewer, role=Role.VIEWER)
        for signal in (request_started, request_finished):
            signal.disconnect(close_old_connections)  # as Django's own test client does: the transaction is the tests'
        yield {"owner": token_for(demo), "viewer": token_for(demo, viewer)}
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)
        transaction.set_rollback(True)


@pytest.mark.parametrize("role", ["owner", "viewer"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_whatever_the_schema_allows_is_answered_as_the_schema_says(tokens: dict[str, str], operation: Any, role: str) -> None:
    known = {"tenant": "demo", "bay": "ready"}

    @PLAN
    @given(case=operation.as_strategy(), astray=st.booleans())
    def ask(case: Any, astray: bool) -> None:
        if not astray:
            case.path_parameters = {
                **(case.path_parameters or {}),
                **{name: known[name] for name in known if name in (case.path_parameters or {})},
            }
        cache.clear()
        with transaction.atomic():
            response = case.call(app=SCHEMA.app, headers={"Authorization": f"Bearer {tokens[role]}"})
            transaction.set_rollback(True)
        case.validate_response(response, checks=CHECKS)
        assert not any(word.encode() in response.content for word in FOREIGN)

    ask()
