"""Keeping what belongs to bays at rest as it shall be, although nobody asked for a change."""

from uuid import UUID

import structlog
from django.db import transaction

from apps.bays.models import ALIVE, Bay, Condition
from apps.bays.world import world_of
from apps.hosts.contracts import ProviderError
from apps.operations.selectors import unfinished_of

log = structlog.get_logger(__name__)


def keep_network(*, bay_id: UUID) -> None:
    """Make one bay's network and its walls exist as they shall, if nobody changes the bay: a machine that was rebooted has lost its rules.

    The bay's row stays locked meanwhile, so that a delete is accepted before (and nothing is made) or after (and all is removed).
    """
    with transaction.atomic():
        rows = Bay.objects.select_for_update(of=("self",), skip_locked=True).select_related("tenant", "cloud", "authority")
        bay = rows.filter(ALIVE, id=bay_id, condition=Condition.ACTIVE, delete_requested_at=None).first()
        if bay is None or unfinished_of(subject_id=bay_id).exists():
            return
        world = world_of(bay=bay)
        try:
            world.provider.ensure_network(world.network())
        except ProviderError as error:
            log.warning("network_not_kept", bay=str(bay_id), code=error.code, error=str(error))
