"""The audit log: nothing changes or removes a row, every row has an actor, and who may read it finds and exports what they look for."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from apps.accounts.models import User
from apps.audit import export
from apps.audit.models import AuditEvent
from apps.audit.selectors import after, events_of_tenant
from apps.audit.services import Actor, record
from apps.common.clock import now
from apps.common.scope import as_nobody, in_tenant
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import api_of, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of

pytestmark = pytest.mark.django_db
PAGE = "/t/crew/audit/"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("crew")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def member(tenant: Tenant, role: Role) -> Client:
    user = make_user()
    join(tenant, user, role=role)
    return signed_in(user)


def note(tenant: Tenant | None, sentence: str = "asked for the bay web", *, action: str = "bay.created", **more: Any) -> AuditEvent:
    actor = more.pop("by", Actor(id="7", label="ann@example.com"))
    return record(
        by=actor, action=action, sentence=sentence, tenant_id=tenant.id if tenant else None,
        target_id=more.pop("target_id", "42"), target_label=more.pop("target_label", "web"), **more,
    )  # fmt: skip


def body(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()


# --- nothing changes or removes a row -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditevent SET sentence = 'did nothing'",
        "UPDATE audit_auditevent SET actor_label = 'somebody else' WHERE id IS NOT NULL",
        "DELETE FROM audit_auditevent",
        "TRUNCATE audit_auditevent",
        "TRUNCATE audit_auditevent CASCADE",
    ],
)
def test_postgresql_refuses_to_change_or_remove_a_row_whoever_asks(tenant: Tenant, statement: str) -> None:
    event = note(tenant)
    with pytest.raises(DatabaseError, match="is refused"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEvent.objects.get(id=event.id).sentence == "asked for the bay web"


def test_nor_through_the_models(tenant: Tenant) -> None:
    event = note(tenant)
    for change in (event.delete, AuditEvent.objects.all().delete, lambda: AuditEvent.objects.update(sentence="")):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    event.sentence = "did nothing"
    with pytest.raises(DatabaseError), transaction.atomic():
        event.save()


def test_all_of_its_rules_are_switched_on(tenant: Tenant) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'audit_auditevent'::regclass AND NOT tgisinternal")
        rules = dict(cursor.fetchall())
    assert {"audit_is_append_only", "audit_is_never_emptied"} <= set(rules)
    assert set(rules.values()) == {"O"}


def test_a_portals_database_is_not_emptied_by_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "NAME", "carina")
    with pytest.raises(CommandError, match="audit log"):
        call_command("flush", interactive=False)


@pytest.mark.parametrize("by", [Actor(id="", label="nobody"), Actor(id="7", label="")])
def test_a_row_without_an_actor_is_refused(tenant: Tenant, by: Actor) -> None:
    with pytest.raises(DatabaseError, match="every_action_has_an_actor"), transaction.atomic():
        note(tenant, by=by)


def test_the_portal_itself_is_an_actor_with_a_name(tenant: Tenant) -> None:
    assert note(tenant, by=Actor.system("expiry")).actor_label == "Carina (expiry)"


def test_row_level_security_alone_shows_a_tenant_its_own_rows_and_nobody_any(tenant: Tenant) -> None:
    mine, other, portal = note(tenant), note(make_tenant("other")), note(None)
    with in_tenant(tenant.id):
        seen = set(AuditEvent.objects.values_list("id", flat=True))
        forged = AuditEvent(at=now(), tenant_id=other.tenant_id, actor_id="7", actor_label="a", action="x", sentence="did it")
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            forged.save(force_insert=True)
    assert mine.id in seen
    assert not {other.id, portal.id} & seen
    with as_nobody():
        assert not AuditEvent.objects.exists()


# --- what a row knows ------------------------------------------------------------------------------------------------------------


def test_a_row_knows_the_address_of_the_request_and_has_none_outside_of_one(tenant: Tenant) -> None:
    make_cloud()
    make_flavor()
    make_bay(tenant, "web")
    assert AuditEvent.objects.get(action="bay.created").address is None
    client = signed_in(owner_of(tenant))
    client.post("/t/crew/bays/web/rename", {"name": "shop"}, REMOTE_ADDR="2001:db8::7")
    assert AuditEvent.objects.get(action="bay.renamed").address == "2001:db8::7"
    client.post("/t/crew/bays/shop/rename", {"name": "web"}, REMOTE_ADDR="")
    assert AuditEvent.objects.filter(action="bay.renamed").latest("at").address is None
    assert note(tenant).address is None


# --- who reads it ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [PAGE, f"{PAGE}audit.csv", f"{PAGE}audit.json"])
def test_owner_and_admin_read_it_and_nobody_else(tenant: Tenant, address: str) -> None:
    note(tenant)
    assert signed_in(owner_of(tenant)).get(address).status_code == 200
    assert member(tenant, Role.ADMIN).get(address).status_code == 200
    for role in (Role.OPERATOR, Role.BILLING, Role.VIEWER):
        assert member(tenant, role).get(address).status_code == 403, role
    assert signed_in(owner_of(make_tenant())).get(address).status_code == 404
    assertRedirects(Client().get(address), f"/account/login/?next={address}", fetch_redirect_response=False)


def test_the_page_says_who_did_what_with_what_from_where_and_when(tenant: Tenant) -> None:
    note(tenant)
    page = signed_in(owner_of(tenant)).get(PAGE)
    for words in ("Asked for the bay web", "ann@example.com", "bay.created", "just now"):
        assertContains(page, words)
    assert page["Cache-Control"] == "no-store"


def test_rows_of_other_tenants_are_on_no_page_and_in_no_file(tenant: Tenant) -> None:
    note(make_tenant("other"), "stole the silver")
    note(None, "disabled an account")
    owner = signed_in(owner_of(tenant))
    assertNotContains(owner.get(PAGE), "silver")
    for kind in ("csv", "json"):
        text = body(owner.get(f"{PAGE}audit.{kind}"))
        assert "silver" not in text
        assert "disabled an account" not in text
    foreign = AuditEvent.objects.get(sentence="stole the silver")
    assertNotContains(owner.get(PAGE, {"before": str(foreign.id)}), "silver")


# --- filters ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def several(tenant: Tenant) -> Tenant:
    note(tenant, "asked for the bay web")
    note(tenant, "created the API token ci", action="token.created", by=Actor(id="8", label="bob@example.com"), target_label="ci")
    note(tenant, "asked to delete the bay web", action="bay.deleted", by=Actor.system("expiry"), target_id="43")
    return tenant


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["bay.deleted", "token.created", "bay.created"]),
        ({"actor": "BOB@"}, ["token.created"]),
        ({"actor": "7"}, ["bay.created"]),
        ({"actor": "system:expiry"}, ["bay.deleted"]),
        ({"action": "bay"}, ["bay.deleted", "bay.created"]),
        ({"action": "bay."}, ["bay.deleted", "bay.created"]),
        ({"action": "bay.created"}, ["bay.created"]),
        ({"action": "bay.creat"}, []),
        ({"target": "we"}, ["bay.deleted", "bay.created"]),
        ({"target": "43"}, ["bay.deleted"]),
        ({"text": "ASKED"}, ["bay.deleted", "bay.created"]),
        ({"text": "%"}, []),
        ({"from": "2000-01-01"}, ["bay.deleted", "token.created", "bay.created"]),
        ({"to": "2000-01-01"}, []),
        ({"text": "asked", "actor": "ann"}, ["bay.created"]),
    ],
)
def test_filters_narrow_the_list_together(several: Tenant, query: dict[str, str], expected: list[str]) -> None:
    known = {"bay.created", "bay.deleted", "token.created"}
    by_rest = api_of(several).client.get("/api/v1/tenants/crew/audit", query, headers=api_of(several).headers).json()["results"]
    wanted = [each for each in expected if each != "token.created"]
    assert [each["action"] for each in by_rest if each["action"] in known and each["target"] != "test"] == expected
    by_file = json.loads(body(signed_in(owner_of(several)).get(f"{PAGE}audit.json", query)))
    assert [each["action"] for each in by_file if each["action"] in wanted] == wanted


def test_the_last_day_is_included_and_moments_are_exact(tenant: Tenant) -> None:
    event = note(tenant)
    owner = signed_in(owner_of(tenant))
    day, moment = f"{event.at:%Y-%m-%d}", event.at.isoformat()
    before = (event.at - timedelta(microseconds=1)).isoformat()
    for query, found in (
        ({"from": day, "to": day}, True),
        ({"from": moment, "to": moment}, True),
        ({"to": before}, False),
        ({"from": f"{event.at + timedelta(days=1):%Y-%m-%d}"}, False),
    ):
        assert ("bay.created" in [each["action"] for each in json.loads(body(owner.get(f"{PAGE}audit.json", query)))]) is found, query


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"to": "2026-02-30"},
        {"from": "2026-01-01T12:00:00"},
        {"to": "9999-12-31"},
        {"actor": "\0"},
        {"text": "x" * 255},
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused_with_a_sentence(tenant: Tenant, query: dict[str, str]) -> None:
    owner = signed_in(owner_of(tenant))
    assertContains(owner.get(PAGE, query), f"“{next(iter(query))}”", status_code=400)
    for kind in ("csv", "json"):
        assert owner.get(f"{PAGE}audit.{kind}", query).status_code == 400
    api = api_of(tenant)
    answer = api.client.get("/api/v1/tenants/crew/audit", query, headers=api.headers)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, list(query))


def test_nonsense_in_before_shows_the_first_page(tenant: Tenant) -> None:
    note(tenant)
    for before in ("x", "\0", "9" * 400, "00000000-0000-0000-0000-000000000000"):
        assertContains(signed_in(owner_of(tenant)).get(PAGE, {"before": before}), "Asked for the bay web")


# --- pages and files -------------------------------------------------------------------------------------------------------------


def test_pages_follow_each_other_without_a_gap_while_rows_are_added(tenant: Tenant) -> None:
    for number in range(120):
        note(tenant, f"did thing {number:03}")
    owner, seen, address = signed_in(owner_of(tenant)), [], PAGE
    for _ in range(4):
        answer = owner.get(address)
        seen += [event.sentence for event in answer.context["page"].events]
        note(tenant, "did something else meanwhile", action="else")
        if not answer.context["page"].following:
            break
        address = f"{PAGE}?{answer.context['page'].following}"
    things = [sentence for sentence in seen if sentence.startswith("did thing")]
    assert things == [f"did thing {number:03}" for number in reversed(range(120))]
    assertContains(answer, "Newest")


def test_an_export_is_the_whole_log_in_batches_and_reads_back_as_it_is(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BATCH", 7)
    for number in range(14):
        note(tenant, f'did, "thing" {number}\nand went', data={"number": number, "name": "Zoë"})
    expected = [export.entry(event=event) for event in events_of_tenant(tenant_id=tenant.id)]
    owner = signed_in(owner_of(tenant))
    answer = owner.get(f"{PAGE}audit.json")
    assert answer["Content-Disposition"] == f'attachment; filename="crew-audit-{now():%Y-%m-%d}.json"'
    assert answer["Cache-Control"] == "no-store"
    assert json.loads(body(answer)) == expected
    rows = list(csv.DictReader(io.StringIO(body(owner.get(f"{PAGE}audit.csv")), newline="")))
    assert [row["sentence"] for row in rows] == [each["sentence"] for each in expected]
    assert [json.loads(row["data"]) for row in rows] == [each["data"] for each in expected]
    assert [row["at"] for row in rows] == [each["at"] for each in expected]


def test_an_export_of_nothing_is_an_empty_list_and_a_header(tenant: Tenant) -> None:
    owner, query = signed_in(owner_of(tenant)), {"text": "never happened"}
    assert json.loads(body(owner.get(f"{PAGE}audit.json", query))) == []
    assert body(owner.get(f"{PAGE}audit.csv", query)).strip() == ",".join(export.COLUMNS)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_a_cell_that_a_spreadsheet_would_calculate_is_text(tenant: Tenant, start: str) -> None:
    dangerous = f"{start}cmd|' /C calc'!A0"
    note(tenant, dangerous, target_label=dangerous)
    (row,) = [
        each
        for each in csv.DictReader(io.StringIO(body(signed_in(owner_of(tenant)).get(f"{PAGE}audit.csv")), newline=""))
        if each["action"] == "bay.created"
    ]
    assert row["sentence"] == f"'{dangerous}"
    assert row["target"] == f"'{dangerous}"


def test_what_people_name_is_shown_as_text(tenant: Tenant) -> None:
    note(tenant, "renamed it to <script>alert(1)</script>")
    page = signed_in(owner_of(tenant)).get(PAGE, {"text": "<script>alert"})
    assertNotContains(page, "<script>alert")


def test_the_next_rows_are_those_behind_the_last_also_at_the_same_moment(tenant: Tenant) -> None:
    moment = now()
    rows = [
        AuditEvent.objects.create(
            at=moment, tenant_id=tenant.id, actor_id="7", actor_label="a", action="x", target_id="", target_label="", sentence=str(number)
        )
        for number in range(5)
    ]
    events = events_of_tenant(tenant_id=tenant.id).filter(action="x")
    first, second = list(events[:2]), list(after(events=events, last=events[1]))
    assert {*first, *second} == set(rows)
    assert len(second) == 3


def test_rest_shows_address_and_ids_and_follows_pages(tenant: Tenant) -> None:
    for number in range(3):
        note(tenant, f"did thing {number}")
    api = api_of(tenant)
    first = api.get("tenants/crew/audit?action=bay&limit=2").json()
    assert {"actor", "actor_id", "address", "action", "target", "target_id", "sentence", "data", "at", "id"} == set(first["results"][0])
    rest = api.get(first["next"]).json()
    assert [each["sentence"] for each in first["results"] + rest["results"]] == ["did thing 2", "did thing 1", "did thing 0"]
