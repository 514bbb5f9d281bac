"""Row-level security of tables that hold tenants' rows: policies as migration operations, and what they say.

PostgreSQL compares each row with the scope of the transaction (`apps.common.scope`): a row is seen and may be written if it is of the
scope's tenant, if it is the scope's user's own where the table allows that, or if the portal itself asks. Policies are forced, so that
they bind the tables' owner too. https://www.postgresql.org/docs/current/ddl-rowsecurity.html
"""

from typing import Any

from django.conf import settings
from django.db import connections
from django.db.migrations.operations import RunSQL
from psycopg import sql

TENANT = "NULLIF(current_setting('carina.tenant', true), '')::uuid"
USER = "NULLIF(current_setting('carina.user', true), '')::uuid"
SYSTEM = "COALESCE(current_setting('carina.system', true), '') <> ''"
POLICY, SEEN = "only_in_scope", "seen_by"
GRANTS = """
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role};
REVOKE UPDATE, DELETE ON audit_auditevent, operations_event FROM {role};
"""
"""What the portal's own role may: rows, but neither tables nor policies; and history may only grow."""


def protect(*, table: str, tenant: str = "tenant_id", user: str = "", also: str = "") -> RunSQL:
    """Return the operation that forces row-level security upon `table`.

    `tenant` is the column with the tenant's id, `user` one whose user sees and writes the row in any tenant, `also` a further condition
    in SQL under which a row is seen but not written; empty ones do not apply.
    """
    owned = [SYSTEM, *([f"{tenant} = {TENANT}"] if tenant else []), *([f"{user} = {USER}"] if user else [])]
    condition = " OR ".join(owned)
    seen = [f"CREATE POLICY {SEEN} ON {table} FOR SELECT USING ({also})"] if also else []
    unseen = [f"DROP POLICY {SEEN} ON {table}"] if also else []
    return RunSQL(
        sql=[
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY {POLICY} ON {table} USING ({condition}) WITH CHECK ({condition})",
            *seen,
        ],
        reverse_sql=[
            *unseen,
            f"DROP POLICY {POLICY} ON {table}",
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        ],
    )


def grant(*, using: str, **_: Any) -> None:
    """Let the portal's role (settings.DATABASE_ROLE) use what the owner has just migrated. A receiver of post_migrate."""
    if settings.DATABASE_ROLE:
        with connections[using].cursor() as cursor:
            cursor.execute(sql.SQL(GRANTS).format(role=sql.Identifier(settings.DATABASE_ROLE)).as_string(cursor.connection))
