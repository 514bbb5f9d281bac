"""How many requests a minute one client may send. A cache that is down lets requests through: it must not stop the portal."""

import time

import structlog
from django.core.cache import cache
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

log = structlog.get_logger(__name__)


class _Window(SimpleRateThrottle):
    """Counts requests in fixed windows: one atomic increment a request, instead of a list of moments that is read and written back."""

    num_requests: int | None
    duration: int | None
    left = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Tell whether one more is allowed in this window."""
        ident = self.get_cache_key(request, view)
        if ident is None or not self.num_requests or not self.duration:
            return True
        moment = time.time()
        self.left = self.duration - moment % self.duration
        try:
            return self._count(f"{ident}:{int(moment // self.duration)}") <= self.num_requests
        except (RedisError, OSError) as error:
            log.warning("throttle_without_cache", error=type(error).__name__)
            return True

    def wait(self) -> float:
        """Return the seconds until the next window."""
        return self.left

    def _count(self, key: str) -> int:
        cache.add(key, 0, timeout=int(self.duration or 0) + 1)
        try:
            return int(cache.incr(key))
        except ValueError:  # the window ended between the two
            return 1


class AnonymousRate(_Window):
    """Limits clients that are not signed in, by address."""

    scope = "anon"

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        """Return the counter of the client's address; None for those who are signed in."""
        if request.user.is_authenticated:
            return None
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


class UserRate(_Window):
    """Limits users, over all their tokens and sessions."""

    scope = "user"

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        """Return the counter of the user; None for those who are not signed in."""
        if not request.user.is_authenticated:
            return None
        return self.cache_format % {"scope": self.scope, "ident": request.user.pk}
