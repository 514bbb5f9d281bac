from functools import partial
from typing import Any
from uuid import UUID

from celery import shared_task
from django.db import transaction

from apps.common.dispatch import send
from apps.hosts.clouds import sync_cloud
from apps.hosts.models import Cloud


@shared_task(name="hosts.sync_clouds")
def sync_clouds(**_: Any) -> None:
    """Send one look to every cloud that is switched on, so that a slow one holds up no other."""
    for cloud_id in Cloud.objects.filter(enabled=True).values_list("id", flat=True):
        sync_one.delay(cloud_id=str(cloud_id))


def sync_soon(*, cloud_id: UUID) -> None:
    """Have the cloud looked at as soon as the current transaction commits, because what is free there has just changed."""
    transaction.on_commit(partial(send, task="hosts.sync_one", cloud_id=str(cloud_id)))


@shared_task(name="hosts.sync_one")
def sync_one(*, cloud_id: str, **_: Any) -> None:
    """Look at one cloud."""
    cloud = Cloud.objects.filter(id=cloud_id, enabled=True).first()
    if cloud is not None:
        sync_cloud(cloud=cloud)
