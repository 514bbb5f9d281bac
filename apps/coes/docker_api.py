"""A client for Docker engines that answer only to their bay's certificates (Engine API, moby `api/swagger.yaml`).

One `DockerApi` speaks to all engines of one bay, from as many threads as the caller likes. It keeps nothing but connections: no state,
no retries. What can go wrong comes out as an EngineError whose sentence names the host and never holds what was sent.
"""

import contextlib
import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from apps.coes.contracts import ClientIdentity, EngineError, EngineNotReady, EngineRefused, Node, QuorumLost

NEWEST_API = (1, 45)
"""The API of Docker 26, which is what is spoken; older engines are spoken to in theirs, newer ones still know this."""

_CONNECT_SECONDS = 1.0
"""A host that is switched off does not even refuse; a second is plenty inside a data centre and short enough to ask again."""

_JOIN_TOKEN = re.compile(r"SWMTKN-[0-9A-Za-z-]+")
_ALERT = re.compile(r"ALERT|alert")
_NO_QUORUM = (
    "does not have a leader",
    "context deadline exceeded",
    "too few managers are online",
    "raft: not leader",
    "possibly lost quorum",
)
_SERVER_ERROR = 500
_NOT_MODIFIED_OR_ERROR = 300


class EngineSaid(EngineError):
    """The engine answered a request with an error; `said` is its own sentence, `status` the HTTP status."""

    said = ""
    status = 0

    @classmethod
    def about(cls, *, node: Node, status: int, said: str) -> Self:
        """Return the error for an answer of `node`."""
        error = cls(f"The engine of {node.hostname} answers: {said}")
        error.said, error.status = said, status
        return error


class EngineBusy(EngineSaid, EngineNotReady):
    """A 5xx answer: the engine is starting, or somebody else changed the same thing at once."""

    transient = True


class EngineSaysNo(EngineSaid, EngineRefused):
    """A 4xx answer: the same request will be refused again."""

    transient = False


@dataclass(frozen=True, kw_only=True)
class Pong:
    """What an engine says without being asked for more: its API version, and its standing in a swarm.

    `swarm` is `inactive`, `pending`, `error`, `locked`, `active/worker` or `active/manager`.
    """

    api: tuple[int, int]
    swarm: str


class DockerApi:
    """The engines of one bay, reached with one client certificate. Close it, or use it in a `with` statement."""

    def __init__(self, *, identity: ClientIdentity) -> None:
        """Prepare connections; raises EngineRefused when the identity's PEM texts cannot be used."""
        # trust_env=False: a proxy or a netrc of the machine must never stand between the portal and a bay.
        self._http = httpx.Client(
            verify=_tls(identity),
            trust_env=False,
            timeout=httpx.Timeout(10.0, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=128),
        )
        self._versions: dict[tuple[str, int], tuple[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def ping(self, *, node: Node, timeout: float = 2.0) -> Pong:
        """Ask whether the engine is there; `timeout` in seconds. Raises EngineNotReady, or EngineRefused when certificates do not match."""
        response = self._send("GET", node=node, path="/_ping", timeout=timeout)
        major, _, minor = response.headers.get("api-version", "1.41").partition(".")
        pong = Pong(api=(int(major), int(minor or 0)), swarm=response.headers.get("swarm", ""))
        self._versions[node.reach] = min(pong.api, NEWEST_API)
        if not pong.swarm:  # engines before 23.0 do not say it here
            info = self.get(node=node, path="/info", timeout=timeout)["Swarm"]
            state = info.get("LocalNodeState") or "inactive"
            pong = Pong(
                api=pong.api, swarm=f"active/{'manager' if info.get('ControlAvailable') else 'worker'}" if state == "active" else state
            )
        return pong

    def get(self, *, node: Node, path: str, params: Mapping[str, str] | None = None, timeout: float = 10.0) -> Any:
        """Return the decoded JSON answer to a GET. Raises EngineError."""
        return self._call("GET", node=node, path=path, params=params, body=None, timeout=timeout)

    def post(
        self,
        *,
        node: Node,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Any:
        """POST `body` as JSON and return the decoded answer, if there is one. Raises EngineError."""
        return self._call("POST", node=node, path=path, params=params, body=body, timeout=timeout)

    def send_tar(
        self, method: str, *, node: Node, path: str, content: bytes, params: Mapping[str, str] | None = None, timeout: float = 10.0
    ) -> None:
        """Send a tar archive, as images and files of containers are sent. Raises EngineError."""
        # With any other type the engine would look for a form in the body, and find no archive after it.
        self._call(method, node=node, path=path, params=params, body=content, timeout=timeout)

    def has_file(self, *, node: Node, container: str, path: str, timeout: float = 10.0) -> bool:
        """Tell whether there is such a file in a container. Raises EngineError."""
        try:
            self._call("HEAD", node=node, path=f"/containers/{container}/archive", params={"path": path}, body=None, timeout=timeout)
        except EngineSaysNo as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            return False
        return True

    def delete(self, *, node: Node, path: str, params: Mapping[str, str] | None = None, timeout: float = 10.0) -> None:
        """DELETE; what is not there is success. Raises EngineError."""
        try:
            self._call("DELETE", node=node, path=path, params=params, body=None, timeout=timeout)
        except EngineSaysNo as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    def _call(
        self,
        method: str,
        *,
        node: Node,
        path: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | bytes | None,
        timeout: float,
    ) -> Any:
        if node.reach not in self._versions:
            self.ping(node=node, timeout=min(timeout, 2.0))
        major, minor = self._versions[node.reach]
        response = self._send(method, node=node, path=f"/v{major}.{minor}{path}", params=params, body=body, timeout=timeout)
        return response.json() if response.content and "json" in response.headers.get("content-type", "") else None

    def _send(
        self,
        method: str,
        *,
        node: Node,
        path: str,
        timeout: float,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | bytes | None = None,
    ) -> httpx.Response:
        host, port = node.reach
        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        with _failures(node=node):
            response = self._http.request(
                method,
                f"https://{authority}{path}",
                params=params,
                content=body if body is None or isinstance(body, bytes) else json.dumps(body),
                headers={"Content-Type": kind} if body is not None else None,
                timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            )
        if response.status_code >= _NOT_MODIFIED_OR_ERROR:
            raise _refusal(node=node, response=response)
        return response


def _tls(identity: ClientIdentity) -> ssl.SSLContext:
    """Return a context that trusts the bay's authority alone and shows the client certificate.

    OpenSSL reads keys from paths only. The key goes through an anonymous file in memory, so it never touches a disk.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    handle = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(identity.certificate_pem + b"\n" + identity.key_pem)
        context.load_verify_locations(cadata=identity.ca_pem.decode("ascii"))
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise EngineRefused(f"The portal's own certificate for this bay cannot be used ({reason}).") from None
    finally:
        os.close(handle)
    return context


@contextlib.contextmanager
def _failures(*, node: Node) -> Iterator[None]:
    """Turn what the network does into EngineNotReady, and certificates that do not match into EngineRefused."""
    try:
        yield
    except httpx.TimeoutException:
        raise EngineNotReady(f"The engine of {node.hostname} does not answer in time.") from None
    except (httpx.HTTPError, ssl.SSLError, OSError) as error:
        tls = _tls_error(error)
        if isinstance(tls, ssl.SSLCertVerificationError):
            raise EngineRefused(
                f"{node.hostname} shows a certificate that this bay's authority did not issue for {node.reach[0]}: {tls.verify_message}."
            ) from None
        if tls is not None and _ALERT.search(f"{tls.reason} {tls}"):
            alert = (tls.reason or "").lower().replace("_", " ")
            raise EngineRefused(f"The engine of {node.hostname} does not accept the certificate shown to it ({alert}).") from None
        raise EngineNotReady(
            f"The engine of {node.hostname} does not answer yet ({_JOIN_TOKEN.sub('(token)', str(error)) or type(error).__name__})."
        ) from None


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _refusal(*, node: Node, response: httpx.Response) -> EngineError:
    try:
        said = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        said = response.text[:200] or f"HTTP {response.status_code}"
    said = _JOIN_TOKEN.sub("(token)", said.strip())
    if response.status_code >= _SERVER_ERROR and any(sign in said for sign in _NO_QUORUM):
        return QuorumLost(f"Too few managers of the bay answer ({node.hostname}: {said}).")
    kind: type[EngineSaid] = EngineBusy if response.status_code >= _SERVER_ERROR else EngineSaysNo
    return kind.about(node=node, status=response.status_code, said=said)
