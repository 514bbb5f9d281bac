from typing import Any
from uuid import UUID

from celery import shared_task

from apps.operations import engine


@shared_task(name="operations.run")
def run(*, operation_id: str, **_: Any) -> None:
    """Carry out one operation as far as the world lets us."""
    engine.run_operation(operation_id=UUID(operation_id))


@shared_task(name="operations.sweep")
def sweep(**_: Any) -> None:
    """Send again what is due."""
    engine.sweep()
