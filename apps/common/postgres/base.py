"""Django's PostgreSQL backend, with the scope of whoever asks (`apps.common.scope`) in every transaction.

The scope travels as settings of the transaction (`SET LOCAL`, by `set_config`), never of the session: a connection that goes back to
Django or to a pool in front of PostgreSQL carries nothing to whoever gets it next. A statement outside a transaction gets one of its own.
"""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.backends.postgresql import base

from apps.common.scope import NOBODY, Scope, current

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]
SET = "SELECT set_config('carina.tenant', %s, true), set_config('carina.user', %s, true), set_config('carina.system', %s, true)"
ROWS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "TRUNCATE", "COPY", "DECLARE")
"""What statements begin with that touch rows: only those need a scope. Others (CREATE DATABASE, VACUUM) may refuse a transaction."""


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that tells PostgreSQL for whom it asks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told: Scope | None = None
        """What this transaction was told; None if nothing, or if it is not known any more."""
        self.execute_wrappers.append(self._scoped)

    def _scoped(self, execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001 - Django's
        if not _touches_rows(sql):
            return execute(sql, params, many, context)
        if self.in_atomic_block or not self.get_autocommit():
            self._tell(current())
            return execute(sql, params, many, context)
        if current() == NOBODY:
            return execute(sql, params, many, context)
        with transaction.atomic(using=self.alias):
            self._tell(current())
            return execute(sql, params, many, context)

    def _tell(self, scope: Scope) -> None:
        if scope == (self._told or NOBODY):
            return
        # psycopg's own cursor: Django's would come here again, and counts what a page asks.
        with self.wrap_database_errors, self.connection.cursor() as cursor:
            cursor.execute(SET, [str(scope.tenant or ""), str(scope.user or ""), scope.system])
        self._told = scope

    def _commit(self) -> None:
        self._told = None
        super()._commit()  # type: ignore[misc]  # the stubs leave out what backends override

    def _rollback(self) -> None:
        self._told = None
        super()._rollback()  # type: ignore[misc]  # the stubs leave out what backends override

    def _savepoint_rollback(self, sid: str) -> None:
        super()._savepoint_rollback(sid)  # type: ignore[misc]  # as above
        self._forget()

    def _close(self) -> None:
        self._told = None
        super()._close()  # type: ignore[misc]  # the stubs leave out what backends override

    def _forget(self) -> None:
        """Know no more what the transaction was told: a savepoint that is rolled back takes settings back too."""
        self._told = Scope(system="(not known)")


def _touches_rows(sql: Any) -> bool:
    return not isinstance(sql, str) or sql.lstrip(" \n(").upper().startswith(ROWS)
