"""What is in clouds for bays that are gone: a request that a dead worker or a slow network delivered late, deleted as soon as it shows.

A bay that was deleted, or that could not be made for lack of room, has a row here that says so. Things of a bay without any row are named
to the operator and never touched: the row may be missing because a backup was restored.
"""

from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.bays.models import Bay, Condition, Host
from apps.bays.world import owner_of
from apps.common.dispatch import send
from apps.hosts.clouds import provider_of
from apps.hosts.contracts import NoCapacity, Owner, ProviderError, QuotaExceeded
from apps.hosts.models import Cloud
from apps.hosts.providers.base import Provider
from apps.operations.models import Operation
from apps.operations.states import UNFINISHED

log = structlog.get_logger(__name__)
FOR_LACK_OF_ROOM = (NoCapacity.code, QuotaExceeded.code)


def release_soon(*, bay_id: UUID) -> None:
    """Have the bay's things in the cloud deleted after the current transaction, if it turns out that it shall have none."""
    transaction.on_commit(partial(send, task="bays.release", bay_id=str(bay_id)))


def sweep_cloud(*, cloud: Cloud) -> int:
    """Delete what is left in the cloud of bays that shall have nothing there, and note whose bays nobody knows; return how many had any."""
    try:
        owners = provider_of(cloud=cloud).owners()
    except ProviderError as error:
        log.warning("cloud_not_swept", cloud=cloud.name, code=error.code, error=str(error))
        return 0
    by_bay = {UUID(hex=owner.bay): owner for owner in owners}
    known = set(Bay.objects.filter(id__in=by_bay).values_list("id", flat=True))
    strays = [f"{owner.bay} of tenant {owner.tenant}" for bay_id, owner in by_bay.items() if bay_id not in known]
    Cloud.objects.filter(id=cloud.id).update(strays=sorted(strays))
    idle = list(_shall_have_nothing().filter(id__in=by_bay).values_list("id", flat=True))
    for bay_id in idle:
        release(bay_id=bay_id)
    return len(idle)


def release(*, bay_id: UUID) -> bool:
    """Delete what the bay has in its cloud, if it shall have nothing; return whether nothing is left.

    The bay's row stays locked meanwhile, so that somebody who tries again waits until this is through.
    """
    with transaction.atomic():
        bay = _shall_have_nothing().select_for_update(of=("self",), skip_locked=True).select_related("cloud").filter(id=bay_id).first()
        if bay is None:
            return False
        try:
            gone = _remove_all(provider_of(cloud=bay.cloud), owner_of(bay=bay), list(bay.hosts.values_list("ref", flat=True).distinct()))
        except ProviderError as error:
            log.warning("leftovers_not_removed", bay=str(bay_id), code=error.code, error=str(error))
            return False
        if gone and bay.condition == Condition.ERROR:
            bay.hosts.exclude(state=Host.State.REMOVED).update(state=Host.State.PLANNED, detail="", node_id="")
        return gone


def _remove_all(provider: Provider, owner: Owner, refs: list[str]) -> bool:
    refs = sorted({*refs, *(state.ref for state in provider.list_hosts(owner))})
    gone = [provider.remove_host(owner, ref) for ref in refs]
    if not all(gone):
        return False
    provider.remove_network(owner)
    return not provider.leftovers(owner)


def _shall_have_nothing() -> QuerySet[Bay]:
    unfinished = Operation.objects.filter(subject_id=OuterRef("id"), state__in=UNFINISHED)
    never_made = Q(condition=Condition.ERROR, observed_generation=0, reason_code__in=FOR_LACK_OF_ROOM)
    return Bay.objects.filter(Q(condition=Condition.DELETED) | never_made).exclude(Exists(unfinished))
