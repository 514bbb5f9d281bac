"""Where Stripe says what became of payments. Nobody is signed in here: what counts is the signature."""

from typing import TYPE_CHECKING, cast

import structlog
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from apps.billing.payments.providers.base import load_provider
from apps.billing.payments.stripe_events import receive
from apps.common.errors import CarinaError
from apps.common.scope import as_system

if TYPE_CHECKING:
    from apps.billing.payments.providers.stripe import Stripe

log = structlog.get_logger(__name__)
LIMIT = 256 * 1024
"""Bytes of an event; Stripe's are a few KiB."""


@csrf_exempt
@never_cache
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Keep an event and act on it. 200 means that it is kept, whether or not it could be acted upon: that is tried again here."""
    provider = cast("type[Stripe]", load_provider(name="stripe"))
    if not provider.is_offered():
        return _said("Stripe is not set up on this portal.", status=404)
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > LIMIT:
        return _said(f"An event larger than {LIMIT // 1024} KiB is not read.", status=413)
    try:
        event = provider().event(body=request.body, signature=request.headers.get("Stripe-Signature", ""))
    except CarinaError as error:
        log.warning("stripe_event_refused", error=type(error).__name__)
        return _said(error.detail, status=error.status)
    # It is about a tenant that only the event itself names.
    with as_system("stripe webhook"):
        try:
            row = receive(event=event)
        except ValueError as error:
            return _said(f"This is no event of Stripe's: {error}", status=400)
    return _said("Kept and handled." if row.handled_at else "Kept; it will be handled later.", status=200)


def _said(sentence: str, *, status: int) -> HttpResponse:
    return HttpResponse(f"{sentence}\n", status=status, content_type="text/plain; charset=utf-8")
