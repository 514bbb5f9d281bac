from typing import Any
from uuid import UUID

from celery import shared_task

from apps.bays.leftovers import release, sweep_cloud
from apps.bays.observe import due_bays, observe_bay
from apps.bays.services import delete_expired_bays
from apps.bays.upkeep import keep_network
from apps.hosts.models import Cloud


@shared_task(name="bays.observe_all")
def observe_all(**_: Any) -> None:
    """Send one question to every bay at rest, so that a silent one holds up no other."""
    for bay_id in due_bays():
        observe_one.apply_async(kwargs={"bay_id": str(bay_id)}, expires=10)


@shared_task(name="bays.observe_one")
def observe_one(*, bay_id: str, **_: Any) -> None:
    """Ask one bay how it is."""
    observe_bay(bay_id=UUID(bay_id))


@shared_task(name="bays.keep_networks")
def keep_networks(**_: Any) -> None:
    """Have the network of every bay at rest looked after, each by a task of its own."""
    for bay_id in due_bays():
        keep_one_network.apply_async(kwargs={"bay_id": str(bay_id)}, expires=30)


@shared_task(name="bays.keep_one_network")
def keep_one_network(*, bay_id: str, **_: Any) -> None:
    """Look after one bay's network."""
    keep_network(bay_id=UUID(bay_id))


@shared_task(name="bays.expire")
def expire(**_: Any) -> None:
    """Delete bays whose time to live is over."""
    delete_expired_bays()


@shared_task(name="bays.release")
def release_bay(*, bay_id: str, **_: Any) -> None:
    """Delete what a bay that shall have nothing has in its cloud; what the cloud is still deleting, the next sweep looks after."""
    release(bay_id=UUID(bay_id))


@shared_task(name="bays.sweep_clouds")
def sweep_clouds(**_: Any) -> None:
    """Have every cloud that is switched on searched for things of bays that are gone, each by a task of its own."""
    for cloud_id in Cloud.objects.filter(enabled=True).values_list("id", flat=True):
        sweep_one_cloud.apply_async(kwargs={"cloud_id": str(cloud_id)}, expires=60)


@shared_task(name="bays.sweep_one_cloud")
def sweep_one_cloud(*, cloud_id: str, **_: Any) -> None:
    """Search one cloud."""
    sweep_cloud(cloud=Cloud.objects.get(id=cloud_id))
