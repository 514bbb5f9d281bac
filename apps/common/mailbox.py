"""Mails as files, for a stack without a mail server: one `.eml` a mail, newest last, shown on a page that exists only there."""

import email
import email.policy
import ipaddress
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage as ParsedMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.http import HttpRequest

from apps.common.clock import now


class FolderBackend(BaseEmailBackend):
    """Django's mail backend that writes each mail into settings.MAIL_DIR, readable by the portal's user only."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Write the mails and return how many."""
        folder = Path(settings.MAIL_DIR)  # type: ignore[arg-type]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for message in email_messages:
            path = folder / f"{now():%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex[:6]}.eml"
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
                out.write(message.message().as_bytes())
        return len(email_messages)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail of the folder, as text."""

    id: str
    sender: str
    recipients: str
    subject: str
    sent_at: datetime
    body: str


def shows_mails_to(*, request: HttpRequest) -> bool:
    """Tell whether the mails of the folder may be shown: they hold links that open accounts.

    Only to somebody on this very machine (a direct connection over loopback, not through a proxy), or to the portal's operators.
    """
    if settings.MAIL_DIR is None:
        return False
    if getattr(getattr(request, "user", None), "is_staff", False):
        return True
    forwarded = any(header in request.headers for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"))
    return not forwarded and ipaddress.ip_address(request.META.get("REMOTE_ADDR") or "0.0.0.0").is_loopback  # noqa: S104 - compared, not bound


def read_mails(*, limit: int = 50) -> list[Mail]:
    """Return the newest mails of the folder, newest first."""
    if settings.MAIL_DIR is None or not settings.MAIL_DIR.is_dir():
        return []
    paths = sorted(settings.MAIL_DIR.glob("*.eml"), reverse=True)[:limit]
    return [_parse(path) for path in paths]


def _parse(path: Path) -> Mail:
    message: ParsedMessage = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    body = message.get_body(preferencelist=("plain", "html"))
    return Mail(
        id=path.stem,
        sender=str(message["From"]),
        recipients=str(message["To"]),
        subject=str(message["Subject"]),
        sent_at=_aware(parsedate_to_datetime(str(message["Date"]))),
        body=body.get_content() if body else "",
    )


def _aware(moment: datetime) -> datetime:
    """Return the moment with a time zone: a Date header that ends in -0000 is UTC, but is parsed without one (RFC 5322, 3.3)."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
