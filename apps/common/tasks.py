from datetime import timedelta
from typing import Any

from celery import shared_task

from apps.common.clock import now
from apps.common.models import IdempotencyKey

KEPT_FOR = timedelta(days=1)


@shared_task(name="common.forget_idempotency_keys")
def forget_idempotency_keys(**_: Any) -> None:
    """Delete idempotency keys that are older than a day."""
    IdempotencyKey.objects.filter(created_at__lt=now() - KEPT_FOR).delete()
