"""A database from before there was billing keeps its prices, and hosts that run already are metered from the moment it is migrated."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from carina_portal.embedded.layout import ROOT

NAME = "test_before_billing"
THEN = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def address() -> Iterator[str]:
    """A database of its own, empty, for its owner."""
    owner = os.environ["DATABASE_OWNER_URL"]
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(NAME)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))
    yield urlsplit(owner)._replace(path=f"/{NAME}").geturl()
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(NAME)))


def migrate(address: str, *target: str) -> None:
    env = {**os.environ, "DATABASE_URL": address}
    if target:  # what is granted speaks of tables that are not there yet
        env["CARINA_DATABASE_ROLE"] = ""
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--noinput", *target], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def insert(connection: "psycopg.Connection[Any]", table: str, **values: Any) -> uuid.UUID | int:
    """Add a row, with what every table has filled in, and return its id."""
    known = {
        row[0]: row[1]
        for row in connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s AND is_nullable = 'NO'", [table]
        )
    }
    plain: dict[str, Any] = {
        "boolean": False, "integer": 1, "bigint": 1, "jsonb": Jsonb({}), "ARRAY": [], "uuid": uuid.uuid4(),
        "timestamp with time zone": THEN,
    }  # fmt: skip
    row = {column: plain.get(kind, "") for column, kind in known.items() if column != "id" or kind == "uuid"} | values
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(sql.Placeholder() * len(row))
    )
    found = connection.execute(statement, list(row.values())).fetchone()
    assert found is not None
    made: uuid.UUID | int = found[0]
    return made


def test_prices_move_into_the_price_book_and_hosts_that_run_are_metered_and_there_is_a_way_back(address: str) -> None:
    migrate(address, "bays", "0005_rotated_authorities")
    with psycopg.connect(address) as connection:
        connection.execute("SELECT set_config('carina.system', 'tests', false)")
        flavor = insert(connection, "hosts_flavor", name="c1.small", host_kind="container", price_per_hour=Decimal("0.01250"))
        tenant = insert(connection, "tenants_tenant", slug="old", name="Old")
        cloud = insert(connection, "hosts_cloud", name="local", provider="incus")
        bay = insert(connection, "bays_bay", tenant_id=tenant, cloud_id=cloud, name="web", condition="active", health="healthy")
        group = insert(connection, "bays_nodegroup", tenant_id=tenant, bay_id=bay, flavor_id=flavor, role="manager", count=2)
        of_bay = {"tenant_id": tenant, "bay_id": bay, "cloud_id": cloud, "group_id": group}
        ready = insert(connection, "bays_host", **of_bay, index=1, state="ready")
        insert(connection, "bays_host", **of_bay, index=2, state="planned")
    migrate(address)
    with psycopg.connect(address) as connection:
        connection.execute("SELECT set_config('carina.system', 'tests', false)")
        prices = connection.execute("SELECT flavor_id, cloud_id, currency, per_hour, starts_at < %s FROM billing_price", [THEN]).fetchall()
        assert prices == [(flavor, None, "USD", Decimal("0.0125"), True)]
        columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'hosts_flavor' AND column_name = 'price_per_hour'"
        assert connection.execute(columns).fetchone() == (0,)
        metered = connection.execute(
            "SELECT m.host, m.flavor_id, i.ended_at, i.started_at > now() - interval '1 hour'"
            " FROM billing_interval i JOIN billing_meteredhost m ON m.id = i.host_id"
        ).fetchall()
        assert metered == [(ready, flavor, None, True)]
        connection.execute("UPDATE bays_host SET state = 'lost' WHERE id = %s", [ready])
        assert connection.execute("SELECT count(*) FROM billing_interval WHERE ended_at IS NULL").fetchone() == (0,)
        assert connection.execute("SELECT tags FROM bays_bay").fetchall() == [({},)]
    migrate(address, "hosts", "0002_openstack")
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT price_per_hour FROM hosts_flavor").fetchall() == [(Decimal(0),)]
