"""Every address × everybody who may knock × own and foreign ids: nobody gets in where they do not belong."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.db import transaction

from tests.integration.walls import matrix
from tests.integration.walls.matrix import line_of
from tests.integration.walls.people import SCOPES, Person, World
from tests.integration.walls.routes import Route, admin_routes, first_forms, routes

pytestmark = pytest.mark.django_db
REFUSED = {302, 401, 403, 404, 405}
EVERY_FORM = routes()
ROUTES = first_forms(EVERY_FORM)
TENANTS = [route for route in ROUTES if route.arguments[:1] == ["tenant"]]
NESTED = [route for route in TENANTS if len(route.arguments) > 1]


def knock(world: World, person: Person, method: str, address: str, *, api: bool, body: str = "{}") -> int:
    """Return the status, having taken back whatever happened, and having looked that nothing foreign was shown."""
    cache.clear()  # or the thousandth knock would be one too many for a limit
    with transaction.atomic():
        answer = person.ask(method, address, api=api, body=body)
        content = (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode(errors="replace")
        transaction.set_rollback(True)
    told = address.split("?", maxsplit=1)[0] + body
    if person.name != "staff":
        shown = [secret for secret in world.secrets if secret in content and secret not in told]
        assert not shown, f"{person.name} sees {shown} at {method} {address}"
    assert answer.status_code < 500, f"{person.name}: {method} {address} -> {answer.status_code}: {content[:600]}"
    status: int = answer.status_code
    return status


def answers(
    world: World, route: Route, method: str, values: dict[str, str], *, query: str = "", body: str = "{}", scopes: bool = False
) -> dict[str, int]:
    """Return what each person is answered; with `scopes` also tokens with a single one, which may never do more than their owner."""
    people = [person for person in world.people if person.name not in SCOPES or (route.in_api and scopes)]
    address = f"{route.filled(values)}{query}"
    return {person.name: knock(world, person, method, address, api=route.in_api, body=body) for person in people}


def cases(chosen: list[Route]) -> list[tuple[Route, str]]:
    return [(route, method) for route in chosen for method in route.methods]


def named(case: object) -> str:
    return case.path if isinstance(case, Route) else str(case)


@pytest.fixture(scope="module")
def reviewed(request: pytest.FixtureRequest, world: World) -> Iterator[dict[tuple[str, str], str]]:
    if request.config.getoption("--write-walls"):
        lines = [
            line_of(method=method, route=route.name, answers=answers(world, route, method, world.own, scopes=True))
            for route, method in cases(ROUTES)
        ]
        matrix.write(list(dict.fromkeys(lines)))
    yield matrix.read()


@pytest.mark.parametrize(("route", "method"), cases(ROUTES), ids=named)
def test_each_address_answers_as_the_reviewed_file_says(
    world: World, reviewed: dict[tuple[str, str], str], route: Route, method: str
) -> None:
    found = " ".join(line_of(method=method, route=route.name, answers=answers(world, route, method, world.own, scopes=True)).split())
    assert reviewed.get((method, route.name)) == found, f"not reviewed: tests/integration/walls/{matrix.FILE.name} needs the line\n{found}"


def test_the_reviewed_file_has_no_line_for_an_address_that_is_gone(reviewed: dict[tuple[str, str], str]) -> None:
    assert set(reviewed) - {(method, route.name) for route, method in cases(ROUTES)} == set()


def test_an_address_with_and_without_a_slash_at_its_end_is_the_same_view() -> None:
    found: dict[str, dict[str, object]] = {}
    for route in EVERY_FORM:
        view = getattr(route.view, "view_class", getattr(route.view, "cls", route.view))
        found.setdefault(route.name, {}).setdefault(route.path, view)  # of two for one path the first one answers
    assert {name: views for name, views in found.items() if len(set(views.values())) > 1} == {}


@pytest.mark.parametrize(("route", "method"), cases(TENANTS), ids=named)
def test_another_tenant_is_not_there_for_anybody(world: World, route: Route, method: str) -> None:
    """With all ids of the other tenant, and with its name before one's own ids."""
    for values in (world.foreign, {**world.own, "tenant": world.foreign["tenant"]}):
        for name, status in answers(world, route, method, values).items():
            signed_in = name not in {"anonymous", "disabled", "removed"} or (name == "removed" and not route.in_api)
            assert status in ({404, 405} if signed_in else {302, 401, 405}), f"{name}: {status}"


@pytest.mark.parametrize(("route", "method"), cases(NESTED), ids=named)
def test_a_foreign_id_within_ones_own_tenant_is_like_one_that_does_not_exist(world: World, route: Route, method: str) -> None:
    for argument in route.arguments[1:]:
        nowhere = answers(world, route, method, {**world.own, argument: "no-such-bay" if argument == "bay" else str(uuid4())})
        assert nowhere["owner"] in {302, 404, 405, 422}  # pages may say it on the next page, and what is wrong with the body comes first
        for foreign in {world.foreign[argument], world.foreign["bay_id"] if argument == "bay" else world.foreign[argument]}:
            assert answers(world, route, method, {**world.own, argument: foreign}) == nowhere


@pytest.mark.parametrize(("route", "method"), cases(TENANTS), ids=named)
def test_foreign_ids_in_query_and_body_show_and_change_nothing(world: World, route: Route, method: str) -> None:
    """What is asked for is nobody's but the tenant's in the address; `knock` looks that nothing foreign is shown."""
    ids = {name: world.foreign[name] for name in ("tenant", "tenant_id", "bay", "token", "member", "invitation", "request_id", "operation")}
    query = "?" + "&".join(f"{name}={value}" for name, value in ids.items())
    plain = answers(world, route, method, world.own)
    asked = answers(world, route, method, world.own, query=query, body=json.dumps(ids))
    let_in = {name for name, status in asked.items() if status not in REFUSED}
    assert let_in <= {name for name, status in plain.items() if status not in REFUSED}


@pytest.mark.parametrize("route", admin_routes(), ids=named)
def test_the_admin_pages_are_for_operators_only(world: World, route: Route) -> None:
    values = {"object_id": "1", "app_label": "hosts", "content_type_id": "1", "url": "x", "id": "1"}
    for method in ("GET", "POST"):
        for person in world.people:
            if person.name == "staff" or person.name in SCOPES:
                continue
            address = route.filled({name: values.get(name, "1") for name in route.arguments})
            status = knock(world, person, method, address, api=False)
            assert status in {302, 403, 404, 405}, f"{person.name}: {status}"
