from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import flush
from django.db import connections

TRIGGER = "audit_is_never_emptied"


class Command(flush.Command):
    help = "Empty the database of tests. Any other keeps its audit log: this is refused there."

    def handle(self, *args: Any, **options: Any) -> None:
        database = options["database"]
        if not _is_of_tests(database):
            raise CommandError("This database keeps an audit log, which nothing may empty; drop the whole database if it is to go.")
        with _emptied(database):
            super().handle(*args, **options)


def _is_of_tests(database: str) -> bool:
    return str(connections[database].settings_dict["NAME"]).startswith("test_")


@contextmanager
def _emptied(database: str) -> Iterator[None]:
    _switch(database, "DISABLE")
    try:
        yield
    finally:
        _switch(database, "ENABLE")


def _switch(database: str, word: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute(f"ALTER TABLE audit_auditevent {word} TRIGGER {TRIGGER}")
