"""The one clock. Domain functions that decide by time take `now` as an argument; its default comes from here."""

from datetime import datetime

from django.utils import timezone


def now() -> datetime:
    """Return the present moment, with a time zone (UTC)."""
    return timezone.now()  # noqa: TID251 - the one place
