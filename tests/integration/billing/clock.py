"""The hands of the database's billing clock (`billing_now`), and of everybody else's."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from unittest.mock import patch

from django.db import connection


def set_clock(at: datetime) -> None:
    """Let the database meter as if it were `at`, until the transaction ends or it is set again."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('carina.now', %s, false)", [at.isoformat()])


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Let it be `moment` for the portal and for the database."""
    set_clock(moment)
    try:
        with patch("django.utils.timezone.now", lambda: moment):
            yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('carina.now', '', false)")
