"""How many failed authentications a minute one address may have before it is told to wait.

Only failures are counted, and only those who fail are refused: behind one address may be a whole office, and a colleague's broken script
must not lock it out. A secret has far more randomness than anybody can guess at any rate; what is spared is work, and logs.
"""

import time

import structlog
from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from apps.common.errors import CarinaError

log = structlog.get_logger(__name__)
WINDOW = 60


class TooManyFailures(CarinaError):
    """The address has sent too many invalid tokens or secrets in this minute; `retry_after` is in seconds."""

    status = 429
    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, *, retry_after: int) -> None:
        self.retry_after = retry_after
        seconds = "1 second" if retry_after == 1 else f"{retry_after} seconds"
        super().__init__(f"Too many invalid tokens came from your address; wait {seconds}, and check the one you send.")


def count_failure(*, address: str | None) -> None:
    """Count one failed authentication; raises TooManyFailures beyond settings.FAILED_TOKENS_PER_MINUTE in this minute.

    A cache that is down counts nothing: it must not stop the portal.
    """
    moment = time.time()
    key = f"failed-tokens:{address or 'none'}:{int(moment // WINDOW)}"
    try:
        cache.add(key, 0, timeout=WINDOW + 1)
        failures = int(cache.incr(key))
    except ValueError:  # the window ended between the two
        return
    except (RedisError, OSError) as error:
        log.warning("failures_without_cache", error=type(error).__name__)
        return
    if failures > settings.FAILED_TOKENS_PER_MINUTE:
        raise TooManyFailures(retry_after=max(1, int(WINDOW - moment % WINDOW)))
