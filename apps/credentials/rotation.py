"""Which columns hold vault tokens, and moving them to the active key.

Apps above this one add their own columns in `AppConfig.ready`, so that nothing here imports upwards.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import models

from apps.credentials import vault


@dataclass(frozen=True, kw_only=True)
class StoredSecret:
    """One column that holds vault tokens: `model` is "app_label.Model"; `context` gives the string a row's token is bound to."""

    model: str
    field: str
    context: Callable[[Any], str]


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """What one column's rotation did: rows moved to the active key, rows that were there already, and rows that do not open, with why."""

    column: str
    moved: int
    current: int
    failures: tuple[str, ...]


_REGISTRY: dict[tuple[str, str], StoredSecret] = {}
_ROTATIONS: dict[str, Callable[[], Rotated]] = {}


def register_secret(*, model: str, field: str, context: Callable[[Any], str]) -> None:
    """Make `rotate_keys` re-encrypt `field` of `model`. Registering twice is harmless."""
    _REGISTRY[model, field] = StoredSecret(model=model, field=field, context=context)


def register_rotation(*, column: str, rotate: Callable[[], Rotated]) -> None:
    """Make `rotate_keys` call `rotate` for tokens that are not a column of their own, as in another library's JSON. Twice is harmless."""
    _ROTATIONS[column] = rotate


def registered_secrets() -> tuple[StoredSecret, ...]:
    """Every registered column, in the order of registration."""
    return tuple(_REGISTRY.values())


def rotate_all() -> Iterator[Rotated]:
    """Re-encrypt every stored secret with the active key, one column after the other.

    Safe to run twice, at once, and beside writers: a row is replaced only if it still holds the token that was opened. A row that does
    not open is reported and left as it is.
    """
    for secret in registered_secrets():
        yield _rotate_column(secret)
    for rotate in _ROTATIONS.values():
        yield rotate()


def _rotate_column(secret: StoredSecret) -> Rotated:
    model: type[models.Model] = apps.get_model(secret.model)
    moved, current, failures = 0, 0, []
    for row in model._base_manager.exclude(**{secret.field: ""}).iterator(chunk_size=200):  # noqa: SLF001  # every tenant's rows, on purpose
        token = getattr(row, secret.field)
        if not token:
            continue
        try:
            if not vault.needs_rotation(token=token):
                current += 1
                continue
            context = secret.context(row)
            fresh = vault.encrypt(plaintext=vault.decrypt(token=token, context=context), context=context)
        except vault.VaultError as error:
            failures.append(str(error))
            continue
        moved += model._base_manager.filter(pk=row.pk, **{secret.field: token}).update(**{secret.field: fresh})  # noqa: SLF001  # as above
    return Rotated(column=f"{secret.model}.{secret.field}", moved=moved, current=current, failures=tuple(failures))
