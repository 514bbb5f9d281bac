"""Numbers of invoices: one after the other in each series of an issuer, without a gap, whoever asks at the same time or dies meanwhile."""

from datetime import UTC, datetime
from uuid import UUID

from django.db import connection

NEXT = """
INSERT INTO billing_invoiceseries (issuer_id, prefix, last_number) VALUES (%s, %s, %s)
    ON CONFLICT (issuer_id, prefix) DO UPDATE SET last_number = billing_invoiceseries.last_number + EXCLUDED.last_number
    RETURNING last_number
"""


def next_number(*, issuer_id: UUID, at: datetime, kind: str = "") -> str:
    """Take the next number of the issuer's series of the year (in UTC) and return it, such as 2026-000017; `kind` comes before it.

    Call it in the transaction that inserts what carries the number, as late as can be: the series is locked until that ends, and a
    transaction that fails gives its number back.
    """
    return next_numbers(issuer_id=issuer_id, at=at, count=1, kind=kind)[0]


def next_numbers(*, issuer_id: UUID, at: datetime, count: int, kind: str = "") -> list[str]:
    """The same for so many that are inserted together, one at least."""
    if not connection.in_atomic_block:
        raise RuntimeError("A number is taken in the transaction of the invoice, or it would be lost with it.")
    prefix = f"{kind}{at.astimezone(UTC).year}-"
    with connection.cursor() as cursor:
        cursor.execute(NEXT, [issuer_id, prefix, count])
        (last,) = cursor.fetchone()
    return [f"{prefix}{number:06}" for number in range(last - count + 1, last + 1)]
