"""What operators announce to everybody who is signed in, and what of it a visitor has put away."""

from datetime import datetime
from uuid import UUID

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import InvalidInput, NotFound
from apps.dashboard.gate import require_operator
from apps.dashboard.models import Announcement
from apps.hosts.models import Cloud

DISMISSED = "dismissed_announcements"
MOST_DISMISSED = 50
TEXT_LENGTH = 500
Level = Announcement.Level


def current_announcements(*, dismissed: list[str]) -> list[Announcement]:
    """Return what is announced now and is not among the ids `dismissed`, the most critical first."""
    order = Case(When(level=Level.CRITICAL, then=Value(0)), When(level=Level.WARNING, then=Value(1)), default=Value(2),
                 output_field=IntegerField())  # fmt: skip
    live = Announcement.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now()), starts_at__lte=now()).select_related("cloud")
    return [each for each in live.order_by(order, "-starts_at", "id") if str(each.id) not in dismissed]


def every_announcement() -> QuerySet[Announcement]:
    """Return all announcements, newest first, those that are over too."""
    return Announcement.objects.select_related("cloud").order_by("-starts_at", "-id")


@transaction.atomic
def announce(
    *, by: User, text: str, level: str, starts_at: datetime | None = None, ends_at: datetime | None = None, cloud: Cloud | None = None
) -> Announcement:
    """Announce `text` to everybody from `starts_at` (now unless given) to `ends_at` (until withdrawn unless given); return it.

    Raises InvalidInput for an empty or long text, an unknown level, and an end that is past or before the start.
    """
    require_operator(by=by)
    text = " ".join(text.split())
    if not 0 < len(text) <= TEXT_LENGTH or not text.isprintable():
        raise InvalidInput.field("text", f"Write what you announce in at most {TEXT_LENGTH} characters.")
    if level not in Level.values:
        raise InvalidInput.field("level", f"The level must be one of: {', '.join(Level.values)}.")
    moment = now()
    starts_at = starts_at or moment
    if ends_at is not None and ends_at <= max(starts_at, moment):
        raise InvalidInput.field("ends_at", "The end must lie ahead, and after the start.")
    row = Announcement.objects.create(
        text=text, level=level, cloud=cloud, starts_at=starts_at, ends_at=ends_at, created_by=by.email, created_at=moment
    )
    _audit(by=by, row=row, action="announcement.made", sentence=f"announced: {text}")
    return row


@transaction.atomic
def withdraw(*, by: User, announcement_id: UUID) -> None:
    """Take an announcement off all pages; one that has not begun or is over already is deleted or left as it is."""
    require_operator(by=by)
    row = Announcement.objects.select_for_update().filter(id=announcement_id).first()
    if row is None:
        raise NotFound("There is no such announcement.")
    moment = now()
    if row.ends_at is not None and row.ends_at <= moment:
        return
    _audit(by=by, row=row, action="announcement.withdrawn", sentence=f"withdrew the announcement: {row.text}")
    if row.starts_at >= moment:
        row.delete()
        return
    row.ends_at = moment
    row.save(update_fields=["ends_at"])


def dismissed_in(*, session: SessionBase) -> list[str]:
    """Return the ids of what was put away in this session."""
    known = session.get(DISMISSED, [])
    return known if isinstance(known, list) else []


def dismiss(*, session: SessionBase, announcement_id: UUID) -> None:
    """Put an announcement away for the rest of the session."""
    kept = [each for each in dismissed_in(session=session) if each != str(announcement_id)]
    session[DISMISSED] = [*kept, str(announcement_id)][-MOST_DISMISSED:]


def _audit(*, by: User, row: Announcement, action: str, sentence: str) -> None:
    record(
        by=by.actor, action=action, sentence=sentence, tenant_id=None, target_id=str(row.id), target_label=row.text[:80],
        data={"level": row.level, "from": row.starts_at.isoformat(), "to": row.ends_at.isoformat() if row.ends_at else None,
              "cloud": row.cloud.name if row.cloud else None},
    )  # fmt: skip
