"""How this package talks to an OpenStack: an openstacksdk connection made from a cloud's settings alone, over one careful transport.

The connection never looks at OS_* variables, clouds.yaml files or proxies of the environment. Every request has a time-out. What
may be sent twice without doing harm (everything but POST, and a request for a token) is sent up to three times after a broken
connection, a 429 or a 5xx. A POST is repeated only if it was certainly not carried out: the connection was never made, or the
answer was 429. Any other failed POST may have been carried out all the same, so it is left to the caller, which looks before it asks again.
"""

import json
import random
import re
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import requests
import structlog
import urllib3
from keystoneauth1 import session as keystone_session
from keystoneauth1.exceptions import ClientException, EndpointNotFound
from openstack.config.loader import OpenStackConfig
from openstack.connection import Connection
from openstack.exceptions import SDKException
from openstack.warnings import RemovedInSDK60Warning
from requests.adapters import HTTPAdapter

from apps.hosts.contracts import CloudCredentialsRejected, CloudRefused
from apps.hosts.providers.base import CloudAccess

DISCOVERY = "discovery_"
"""What the settings and secrets of the credential that only looks begin with."""
TRIES = 3
BACK_OFF_SECONDS = 0.4
PATIENCE_SECONDS = 6.0
"""No try begins later than this after the first: the engine comes back by itself, and a worker is dear."""
ANSWER_SECONDS = 30.0
CONNECT_SECONDS = 5.0
AT_ONCE = 16
"""Requests under way at a time. A hundred bays asked for at once would otherwise drown a small Nova, and every answer come too late."""
CONNECTIONS = AT_ONCE
BROKEN = frozenset({500, 502, 503, 504})
TOO_MANY = 429
MADE_BY_POST = re.compile(r"/(v3/)?auth/tokens/?$|/v2\.0/tokens/?$")
UUIDS = re.compile(r"\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b")

log = structlog.get_logger(__name__)


def connect(access: CloudAccess, *, prefix: str = "") -> Connection:
    """Return a connection to the cloud; nothing is asked of it yet.

    `settings["config"]` is a clouds.yaml entry as JSON without its secrets, `settings["cacert_pem"]` the authority of its
    certificates, `settings["timeout"]` the seconds an answer may take; secrets (password, application_credential_secret, token …)
    go into its `auth`. With the `prefix` “discovery_” the config and the secrets whose names begin so are used instead.
    Raises CloudRefused for settings that make no sense and CloudCredentialsRejected for credentials that are incomplete.
    """
    config = _config_of(access, prefix=prefix)
    config["auth"] = {**config.get("auth", {}), **_secrets_of(access, prefix=prefix)}
    transport = Transport(
        authorities=access.settings.get(f"{prefix}cacert_pem", "") or access.settings.get("cacert_pem", ""),
        seconds=_seconds(access.settings.get("timeout", "")),
    )

    class Ours(CloudSession):
        carried_by = transport

    loader = OpenStackConfig(
        config_files=[],
        vendor_files=[],
        secure_files=[],
        load_yaml_config=False,
        load_envvars=False,
        app_name="carina",
        session_constructor=Ours,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RemovedInSDK60Warning)  # about metrics, whether or not any are asked for
            return Connection(config=loader.get_one(**config))
    except (SDKException, ClientException, AttributeError, KeyError, TypeError, ValueError) as error:  # all of them mean the settings
        kind = CloudCredentialsRejected if "auth" in str(error).lower() else CloudRefused
        raise kind(f"The settings of the cloud {access.name} cannot be used: {_one_line(error)}.") from None


def has_volumes(connection: Connection) -> bool:
    """Whether the catalogue has Cinder. Not asked by `has_service`, which writes a warning to the log each time there is none."""
    region, interface = connection.config.get_region_name("block-storage"), connection.config.get_interface("block-storage")
    try:
        found = connection.session.get_endpoint(
            service_type="block-storage", interface=interface, region_name=region or None, skip_discovery=True
        )
        return bool(found)
    except EndpointNotFound:
        return False


class CloudSession(keystone_session.Session):
    """keystoneauth's session over our transport; it logs neither headers nor bodies, which hold tokens and hosts' keys."""

    carried_by: "Transport"
    """What all requests of this session go through."""

    def __init__(self, **options: Any) -> None:
        carrier = requests.Session()
        carrier.trust_env = False
        for scheme in ("http://", "https://"):
            carrier.mount(scheme, self.carried_by)
        super().__init__(session=carrier, **{**options, "timeout": None})

    def _http_log_request(self, *_: Any, **__: Any) -> None:
        """Say nothing: the transport writes a line for every request."""

    def _http_log_response(self, *_: Any, **__: Any) -> None:
        """Say nothing."""


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
        self._timeout = (CONNECT_SECONDS, seconds)
        self._gate = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(pool_connections=16, pool_maxsize=CONNECTIONS, max_retries=0)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002  # the signature is that of requests
        timeout: Any = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: Any = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send one request, again where that is harmless; returns the last answer, or raises what requests raises."""
        sending = partial(super().send, request, stream=stream, timeout=timeout or self._timeout, verify=verify, cert=cert, proxies=proxies)
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
        """Wait for a turn; raises ConnectTimeout, as a request that was never sent, if none comes soon: a worker's lease does not wait."""
        if not self._gate.acquire(timeout=CONNECT_SECONDS):
            raise requests.ConnectTimeout(f"{AT_ONCE} requests to the cloud are under way already", request=request)
        try:
            yield
        finally:
            self._gate.release()

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


def _config_of(access: CloudAccess, *, prefix: str) -> dict[str, Any]:
    text = access.settings.get(f"{prefix}config", "")
    if not text:
        raise CloudRefused(f"The cloud {access.name} has no setting {prefix}config: add it by manage.py add_cloud from a clouds.yaml.")
    try:
        config = json.loads(text)
    except ValueError:
        raise CloudRefused(f"The setting {prefix}config of the cloud {access.name} is not JSON.") from None
    if not isinstance(config, dict) or not isinstance(config.get("auth", {}), dict):
        raise CloudRefused(f"The setting {prefix}config of the cloud {access.name} is not an entry of a clouds.yaml.")
    # The transport is told its authorities, and files of the machine the entry was written on are not here.
    return {name: value for name, value in config.items() if name not in {"cacert", "cert", "key", "api_timeout"}}


def _secrets_of(access: CloudAccess, *, prefix: str) -> dict[str, str]:
    """Return all that was kept apart from this credential's `auth`, under the names it had there."""
    mine = {name: secret for name, secret in access.secrets.items() if name.startswith(DISCOVERY) == (prefix == DISCOVERY)}
    return {name.removeprefix(prefix): secret for name, secret in mine.items()}


def _seconds(text: str) -> float:
    try:
        return float(text) if text else ANSWER_SECONDS
    except ValueError:
        raise CloudRefused(f"The cloud's setting timeout must be a number of seconds, not {text!r}.") from None


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
