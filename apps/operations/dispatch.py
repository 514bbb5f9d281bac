"""Waking a worker: a message with an id. It may be lost or doubled; the sweep and the lease see to that."""

import uuid
from functools import partial

import structlog
from celery import current_app
from django.db import transaction

log = structlog.get_logger(__name__)


def on_commit(*, operation_id: uuid.UUID) -> None:
    """Send the operation when the current transaction commits."""
    transaction.on_commit(partial(send, operation_id=operation_id))


def send(*, operation_id: uuid.UUID, after: float = 0.0) -> None:
    """Send the operation to a worker, `after` seconds from now. A broker that is down is noted, never an error: the sweep sends again."""
    try:
        current_app.send_task("operations.run", kwargs={"operation_id": str(operation_id)}, countdown=after or None, expires=after + 60)
    except Exception as error:  # noqa: BLE001 - kombu lets errors of every transport through
        log.warning("broker_unreachable", operation=str(operation_id), error=type(error).__name__)
