"""What every page may need to know of the portal itself."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def portal(request: HttpRequest) -> dict[str, Any]:
    """Return the template variables of the portal: version, currency, whether mails land on a page, and the request's id."""
    return {
        "carina_version": settings.VERSION,
        "currency": settings.CURRENCY,
        "mailbox": settings.MAIL_DIR is not None,
        "request_id": request.META.get("carina.request_id", ""),
    }
