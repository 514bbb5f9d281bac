"""How requests to an OpenStack travel: each with a time-out, never too many at once, and again where that does no harm.

What may be sent twice without doing harm (everything but POST, and a request for a token) is sent up to three times after a broken
connection, a 429 or a 5xx. A POST is repeated only if it was certainly not carried out: the connection was never made, or the
answer was 429. Any other failed POST may have been carried out all the same, so it is left to the caller, which looks before it asks again.
"""

import random
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import requests
import structlog
import urllib3
from requests.adapters import HTTPAdapter

from apps.hosts.contracts import CloudCrowded, CloudRefused
from apps.hosts.providers.openstack.lane import Lane

TRIES = 3
BACK_OFF_SECONDS = 0.4
PATIENCE_SECONDS = 6.0
"""No try begins later than this after the first: the engine comes back by itself, and a worker is dear."""
CONNECT_SECONDS = 5.0
AT_ONCE = 16
"""Requests under way at a time, at most so many that only ask and at most so many that change something (see Lane)."""
IDLE = 4
"""Connections to a service that stay open between requests. Neutron keeps a thread for each, a hundred in all, and then answers nobody."""
TURN_SECONDS = 20.0
"""How long a request waits for its turn: the heartbeat keeps a worker's lease meanwhile, but the engine shall hear of a crowded cloud."""
CHANGES_TAKE = 3
"""How many times as long the answer to a change may take: one that was given up is carried out all the same, beside the next try."""
BROKEN = frozenset({500, 502, 503, 504})
TOO_MANY = 429
MADE_BY_POST = re.compile(r"/(v3/)?auth/tokens/?$|/v2\.0/tokens/?$")
UUIDS = re.compile(r"\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b")

log = structlog.get_logger(__name__)


class Transport(HTTPAdapter):
    """Carries out requests with time-outs, repeats those that may be, and writes a line for each to the debug log.

    `authorities` is PEM text of the certificate authorities to trust instead of the system's; `seconds` how long an answer may take.
    """

    def __init__(self, *, authorities: str, seconds: float) -> None:
        self._context: ssl.SSLContext | None = None
        if authorities:
            try:
                self._context = ssl.create_default_context(cadata=authorities)
            except ssl.SSLError:
                raise CloudRefused("The cloud's setting cacert_pem is not a certificate in PEM format.") from None
        self._seconds = seconds
        self._asking = threading.BoundedSemaphore(AT_ONCE)
        self._changing = Lane(most=AT_ONCE, patience=seconds)
        super().__init__(pool_connections=16, pool_maxsize=IDLE, max_retries=0)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002  # the signature is that of requests
        timeout: Any = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send one request, again where that is harmless; returns the last answer, or raises CloudCrowded or what requests raises."""
        timeout = timeout or (CONNECT_SECONDS, self._seconds * (1 if _only_asks(request) else CHANGES_TAKE))
        sending = partial(super().send, request, stream=stream, timeout=timeout, verify=verify, cert=cert, proxies=proxies)
        last_start = time.monotonic() + PATIENCE_SECONDS
        for attempt in count(1):
            begun = time.monotonic()
            failure: requests.RequestException | None = None
            answer: requests.Response | None = None
            try:
                with self._passage(request):
                    answer = sending()
            except requests.RequestException as error:
                failure = error
            _note(request, outcome=str(answer.status_code) if answer is not None else type(failure).__name__, begun=begun, attempt=attempt)
            pause = max(_asked_pause(answer), BACK_OFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
            again = attempt < TRIES and time.monotonic() + pause < last_start and _may_be_repeated(request, answer=answer, failure=failure)
            if not again:
                break
            if answer is not None:
                answer.close()
            time.sleep(pause)
        if answer is None:
            raise failure or requests.ConnectionError(request=request)
        return answer

    @contextmanager
    def _passage(self, request: requests.PreparedRequest) -> Iterator[None]:
        """Wait for a turn; raises CloudCrowded if none comes."""
        only_asks = _only_asks(request)
        if not (self._asking.acquire(timeout=TURN_SECONDS) if only_asks else self._changing.enter(seconds=TURN_SECONDS)):
            raise CloudCrowded("As many requests as the cloud answers in time are under way already.")
        begun = time.monotonic()
        try:
            yield
        finally:
            if only_asks:
                self._asking.release()
            else:
                self._changing.leave(took=time.monotonic() - begun)

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:  # noqa: FBT001
        """Leave the check to our own context where there is one."""
        if self._context is None or not verify:
            super().cert_verify(conn, url, verify, cert)

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: bool | str,  # noqa: FBT001
        cert: Any = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give the pool our own context where there is one."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if self._context is not None and verify:
            pool = {**pool, "ssl_context": self._context}
            pool.pop("ca_certs", None)
            pool.pop("ca_cert_dir", None)
        return dict(host), dict(pool)


def _only_asks(request: requests.PreparedRequest) -> bool:
    return request.method in {"GET", "HEAD"}


def _may_be_repeated(
    request: requests.PreparedRequest, *, answer: requests.Response | None, failure: requests.RequestException | None
) -> bool:
    """Whether another try may help and does no harm."""
    if not isinstance(request.body, str | bytes | None):
        return False  # a stream that was read cannot be sent again
    harmless = request.method != "POST" or MADE_BY_POST.search(urlsplit(request.url or "").path) is not None
    if answer is not None:
        return answer.status_code == TOO_MANY or (harmless and answer.status_code in BROKEN)
    return harmless or (failure is not None and _was_never_sent(failure))


def _was_never_sent(error: requests.RequestException) -> bool:
    """Whether the connection itself failed: then the cloud has not seen the request."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, urllib3.exceptions.MaxRetryError) else cause
    return isinstance(error, requests.ConnectionError) and isinstance(reason, urllib3.exceptions.NewConnectionError)


def _asked_pause(answer: requests.Response | None) -> float:
    """Seconds the cloud wants us to wait (RFC 9110, 10.2.3); 0 if it does not say, or says a date."""
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    return float(asked) if asked.isdigit() else 0.0


def _note(request: requests.PreparedRequest, *, outcome: str, begun: float, attempt: int) -> None:
    path = UUIDS.sub("{id}", urlsplit(request.url or "").path)
    log.debug(
        "openstack_request",
        method=request.method,
        path=path,
        outcome=outcome,
        milliseconds=round((time.monotonic() - begun) * 1000),
        attempt=attempt,
    )
