"""A database full of hosts and intervals for `bench.billing`, made by the database itself: rows are copies of a few the portal has made.

Triggers of intervals do not run while they are written, and constraints and indexes are added afterwards, which checks every row. Only the
index behind the constraint that intervals never overlap is left out, of which nothing here asks anything: it takes ten minutes to build.
That none overlap is looked up instead.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

NAME = "carina_bench"
END = datetime(2026, 11, 1, tzinfo=UTC)
"""When the last month is over; tenants are of different time zones, so hours around it."""
MOMENT = END + timedelta(days=9, hours=12)
"""When the invoices are written and pages are asked for: hosts run until then."""
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
LARGE_SHARE, LARGE_HOSTS_SHARE = 5, 100
"""The large tenant has a fifth of all intervals and a hundredth of all hosts."""
LARGE_BAYS, BAYS = 50, 3
LARGE_TENANT = "large"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much there is."""

    tenants: int
    hosts: int
    intervals: int
    months: int

    def __str__(self) -> str:
        return f"{self.tenants:,} tenants, {self.hosts:,} hosts, {self.intervals:,} intervals over {self.months} months"

    @property
    def end(self) -> datetime:
        """When the month that is invoiced is over."""
        return END

    @property
    def last_month(self) -> datetime:
        """When it began."""
        return first_of(months=1)

    def with_a_tenth_of_the_intervals(self) -> "Size":
        """Return the same hosts with longer intervals."""
        return replace(self, intervals=self.intervals // 10)


def first_of(*, months: int) -> datetime:
    """Return when the month began that is the so-many-th before END."""
    whole = END.year * 12 + END.month - 1 - months
    return END.replace(year=whole // 12, month=whole % 12 + 1)


def fresh_database(*, server: str) -> None:
    """Make the database anew."""
    without_database(server=server)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))


def without_database(*, server: str) -> None:
    """Drop the database if there is one."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(NAME)))


def fill(*, connection: psycopg.Connection, size: Size) -> None:
    """Fill the tables, of which the portal has made one row each: of the large tenant, its account, a bay with its group."""
    connection.execute("SET carina.system = 'bench'")
    connection.execute("SET synchronous_commit = off")
    connection.execute("SET maintenance_work_mem = '512MB'")
    small = size.tenants - 1
    large_hosts = max(1, size.hosts // LARGE_HOSTS_SHARE)
    large_each = max(1, size.intervals // LARGE_SHARE // large_hosts)
    small_each = max(1, (size.intervals - large_each * large_hosts) // max(1, size.hosts - large_hosts))
    start = first_of(months=size.months)
    connection.execute(TENANTS, {"tenants": small, "zones": list(ZONES)})
    connection.execute(BAYS_OF_TENANTS, {"large": LARGE_BAYS, "small": BAYS})
    connection.execute(HOSTS, {"large": large_hosts, "hosts": size.hosts - large_hosts})
    with_intervals = {"start": start, "moment": MOMENT, "large": large_hosts, "large_each": large_each, "small_each": small_each}
    _without_constraints(connection, with_intervals)
    connection.execute("VACUUM ANALYZE")


# Rows are copies of the one the portal has made, so that nothing here need know all columns.
TENANTS = """
WITH template AS (SELECT t AS tenant, a AS account FROM tenants_tenant t JOIN billing_account a ON a.tenant_id = t.id WHERE slug = 'large'),
made AS (
    INSERT INTO tenants_tenant SELECT made.* FROM template, generate_series(1, %(tenants)s) AS number, LATERAL jsonb_populate_record(
        template.tenant,
        jsonb_build_object('id', md5('tenant' || number)::uuid, 'slug', 'tenant-' || number, 'name', 'Tenant ' || number)) AS made
    RETURNING id
)
INSERT INTO billing_account SELECT copy.* FROM template, (SELECT id, row_number() OVER (ORDER BY id) AS number FROM made) AS made,
    LATERAL (SELECT (%(zones)s::text[])[1 + made.number %% array_length(%(zones)s::text[], 1)] AS zone) AS there,
    LATERAL jsonb_populate_record(template.account, jsonb_build_object('tenant_id', made.id, 'time_zone', there.zone,
        'currency', CASE WHEN made.number %% 10 = 0 THEN 'EUR' ELSE 'USD' END,
        'billed_until', timezone(there.zone, timezone('UTC', (template.account).billed_until)))) AS copy
"""
BAYS_OF_TENANTS = """
WITH template AS (
    SELECT b AS bay, g AS grouped FROM bays_bay b JOIN bays_nodegroup g ON g.bay_id = b.id AND g.role = 'manager'
), flavors AS (SELECT array_agg(id ORDER BY name) AS ids FROM hosts_flavor),
clouds AS (SELECT array_agg(id ORDER BY name) AS ids FROM hosts_cloud),
wanted AS (
    SELECT t.id AS tenant_id, number, md5('bay' || t.slug || number)::uuid AS id, md5('cloud' || t.slug || number) AS dice
    FROM tenants_tenant t, generate_series(1, CASE WHEN t.slug = 'large' THEN %(large)s ELSE %(small)s END) AS number
), made AS (
    INSERT INTO bays_bay SELECT copy.* FROM template, clouds, wanted, LATERAL jsonb_populate_record(template.bay, jsonb_build_object(
        'id', wanted.id, 'tenant_id', wanted.tenant_id, 'name', 'bay-' || wanted.number, 'cidr', NULL, 'authority_id', NULL,
        'cloud_id', clouds.ids[1 + ('x' || left(wanted.dice, 6))::bit(24)::int %% array_length(clouds.ids, 1)])) AS copy
    RETURNING id, tenant_id
)
INSERT INTO bays_nodegroup SELECT copy.* FROM template, flavors, wanted, LATERAL jsonb_populate_record(template.grouped, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('bays_nodegroup', 'id')), 'tenant_id', wanted.tenant_id, 'bay_id', wanted.id,
    'flavor_id', flavors.ids[1 + ('x' || right(wanted.dice, 6))::bit(24)::int %% array_length(flavors.ids, 1)])) AS copy
"""
# The large tenant's hosts come first: 1 to so many.
HOSTS = """
WITH bay AS (
    SELECT b.id, b.tenant_id, b.cloud_id, g.flavor_id, t.slug = 'large' AS large,
        row_number() OVER (PARTITION BY t.slug = 'large' ORDER BY b.name, b.id) - 1 AS place,
        count(*) OVER (PARTITION BY t.slug = 'large') AS places
    FROM bays_bay b JOIN bays_nodegroup g ON g.bay_id = b.id JOIN tenants_tenant t ON t.id = b.tenant_id
    WHERE b.name LIKE 'bay-%%'
)
INSERT INTO billing_meteredhost (tenant_id, host, bay_id, cloud_id, flavor_id)
    SELECT bay.tenant_id, md5('host' || number)::uuid, bay.id, bay.cloud_id, bay.flavor_id
    FROM (
        SELECT number, true AS large, number AS nth FROM generate_series(1, %(large)s) AS number
        UNION ALL SELECT %(large)s + number, false, number FROM generate_series(1, %(hosts)s) AS number
    ) AS host JOIN bay ON bay.large = host.large AND bay.place = host.nth %% bay.places
    ORDER BY number
"""
# Each host ran most of the time, in so many pieces of different length; one in four runs still. Written as they come: by time.
INTERVALS = """
INSERT INTO billing_interval (tenant_id, host_id, started_at, ended_at, ended_by)
SELECT h.tenant_id, h.id, from_time, CASE WHEN piece = pieces AND h.id %% 4 = 0 THEN NULL ELSE until_time END,
    CASE WHEN piece = pieces AND h.id %% 4 = 0 THEN '' ELSE 'lost' END
FROM billing_meteredhost h
    CROSS JOIN LATERAL (SELECT CASE WHEN h.id <= %(large)s THEN %(large_each)s ELSE %(small_each)s END AS pieces) AS a
    CROSS JOIN LATERAL generate_series(1, pieces) AS piece
    CROSS JOIN LATERAL (
        SELECT EXTRACT(EPOCH FROM %(moment)s - %(start)s)::int / pieces AS step, abs(hashint8(h.id * 5000 + piece)) AS dice) AS b
    CROSS JOIN LATERAL (SELECT %(start)s + interval '1 second' * ((piece - 1) * step + dice %% (step / 10 + 1)) AS from_time) AS c
    CROSS JOIN LATERAL (SELECT from_time + interval '1 second' * (step / 2 + dice / 64 %% (step / 3 + 1) + 1) AS until_time) AS d
ORDER BY from_time
"""

CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'billing_interval'::regclass AND contype IN ('c', 'f', 'u') ORDER BY contype
"""
OVERLAPPING = """
SELECT count(*) FROM (
    SELECT started_at < lag(COALESCE(ended_at, 'infinity')) OVER (PARTITION BY host_id ORDER BY started_at) AS clashes
    FROM billing_interval
) AS following WHERE clashes
"""
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = 'billing_interval'::regclass AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


def _without_constraints(connection: psycopg.Connection, parameters: dict[str, object]) -> None:
    """Write the intervals, then put the table's constraints, indexes and triggers back as they were."""
    constraints = connection.execute(CONSTRAINTS).fetchall()
    indexes = connection.execute(INDEXES).fetchall()
    connection.execute("ALTER TABLE billing_interval DISABLE TRIGGER USER")
    connection.execute("ALTER TABLE billing_interval DROP CONSTRAINT intervals_of_a_host_never_overlap")
    for name, _ in constraints:
        connection.execute(sql.SQL("ALTER TABLE billing_interval DROP CONSTRAINT {}").format(sql.Identifier(name)))
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    connection.execute(INTERVALS, parameters)
    for _, definition in indexes:
        connection.execute(definition)
    for name, definition in constraints:
        connection.execute(sql.SQL("ALTER TABLE billing_interval ADD CONSTRAINT {} {}").format(sql.Identifier(name), sql.SQL(definition)))
    connection.execute("ALTER TABLE billing_interval ENABLE TRIGGER USER")
    overlapping = connection.execute(OVERLAPPING).fetchone()
    if overlapping != (0,):
        raise SystemExit(f"{overlapping} intervals overlap.")
