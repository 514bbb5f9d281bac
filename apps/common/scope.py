"""For whom the database is asked: one tenant, one user, or the portal itself under a name. The innermost ring around a tenant.

PostgreSQL shows only rows that this scope may see (row-level security, `apps.common.rls`); without a scope it shows none. The scope is
known per thread of execution and written into every transaction by our database backend (`apps.common.postgres`), so no caller can
forget it. Requests, Celery tasks and management commands each begin with a scope of their own; see docs/adr/0013-row-level-security.md.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import ParamSpec, TypeVar
from uuid import UUID

P = ParamSpec("P")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What may be seen: the rows of `tenant`, those of `user` across tenants (own memberships, own tenants), or, for `system`, all.

    `system` is the name of who asks: a task, a command, the sign-in. It is there to be read in code and in the server's log.
    """

    tenant: UUID | None = None
    user: UUID | None = None
    system: str = ""


NOBODY = Scope()
_scope: ContextVar[Scope] = ContextVar("carina_scope", default=NOBODY)


def current() -> Scope:
    """Return the scope in force; `NOBODY` where none was entered."""
    return _scope.get()


@contextmanager
def in_tenant(tenant_id: UUID) -> Iterator[None]:
    """See one tenant's rows, and the same user's own ones as before."""
    with _entered(replace(current(), tenant=tenant_id, system="")):
        yield


@contextmanager
def as_user(user_id: UUID) -> Iterator[None]:
    """See what is one user's own: memberships, the tenants they lead to, idempotency keys."""
    with _entered(Scope(user=user_id)):
        yield


@contextmanager
def as_system(name: str) -> Iterator[None]:
    """See everything, as the portal itself. Keep what is inside as small as the question; `name` says which question."""
    if not name:
        raise ValueError("A look across all tenants needs a name.")
    with _entered(Scope(system=name)):
        yield


@contextmanager
def as_nobody() -> Iterator[None]:
    """See nothing: what a request begins with."""
    with _entered(NOBODY):
        yield


def enter_tenant(tenant_id: UUID) -> None:
    """Like `in_tenant`, until the surrounding scope ends: for the edge, where a request finds out which tenant it is about."""
    _scope.set(replace(current(), tenant=tenant_id, system=""))


def enter_user(user_id: UUID) -> None:
    """Like `as_user`, until the surrounding scope ends: for the edge, where a request finds out who asks."""
    _scope.set(Scope(user=user_id))


def begin_system(name: str) -> None:
    """Like `as_system`, where no `with` fits, as in signals: until `end`, or for as long as the process lives."""
    _scope.set(Scope(system=name))


def end() -> None:
    """See nothing from here on: what a thread begins with."""
    _scope.set(NOBODY)


def carried(function: Callable[P, Result]) -> Callable[P, Result]:
    """Return the function with the scope in force now, for a thread, which begins with none."""
    return partial(copy_context().run, function)


def streamed(items: Iterable[Result]) -> Iterator[Result]:
    """Yield the items, each made in the scope in force now: a streamed answer is written after its request's scope has ended."""
    scope = current()

    def stream() -> Iterator[Result]:
        iterator = iter(items)
        while True:
            with _entered(scope):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    return stream()


@contextmanager
def _entered(scope: Scope) -> Iterator[None]:
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)
