"""The audit log as a file, in pieces, however long it is: CSV for spreadsheets, JSON for programs."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from django.db.models import QuerySet

from apps.audit.models import AuditEvent
from apps.audit.selectors import after

COLUMNS = ("at", "actor", "actor_id", "address", "action", "target", "target_id", "sentence", "data")
BATCH = 1000
STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
Scope = Callable[[], AbstractContextManager[None]]
"""What to enter for reading: pieces are made while the answer is sent, when the request's own scope is over."""


def as_csv(*, events: QuerySet[AuditEvent], scope: Scope) -> Iterator[str]:
    """Yield the events as CSV with a header line, in the order of the queryset, which is newest first.

    Cells that a spreadsheet would take for a formula begin with an apostrophe: names and sentences come from people.
    """
    yield _line(COLUMNS)
    for batch in _batches(events, scope):
        yield "".join(_line([_cell(value) for value in entry(event=event).values()]) for event in batch)


def as_json(*, events: QuerySet[AuditEvent], scope: Scope) -> Iterator[str]:
    """Yield the events as one JSON list of objects, in the order of the queryset, which is newest first."""
    before = "[\n"
    for batch in _batches(events, scope):
        yield before + ",\n".join(json.dumps(entry(event=event), ensure_ascii=False) for event in batch)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def entry(*, event: AuditEvent) -> dict[str, Any]:
    """Return the event as it stands in a file, by the names of COLUMNS; moments as ISO 8601 in UTC."""
    return {
        "at": event.at.isoformat(),
        "actor": event.actor_label,
        "actor_id": event.actor_id,
        "address": event.address,
        "action": event.action,
        "target": event.target_label,
        "target_id": event.target_id,
        "sentence": event.sentence,
        "data": event.data,
    }


def _batches(events: QuerySet[AuditEvent], scope: Scope) -> Iterator[list[AuditEvent]]:
    rest = events
    while True:
        with scope():
            batch = list(rest[:BATCH])
        if batch:
            yield batch
        if len(batch) < BATCH:
            return
        rest = after(events=events, last=batch[-1])


def _cell(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value or "")
    return f"'{text}" if text.startswith(STARTS_A_FORMULA) else text


def _line(cells: Any) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
