"""What operators change of flavors: the price, and whether one is offered. Sizes stay: bays were made by them."""

from decimal import Decimal
from uuid import UUID

from django.db import transaction

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.errors import InvalidInput, NotFound
from apps.dashboard.gate import require_operator
from apps.hosts.models import Flavor

HIGHEST_PRICE = Decimal(10000)
STEP = Decimal("0.00001")


@transaction.atomic
def change_flavor(*, by: User, flavor_id: UUID, price_per_hour: Decimal, enabled: bool) -> Flavor:
    """Set price (in the portal's currency, per host and hour) and offer of a flavor, and return it. The same again changes nothing.

    Raises NotFound for those who are no operators and for unknown flavors, InvalidInput for a price that is none.
    """
    require_operator(by=by)
    flavor = Flavor.objects.select_for_update().filter(id=flavor_id).first()
    if flavor is None:
        raise NotFound("There is no such flavor.")
    if not (price_per_hour.is_finite() and 0 <= price_per_hour <= HIGHEST_PRICE) or price_per_hour != price_per_hour.quantize(STEP):
        raise InvalidInput.field("price_per_hour", f"The price must lie between 0 and {HIGHEST_PRICE}, with at most five decimals.")
    before = {"price_per_hour": str(flavor.price_per_hour), "enabled": flavor.enabled}
    changes = []
    if flavor.price_per_hour != price_per_hour:
        changes.append(f"price per hour from {flavor.price_per_hour.normalize():f} to {price_per_hour.normalize():f}")
    if flavor.enabled != enabled:
        changes.append("now offered" if enabled else "no longer offered")
    if not changes:
        return flavor
    flavor.price_per_hour, flavor.enabled = price_per_hour, enabled
    flavor.save(update_fields=["price_per_hour", "enabled"])
    record(
        by=by.actor,
        action="flavor.changed",
        sentence=f"changed the flavor {flavor.name}: {', '.join(changes)}",
        tenant_id=None,
        target_id=str(flavor.id),
        target_label=flavor.name,
        data={"before": before, "after": {"price_per_hour": str(price_per_hour), "enabled": enabled}},
    )
    return flavor
