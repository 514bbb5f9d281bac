"""What of payments waits for a person: events of Stripe that could not be acted upon, and those that leave a decision to somebody."""

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from apps.audit.services import Actor, record
from apps.billing.models import StripeEvent
from apps.billing.operators import require_operator
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput, NotFound
from apps.tenants.models import Tenant

MOST_SHOWN = 100
LONGEST_NOTE = 500


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An event, what it is about by Stripe's own names ("charge ch_…"), and whose it is, where it says so."""

    event: StripeEvent
    subject: str
    tenant: Tenant | None


def waiting_events() -> QuerySet[StripeEvent]:
    """Return the events with a problem that nobody has dealt with, the oldest first."""
    return StripeEvent.objects.exclude(problem="").filter(settled_at=None).order_by("received_at", "id")


def waiting_rows() -> list[Waiting]:
    """Return the oldest `MOST_SHOWN` of them as pages show them."""
    events = list(waiting_events()[:MOST_SHOWN])
    subjects = [_subject(event) for event in events]
    owners = [_owner(subject) for subject in subjects]
    tenants = Tenant.objects.in_bulk([owner for owner in owners if owner])
    return [
        Waiting(event=event, subject=f"{subject.get('object', '')} {subject.get('id', '')}".strip(), tenant=tenants.get(owner))
        for event, subject, owner in zip(events, subjects, owners, strict=True)
    ]


@transaction.atomic
def settle(*, by: Actor, event_id: str, note: str) -> StripeEvent:
    """Note that somebody dealt with an event, and how; return its row. Nothing more is done about it by itself, should it come again.

    For operators: anybody else gets Forbidden. Raises NotFound for an event that is not known, InvalidInput for a note that says nothing,
    Conflict for an event that waits for nobody.
    """
    require_operator(by=by)
    row = StripeEvent.objects.select_for_update().filter(id=event_id).first()
    if row is None:
        raise NotFound("There is no such event.")
    if not row.problem or row.settled_at is not None:
        raise Conflict(f"The event {row.id} waits for nobody.", code="event_settled")
    note = note.strip()
    if not 0 < len(note) <= LONGEST_NOTE:
        raise InvalidInput.field("note", f"Say what was done about it, in 1 to {LONGEST_NOTE} characters.")
    row.settled_at, row.settled_by, row.settled_note = now(), by.label, note
    row.save(update_fields=["settled_at", "settled_by", "settled_note"])
    record(
        by=by, action="payment.event_settled", tenant_id=None, target_id=row.id, target_label=row.kind,
        sentence=f"dealt with Stripe’s event {row.id}: {note}", data={"problem": row.problem},
    )  # fmt: skip
    return row


def _subject(event: StripeEvent) -> dict[str, object]:
    data = event.payload.get("data") if isinstance(event.payload, dict) else None
    subject = data.get("object") if isinstance(data, dict) else None
    return subject if isinstance(subject, dict) else {}


def _owner(subject: dict[str, object]) -> UUID | None:
    marks = subject.get("metadata")
    try:
        return UUID(str(marks["tenant"])) if isinstance(marks, dict) else None
    except (KeyError, ValueError):
        return None
