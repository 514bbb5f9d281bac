"""Waking a worker: a message with an id. It may be lost or doubled; the sweep and the lease see to that."""

import uuid
from functools import partial

from django.db import transaction

from apps.common import dispatch

TASK = "operations.run"


def on_commit(*, operation_id: uuid.UUID) -> None:
    """Send the operation when the current transaction commits."""
    transaction.on_commit(partial(send, operation_id=operation_id))


def send(*, operation_id: uuid.UUID, after: float = 0.0) -> None:
    """Send the operation to a worker, `after` seconds from now."""
    dispatch.send(task=TASK, countdown=after, operation_id=str(operation_id))
