"""Writing the audit log: an explicit call in the transaction of the change, an actor always."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.audit import origin
from apps.audit.models import AuditEvent
from apps.common.clock import now
from apps.common.scope import as_system


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who acts: a user (`id` of the row) or the system by a name of its own, such as `system:expiry`."""

    id: str
    label: str

    @classmethod
    def system(cls, name: str) -> "Actor":
        """Return the portal itself, acting as `name`."""
        return cls(id=f"system:{name}", label=f"Carina ({name})")


def record(
    *, by: Actor, action: str, sentence: str, tenant_id: UUID | None, target_id: str, target_label: str, data: dict[str, Any] | None = None
) -> AuditEvent:
    """Append one event; call it inside the transaction of the change. `sentence` is for people, `action` (`bay.created`) for machines."""
    event = event_of(
        by=by, action=action, sentence=sentence, tenant_id=tenant_id, target_id=target_id, target_label=target_label, data=data
    )
    record_all(events=[event])
    return event


def event_of(
    *, by: Actor, action: str, sentence: str, tenant_id: UUID | None, target_id: str, target_label: str, data: dict[str, Any] | None = None
) -> AuditEvent:
    """Return an event as `record` appends it, for `record_all`."""
    return AuditEvent(
        at=now(),
        tenant_id=tenant_id,
        actor_id=by.id,
        actor_label=by.label,
        address=origin.address(),
        action=action,
        target_id=target_id,
        target_label=target_label,
        sentence=sentence,
        data=data or {},
    )


def record_all(*, events: Sequence[AuditEvent]) -> None:
    """Append many events at once; call it inside the transaction of the changes."""
    with as_system("audit log"):  # what is written down may concern the portal as a whole, or a tenant just made
        AuditEvent.objects.bulk_create(events)
