import time
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from celery import shared_task
from django.core.cache import cache
from django.db import transaction

from apps.common.clock import now
from apps.common.dispatch import send
from apps.hosts.clouds import sync_cloud
from apps.hosts.models import Cloud

LONGEST_LOOK_SECONDS = 180
"""After so long a look counts as lost with its worker, and another one may begin."""
PAUSE_PER_LOOK = 3
"""A slow cloud is left alone for so many times as long as it took to answer: a hundred bays at once are not a hundred looks."""
LONGEST_PAUSE_SECONDS = 20
AGAIN_SECONDS = 2.0
LOOKING, AGAIN, LOOKED = "hosts.looking", "hosts.look_again", "hosts.looked"
"""Names in the cache, each with the id of a cloud behind it. Losing them costs a look too many."""
BUSY, RESTING = "busy", "resting"


@shared_task(name="hosts.sync_clouds")
def sync_clouds(**_: Any) -> None:
    """Send one look to every cloud that is switched on, so that a slow one holds up no other."""
    for cloud_id in Cloud.objects.filter(enabled=True).values_list("id", flat=True):
        send(task="hosts.sync_one", cloud_id=str(cloud_id), expires=30.0)


def sync_soon(*, cloud_id: UUID) -> None:
    """Have the cloud looked at as soon as the current transaction commits, because what is free there has just changed."""
    transaction.on_commit(partial(send, task="hosts.sync_one", cloud_id=str(cloud_id)))


def last_look_at(*, cloud_id: UUID) -> datetime | None:
    """Return when the last look by a worker began that is through by now, whatever came of it; None if it is too long ago."""
    at: datetime | None = cache.get(f"{LOOKED}:{cloud_id}")
    return at


@shared_task(name="hosts.sync_one")
def sync_one(*, cloud_id: str, at_once: str = "", **_: Any) -> None:
    """Look at one cloud, unless somebody does so now or did a moment ago: then once more, a little later.

    With `at_once` only a look that is under way is waited for.
    """
    looking = f"{LOOKING}:{cloud_id}"
    if at_once and cache.get(looking) == RESTING:
        cache.delete(looking)
    if not cache.add(looking, BUSY, timeout=LONGEST_LOOK_SECONDS):
        if cache.add(f"{AGAIN}:{cloud_id}", BUSY, timeout=LONGEST_LOOK_SECONDS):
            send(task="hosts.sync_again", cloud_id=cloud_id, at_once=at_once, countdown=AGAIN_SECONDS)
        return
    begun, begun_at = time.monotonic(), now()
    try:
        cloud = Cloud.objects.filter(id=cloud_id, enabled=True).first()
        if cloud is not None:
            sync_cloud(cloud=cloud)
    finally:
        pause = int(min(LONGEST_PAUSE_SECONDS, PAUSE_PER_LOOK * (time.monotonic() - begun)))
        cache.set(looking, RESTING, timeout=pause)
        cache.set(f"{LOOKED}:{cloud_id}", begun_at, timeout=LONGEST_LOOK_SECONDS)


@shared_task(name="hosts.sync_again")
def sync_again(*, cloud_id: str, at_once: str = "", **_: Any) -> None:
    """Look at a cloud that was asked for while it was being looked at."""
    cache.delete(f"{AGAIN}:{cloud_id}")
    sync_one(cloud_id=cloud_id, at_once=at_once)
