"""Mails to several people: each gets one of their own, since addresses of members are not for everybody's eyes."""

from collections.abc import Iterable, Mapping, Sequence

import structlog
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.template.loader import render_to_string

log = structlog.get_logger(__name__)
Attachment = tuple[str, bytes, str]
"""File name, content, media type."""


def send_to_each(
    *,
    recipients: Iterable[str],
    template: str,
    context: Mapping[str, object],
    attachments: Sequence[Attachment] = (),
    connection: BaseEmailBackend | None = None,
) -> int:
    """Send the mail of the templates `<template>_subject.txt` and `<template>_message.txt`, and return to how many.

    One address that is refused does not keep it from the others. Raises the last OSError, which smtplib's errors are, where there was
    somebody to send it to and nobody got it.
    """
    subject = " ".join(render_to_string(f"{template}_subject.txt", dict(context)).split())
    body = render_to_string(f"{template}_message.txt", dict(context))
    sent, failure = 0, None
    for recipient in recipients:
        mail = EmailMessage(subject=subject, body=body, to=[recipient], attachments=list(attachments), connection=connection)
        try:
            sent += mail.send()
        except OSError as error:
            failure = error
            log.warning("mail_not_sent_to_one", template=template, error=type(error).__name__)
    if failure is not None and not sent:
        raise failure
    return sent
