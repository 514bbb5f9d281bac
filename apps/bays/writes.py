"""What every use case that changes a bay does around its own business: lock the row, note that it changed, write down who did it."""

from apps.audit.services import Actor, record
from apps.bays.models import Bay
from apps.bays.selectors import get_bay
from apps.common.clock import now
from apps.common.errors import PreconditionFailed
from apps.tenants.context import Access


def lock_bay(*, access: Access, reference: str, if_match: str | None) -> Bay:
    """Return the tenant's live bay, locked. Raises NotFound, and PreconditionFailed where it is not as `if_match` says it was."""
    found = get_bay(access=access, reference=reference)
    bay = access.tenant.bays.select_for_update(of=("self",)).select_related("tenant", "cloud").get(id=found.id)
    if if_match is not None and if_match.strip() not in {"*", etag_of(bay=bay)}:
        raise PreconditionFailed(f"The bay {bay.name} was changed meanwhile; read it again and repeat what you meant.")
    return bay


def etag_of(*, bay: Bay) -> str:
    """Return the entity tag of the bay's desired state."""
    return f'"{bay.id.hex[:8]}-{bay.generation}"'


def bump(*, bay: Bay, fields: tuple[str, ...] = ()) -> None:
    """Save `fields` of the bay, whose desired state is another one from now on."""
    bay.generation += 1
    bay.updated_at = now()
    bay.save(update_fields=["generation", "updated_at", *fields])


def audit(*, by: Actor, bay: Bay, action: str, sentence: str, data: dict[str, object] | None = None) -> None:
    """Write down who changed the bay, and how."""
    record(by=by, action=action, sentence=sentence, tenant_id=bay.tenant_id, target_id=str(bay.id), target_label=bay.name, data=data)
