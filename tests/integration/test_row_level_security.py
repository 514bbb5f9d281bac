"""The innermost ring around a tenant: with the rings above switched off, PostgreSQL alone shows nobody's rows to anybody else."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, models, transaction
from django.db.utils import ProgrammingError

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.services import record
from apps.bays.models import Bay, Host, NodeGroup
from apps.common.clock import now
from apps.common.models import IdempotencyKey
from apps.common.rls import POLICY
from apps.common.scope import as_nobody, as_system, as_user, carried, current, in_tenant, streamed
from apps.credentials.models import Certificate
from apps.dashboard.models import SupportView
from apps.operations.models import Event
from apps.tenants.holds import set_holds
from apps.tenants.models import ApiToken, Invitation, Membership, QuotaRequest, ServiceAccount, Tenant
from apps.tenants.roles import Role
from tests.factories import access_for, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of, token_for
from tests.integration.billing.rows import one_of_each

pytestmark = pytest.mark.django_db

UNSCOPED = {"accounts.User"}
"""Tables with a column that names a tenant's people but no tenant's secrets; every other one with a tenant must have a policy."""


def tenant_models() -> list[type[models.Model]]:
    """Every model whose rows belong to a tenant: found by their columns, so that a new one cannot be forgotten."""
    found = [Tenant, IdempotencyKey]
    for model in apps.get_models():
        names = {field.attname for field in model._meta.concrete_fields}
        if "tenant_id" in names and model._meta.label not in UNSCOPED:
            found.append(model)
    return list(dict.fromkeys(found))


@pytest.fixture
def mine() -> Tenant:
    return furnished("mine")


@pytest.fixture
def theirs(mine: Tenant) -> Tenant:
    return furnished("theirs")


def furnished(slug: str) -> Tenant:
    """A tenant with at least one row in every tenant model that services make in passing, and one by hand in the others."""
    if not Tenant.objects.exists():
        make_cloud()
        make_flavor()
    tenant = make_tenant(slug)
    owner = owner_of(tenant)
    bay = make_bay(tenant)
    token_for(tenant)
    record(by=owner.actor, action="x.y", sentence="did", tenant_id=tenant.id, target_id="1", target_label="x")
    moment = now()
    Invitation.objects.create(
        tenant=tenant, email="a@example.com", role=Role.VIEWER, digest=uuid4().hex, created_at=moment, sent_at=moment, expires_at=moment
    )
    robot = make_user(f"{uuid4()}@service.invalid")
    ServiceAccount.objects.create(tenant=tenant, user=robot, name="robot", created_at=moment)
    QuotaRequest.objects.create(tenant=tenant, wanted={"max_bays": 11}, created_at=moment)
    IdempotencyKey.objects.create(user=owner, key="k", path="/p", fingerprint="f", created_at=moment)
    assert bay.authority is not None
    Certificate.objects.create(
        tenant=tenant,
        authority=bay.authority,
        serial="1",
        purpose="client",
        subject="x",
        issued_at=moment,
        expires_at=moment + timedelta(days=1),
    )
    Event.objects.create(tenant=tenant, subject_id=bay.id, at=moment, level="info", code="x", message="happened")
    SupportView.objects.create(
        tenant=tenant, operator=make_user(), reason="asked", started_at=moment, expires_at=moment + timedelta(hours=1)
    )
    set_holds(tenant_id=tenant.id, family="dunning", sentences={"dunning": "Something is overdue."})
    one_of_each(bay=bay)
    # A model without a row here would pass every look without being looked at.
    empty = [model._meta.label for model in tenant_models() if not rows_of(model, tenant).exists()]
    assert empty == [], f"make a row of {empty} here"
    return tenant


def rows_of(model: type[models.Model], tenant: Tenant) -> "models.QuerySet[models.Model]":
    rows = model._default_manager.all()
    if model is Tenant:
        return rows.filter(pk=tenant.pk)
    if model is IdempotencyKey:
        return rows.filter(user=owner_of(tenant))
    return rows.filter(tenant_id=tenant.pk)


def test_every_table_with_a_tenant_has_a_forced_policy() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid "
            "WHERE relrowsecurity AND relforcerowsecurity AND polname = %s",
            [POLICY],
        )
        protected = {row[0] for row in cursor.fetchall()}
    assert {model._meta.db_table for model in tenant_models()} - protected == set()


@pytest.mark.parametrize("model", tenant_models(), ids=lambda model: model._meta.label)
def test_within_a_tenant_nothing_of_another_is_there(model: type[models.Model], mine: Tenant, theirs: Tenant) -> None:
    """Every manager and every filter above is left out: all rows are asked for."""
    foreign = {row.pk for row in rows_of(model, theirs)}
    own = {row.pk for row in rows_of(model, mine)}
    with as_user(owner_of(mine).id), in_tenant(mine.id):
        seen = {row.pk for row in model._default_manager.all()}
        assert own <= seen
        assert not foreign & seen
        assert not model._default_manager.filter(pk__in=foreign).exists()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {model._meta.db_table}")  # noqa: S608 - a name from the code
            assert len(cursor.fetchall()) == len(seen)


@pytest.mark.parametrize("model", tenant_models(), ids=lambda model: model._meta.label)
def test_who_asks_for_nobody_sees_nothing(model: type[models.Model], mine: Tenant) -> None:
    assert model._default_manager.exists()
    with as_nobody():
        assert not model._default_manager.exists()


@pytest.mark.parametrize("model", tenant_models(), ids=lambda model: model._meta.label)
def test_a_strangers_rows_cannot_be_changed_or_deleted(model: type[models.Model], mine: Tenant, theirs: Tenant) -> None:
    foreign = [row.pk for row in rows_of(model, theirs)]
    column = next(field for field in model._meta.concrete_fields if not field.primary_key)
    with as_user(owner_of(mine).id), in_tenant(mine.id):
        rows = model._default_manager.filter(pk__in=foreign)
        assert rows.update(**{column.attname: models.F(column.attname)}) == 0
        assert rows._raw_delete(rows.db) == 0
    assert {row.pk for row in rows_of(model, theirs)} == set(foreign)


def test_a_row_cannot_be_put_into_another_tenant(mine: Tenant, theirs: Tenant) -> None:
    with as_user(owner_of(mine).id), in_tenant(mine.id):
        with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            Membership.objects.create(tenant=theirs, user=owner_of(mine), role=Role.OWNER, created_at=now())
        bay = Bay.objects.get(tenant=mine)
        with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            Bay.objects.filter(id=bay.id).update(tenant_id=theirs.id)


def test_a_user_sees_their_own_memberships_and_tenants_and_nothing_in_them(mine: Tenant, theirs: Tenant) -> None:
    ada = owner_of(mine)
    join(theirs, ada, role=Role.VIEWER)
    with as_user(ada.id):
        assert set(Tenant.objects.values_list("slug", flat=True)) == {"mine", "theirs"}
        assert {membership.user_id for membership in Membership.objects.all()} == {ada.id}
        for model in (Bay, Host, NodeGroup, ApiToken, AuditEvent):
            assert not model._default_manager.exists()


def test_a_user_cannot_make_themselves_owner_of_a_tenant_by_naming_themselves(mine: Tenant, theirs: Tenant) -> None:
    """Their own membership is theirs to see, not to make."""
    ada = owner_of(mine)
    with as_user(ada.id), pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
        Membership.objects.create(tenant=theirs, user=ada, role=Role.OWNER, created_at=now())


@pytest.fixture
def scopes(mine: Tenant, theirs: Tenant) -> Iterator[Callable[[], set[str]]]:
    yield lambda: set(Bay.objects.values_list("tenant__slug", flat=True))


def test_scopes_nest_and_end(mine: Tenant, theirs: Tenant, scopes: Callable[[], set[str]]) -> None:
    with as_nobody():
        assert scopes() == set()
        with in_tenant(mine.id):
            assert scopes() == {"mine"}
            with as_system("test"):
                assert scopes() == {"mine", "theirs"}
            assert scopes() == {"mine"}
        assert scopes() == set()


def test_a_savepoint_that_is_rolled_back_takes_no_scope_with_it(mine: Tenant, theirs: Tenant, scopes: Callable[[], set[str]]) -> None:
    with in_tenant(mine.id):
        with pytest.raises(DatabaseError), transaction.atomic(), in_tenant(theirs.id):
            assert scopes() == {"theirs"}
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1/0")
        assert scopes() == {"mine"}


@pytest.mark.django_db(transaction=True)
def test_a_statement_outside_a_transaction_has_its_scope_and_leaves_none_behind(mine: Tenant, theirs: Tenant) -> None:
    assert not connection.in_atomic_block
    with in_tenant(mine.id):
        assert {bay.tenant_id for bay in Bay.objects.all()} == {mine.id}
        assert {bay.tenant_id for bay in Bay.objects.all().iterator(chunk_size=1)} == {mine.id}
        with connection.connection.cursor() as cursor:  # past Django, as whoever gets the connection next
            assert cursor.execute("SELECT current_setting('carina.tenant', true)").fetchone()[0] in {None, ""}
            assert cursor.execute("SELECT count(*) FROM bays_bay").fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
def test_a_thread_begins_with_no_scope_unless_it_is_carried_over(mine: Tenant) -> None:
    found: dict[str, tuple[UUID | None, int]] = {}

    def look(name: str) -> None:
        found[name] = (current().tenant, Bay.objects.count())
        connection.close()

    with in_tenant(mine.id):
        threads = [threading.Thread(target=look, args=["alone"]), threading.Thread(target=carried(look), args=["carried"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {"alone": (None, 0), "carried": (mine.id, 1)}


def test_a_streamed_answer_is_made_in_the_scope_of_its_request(mine: Tenant) -> None:
    with in_tenant(mine.id):
        rows = streamed(bay.name for bay in Bay.objects.all())
    with as_nobody():
        assert list(rows) == ["web"]


def test_what_a_page_shows_is_what_the_database_shows_for_it(mine: Tenant, theirs: Tenant) -> None:
    """The access of a member is found as the user, before any tenant is entered."""
    ada: User = owner_of(mine)
    with as_user(ada.id):
        assert access_for(mine, ada).tenant == mine
