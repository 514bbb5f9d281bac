"""Reading the audit log: whose, filtered by what, and how a page of it follows another."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_date, parse_datetime

from apps.audit.models import AuditEvent
from apps.common.api.problems import BadRequest

PARAMETERS = {
    "actor": "Who did it: a part of the address, or an id.",
    "action": "What was done: a word such as bay.created, or its first part for all of a kind (bay).",
    "target": "With what: a part of its name, or an id.",
    "text": "A part of the sentence.",
    "from": "Not before this day (2027-01-31) or moment (2027-01-31T12:00:00Z).",
    "to": "Not after this day, which is included, or moment.",
}
"""What a list of events may be asked for, in addresses and in the API."""
LONGEST = 254


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which events are asked for; what is empty does not matter. `until` is the first moment that is too late."""

    actor: str = ""
    action: str = ""
    target: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None


def events_of_tenant(*, tenant_id: UUID) -> QuerySet[AuditEvent]:
    """Return what was done in a tenant, newest first. The caller has checked that the asker may read it."""
    return AuditEvent.objects.filter(tenant_id=tenant_id).order_by("-at", "-id")


def all_events() -> QuerySet[AuditEvent]:
    """Return what was done anywhere, newest first. The caller has checked that the asker is an operator."""
    return AuditEvent.objects.order_by("-at", "-id")


def parse_wanted(*, parameters: Mapping[str, str]) -> Wanted:
    """Return what the parameters of an address ask for. Raises BadRequest, naming the parameter, for what cannot be meant."""
    texts = {name: _text(name, parameters) for name in ("actor", "action", "target", "text")}
    return Wanted(**texts, since=_moment("from", parameters, end_of_day=False), until=_moment("to", parameters, end_of_day=True))


def matching(*, events: QuerySet[AuditEvent], wanted: Wanted) -> QuerySet[AuditEvent]:
    """Return those of `events` that are asked for."""
    if wanted.actor:
        events = events.filter(Q(actor_label__icontains=wanted.actor) | Q(actor_id=wanted.actor))
    if wanted.action:
        events = events.filter(Q(action=wanted.action) | Q(action__startswith=f"{wanted.action.rstrip('.')}."))
    if wanted.target:
        events = events.filter(Q(target_label__icontains=wanted.target) | Q(target_id=_as_id(wanted.target)))
    if wanted.text:
        events = events.filter(sentence__icontains=wanted.text)
    if wanted.since:
        events = events.filter(at__gte=wanted.since)
    if wanted.until:
        events = events.filter(at__lt=wanted.until)
    return events


def after(*, events: QuerySet[AuditEvent], last: AuditEvent) -> QuerySet[AuditEvent]:
    """Return those of `events` that come behind `last` in the list, so that what is added meanwhile neither repeats nor hides any."""
    return events.filter(Q(at__lt=last.at) | Q(at=last.at, id__lt=last.id))


def actions_in(*, events: QuerySet[AuditEvent]) -> list[str]:
    """Return the words for what was done that occur among `events`, sorted."""
    return list(events.order_by("action").values_list("action", flat=True).distinct())


def _text(name: str, parameters: Mapping[str, str]) -> str:
    text = parameters.get(name, "").strip()
    if len(text) > LONGEST or not text.isprintable():
        raise BadRequest(f"“{name}” may have at most {LONGEST} printable characters.", errors={name: "Too long, or not printable."})
    return text


def _as_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return text


def _moment(name: str, parameters: Mapping[str, str], *, end_of_day: bool) -> datetime | None:
    text = parameters.get(name, "").strip()
    if not text:
        return None
    try:
        if day := parse_date(text):
            return datetime.combine(day, time.min, UTC) + (timedelta(days=1) if end_of_day else timedelta(0))
        # A plus sign that stands unescaped in an address arrives as a space.
        if (moment := parse_datetime(text.replace(" ", "+"))) and moment.tzinfo is not None:
            return moment.astimezone(UTC) + (timedelta(microseconds=1) if end_of_day else timedelta(0))
    except (ValueError, OverflowError):
        pass
    raise BadRequest(
        f"“{name}” must be a day such as 2027-01-31, or a moment with its zone such as 2027-01-31T12:00:00Z.",
        errors={name: "Not a day, nor a moment with a zone."},
    )
