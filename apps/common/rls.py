"""Row-level security of tables that hold tenants' rows: policies as migration operations, and what they say.

PostgreSQL compares each row with the scope of the transaction (`apps.common.scope`): a row is seen and may be written if it is of the
scope's tenant, if it is the scope's user's own where the table allows that, or if the portal itself asks. Policies are forced, so that
they bind the tables' owner too. https://www.postgresql.org/docs/current/ddl-rowsecurity.html
"""

from django.db.migrations.operations import RunSQL

TENANT = "NULLIF(current_setting('carina.tenant', true), '')::uuid"
USER = "NULLIF(current_setting('carina.user', true), '')::uuid"
SYSTEM = "COALESCE(current_setting('carina.system', true), '') <> ''"
POLICY = "only_in_scope"


def protect(*, table: str, tenant: str = "tenant_id", user: str = "", also: str = "") -> RunSQL:
    """Return the operation that forces row-level security upon `table`.

    `tenant` is the column with the tenant's id, `user` one whose user sees and writes the row in any tenant, `also` a further condition
    in SQL under which a row is seen but not written; empty ones do not apply.
    """
    owned = [SYSTEM, *([f"{tenant} = {TENANT}"] if tenant else []), *([f"{user} = {USER}"] if user else [])]
    seen = [*owned, *([also] if also else [])]
    return RunSQL(
        sql=[
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY {POLICY} ON {table} USING ({' OR '.join(seen)}) WITH CHECK ({' OR '.join(owned)})",
        ],
        reverse_sql=[
            f"DROP POLICY {POLICY} ON {table}",
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        ],
    )
