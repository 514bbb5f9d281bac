"""A small client of the Incus REST API (https://linuxcontainers.org/incus/docs/main/rest-api/): one connection pool, errors translated."""

import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpcore
import httpx

from apps.hosts.contracts import CloudBusy, CloudCredentialsRejected, CloudUnreachable
from apps.hosts.providers.incus.errors import NotThere, error_of
from apps.hosts.providers.incus.tls import client_context

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
WAIT_SLICE_SECONDS = 20
OPERATION_SECONDS = 90.0
CONNECTIONS = 100
SERVER_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class Found:
    """An object of Incus as it was when looked at; `etag` makes a write fail if it was changed since."""

    body: dict[str, Any]
    etag: str

    @property
    def config(self) -> dict[str, str]:
        """The object's options; absent ones are absent."""
        config: dict[str, str] = self.body.get("config") or {}
        return config


class IncusClient:
    """Requests to one Incus, safe to share between threads. Every method raises ProviderError in the words of `errors`."""

    def __init__(self, *, transport: httpx.BaseTransport, base_url: str = "http://incus") -> None:
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)
        self._http = httpx.Client(transport=transport, base_url=base_url, timeout=timeout, trust_env=False)

    @classmethod
    def local(cls, *, path: str) -> Self:
        """A client of the Incus behind a unix socket on this machine."""
        return cls(transport=LocalTransport(path=path))

    @classmethod
    def remote(cls, *, url: str, certificate: str, key: str, server_certificate: str) -> Self:
        """A client of an Incus server over HTTPS; raises CloudCredentialsRejected for unusable PEM texts or a URL that is not https."""
        if urlsplit(url).scheme != "https":
            raise CloudCredentialsRejected(f"The address of a remote Incus must start with https:// and {url!r} does not.")
        context = client_context(certificate=certificate, key=key, server_certificate=server_certificate)
        return cls(transport=httpx.HTTPTransport(verify=context, limits=_limits()), base_url=url.rstrip("/"))

    def get(self, path: str, /, **params: str) -> Any:
        """Return the metadata of what lies at `path` (under /1.0/); raises NotThere."""
        return self._answer("GET", path, params=params)["metadata"]

    def find(self, path: str, /, **params: str) -> Found | None:
        """Return the object at `path` with its ETag, or None where there is none."""
        response = self._send("GET", path, params=params)
        try:
            body = _checked(what=f"GET {path}", response=response)["metadata"]
        except NotThere:
            return None
        return Found(body=body, etag=response.headers.get("ETag", ""))

    def change(self, method: str, path: str, /, *, body: object = None, etag: str = "", **params: str) -> dict[str, Any]:
        """Send one change, wait until Incus has carried it out, and return the metadata of its operation (empty if it had none).

        Raises ChangedMeanwhile when the object no longer has `etag`, CloudBusy when the operation takes more than 90 seconds.
        """
        headers = {"If-Match": etag} if etag else {}
        answer = self._answer(method, path, params=params, json=body, headers=headers)
        if answer["type"] != "async":
            return {}
        return self._wait(what=f"{method} {path}", operation=answer["operation"])

    def upload(self, path: str, /, *, content: bytes, headers: Mapping[str, str], **params: str) -> None:
        """POST raw bytes (a file for an instance)."""
        self._answer("POST", path, params=params, content=content, headers={"Content-Type": "application/octet-stream", **headers})

    def text(self, path: str, /, **params: str) -> str:
        """Return what lies at `path` as plain text (logs, recorded output); raises NotThere."""
        response = self._send("GET", path, params=params)
        if response.status_code >= httpx.codes.BAD_REQUEST:
            _checked(what=f"GET {path}", response=response)
        return response.text

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def _wait(self, *, what: str, operation: str) -> dict[str, Any]:
        path = operation.removeprefix("/1.0/").partition("?")[0]
        deadline = time.monotonic() + OPERATION_SECONDS
        while time.monotonic() < deadline:
            try:
                state = self._answer("GET", f"{path}/wait", params={"timeout": str(WAIT_SLICE_SECONDS)}, what=what)["metadata"]
            except NotThere as gone:
                # Finished operations are forgotten after seconds: what came of it is seen by looking again.
                if "operation" not in str(gone).lower():
                    raise
                raise CloudBusy(f"Incus no longer knows what became of {what}.") from gone
            if state["status_code"] >= httpx.codes.BAD_REQUEST:
                raise error_of(what=what, status=SERVER_ERROR, text=state.get("err", ""))
            if state["status_code"] == httpx.codes.OK:
                done: dict[str, Any] = state
                return done
        raise CloudBusy(f"Incus is still working on {what} after {OPERATION_SECONDS:.0f} seconds.")

    def _answer(self, method: str, path: str, *, what: str = "", **request: Any) -> dict[str, Any]:
        return _checked(what=what or f"{method} {path}", response=self._send(method, path, **request))

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._http.request(method, quote(f"/1.0/{path}".rstrip("/")), **request)
        except httpx.ConnectError as error:
            text = str(error)
            if "Permission denied" in text:
                raise CloudCredentialsRejected("This user may not open the Incus socket: run as root or join its group.") from error
            if "CERTIFICATE_VERIFY_FAILED" in text:
                raise CloudCredentialsRejected("The Incus server shows another certificate than the one given for this cloud.") from error
            raise CloudUnreachable(f"Incus cannot be reached: {text}.") from error
        except httpx.HTTPError as error:
            raise CloudUnreachable(f"Incus did not answer {method} {path}: {str(error) or type(error).__name__}.") from error


class LocalTransport(httpx.HTTPTransport):
    """HTTP over a unix socket, on a backend of our own."""

    def __init__(self, *, path: str) -> None:
        super().__init__(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # none is spoken here, and the default one loads every authority
        limits = _limits()
        self._pool = httpcore.ConnectionPool(
            uds=path,
            network_backend=_ClosingBackend(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
        )


class _ClosingBackend(httpcore.SyncBackend):
    """Tries the socket first: httpcore's own backend leaves one that refuses to the garbage collector."""

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.NetworkStream:
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.settimeout(timeout)
                probe.connect(path)
            except OSError as error:
                raise httpcore.ConnectError(str(error)) from error
        return super().connect_unix_socket(path, timeout, socket_options)


def _limits() -> httpx.Limits:
    # As many kept connections as threads may ask at once: a new connection costs more than most answers.
    return httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=30)


def _checked(*, what: str, response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "type" not in answer:
        status = response.status_code if response.is_error else SERVER_ERROR
        raise error_of(what=what, status=status, text="something that is not in Incus' format")
    if answer["type"] == "error":
        raise error_of(what=what, status=int(answer.get("error_code") or response.status_code), text=str(answer.get("error", "")))
    return answer
