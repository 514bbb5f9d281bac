"""When and from where a session was last used, for the list of one's sessions."""

import time
from collections.abc import Callable

from allauth.account.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.http import HttpRequest, HttpResponse

from apps.common.clock import now

EVERY_SECONDS = 300
MOST_KEPT = 20_000
_noted: dict[str, float] = {}


def last_seen(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Return middleware that notes it, every five minutes at most: a page that looks again each second must not write each second."""

    def middleware(request: HttpRequest) -> HttpResponse:
        key = request.session.session_key
        if key and _is_due(key) and request.user.is_authenticated:
            address = get_adapter().get_client_ip(request)
            if not UserSession.objects.filter(session_key=key, user=request.user).update(last_seen_at=now(), ip=address):
                UserSession.objects.create_from_request(request)
        return get_response(request)

    return middleware


def _is_due(key: str) -> bool:
    moment = time.monotonic()
    if moment - _noted.get(key, -EVERY_SECONDS) < EVERY_SECONDS:
        return False
    if len(_noted) >= MOST_KEPT:
        _noted.clear()
    _noted[key] = moment
    return True
