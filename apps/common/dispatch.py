"""Sending a task so that a broker that is down is noted and never an error: whatever matters stands in the database and is sent again."""

import structlog
from celery import current_app

log = structlog.get_logger(__name__)


def send(*, task: str, countdown: float = 0.0, expires: float = 60.0, **kwargs: str) -> None:
    """Send `task` to a worker, to be begun `countdown` seconds from now and forgotten if nobody began it `expires` seconds later."""
    try:
        current_app.send_task(task, kwargs=kwargs, countdown=countdown or None, expires=countdown + expires)
    except Exception as error:  # noqa: BLE001 - kombu lets errors of every transport through
        log.warning("broker_unreachable", task=task, error=type(error).__name__, **kwargs)
