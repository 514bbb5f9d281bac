"""What operators change of flavors: whether one is offered. Sizes stay: bays were made by them. Prices are in the price book."""

from uuid import UUID

from django.db import transaction

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.errors import NotFound
from apps.dashboard.gate import require_operator
from apps.hosts.models import Flavor


@transaction.atomic
def change_flavor(*, by: User, flavor_id: UUID, enabled: bool) -> Flavor:
    """Offer a flavor, or no longer, and return it. The same again changes nothing.

    Raises NotFound for those who are no operators and for unknown flavors.
    """
    require_operator(by=by)
    flavor = Flavor.objects.select_for_update().filter(id=flavor_id).first()
    if flavor is None:
        raise NotFound("There is no such flavor.")
    if flavor.enabled == enabled:
        return flavor
    flavor.enabled = enabled
    flavor.save(update_fields=["enabled"])
    record(
        by=by.actor,
        action="flavor.changed",
        sentence=f"changed the flavor {flavor.name}: {'now' if enabled else 'no longer'} offered",
        tenant_id=None,
        target_id=str(flavor.id),
        target_label=flavor.name,
        data={"before": {"enabled": not enabled}, "after": {"enabled": enabled}},
    )
    return flavor
