"""A very small client of Incus' REST API on a unix socket: what setting up a server needs, with the standard library alone."""

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from carina_portal.embedded.layout import EmbeddedError


class IncusRefused(EmbeddedError):
    """The server answered with an error. `status` is the HTTP status, 400 for a background operation that failed."""

    def __init__(self, *, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("incus", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class IncusApi:
    """Calls to one server; each opens its own connection, so that threads need not share one."""

    def __init__(self, *, socket_path: Path) -> None:
        self.socket_path = socket_path

    def call(self, method: str, path: str, body: object = None, *, timeout: float = 120) -> Any:
        """Return the answer's metadata, having waited for a background operation up to `timeout` seconds.

        Raises IncusRefused, and OSError where nothing answers. `path` is relative to /1.0 unless it begins with a slash.
        """
        with contextlib.closing(_UnixConnection(self.socket_path, timeout)) as connection:
            connection.request(
                method,
                path if path.startswith("/") else f"/1.0/{path}",
                None if body is None else json.dumps(body),
                {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            answer = json.loads(response.read())
        if answer["type"] == "error":
            raise IncusRefused(sentence=f"Incus refused {method} {path}: {answer['error']}", status=answer["error_code"])
        if answer["type"] == "async":
            done = self.call("GET", f"{answer['operation']}/wait?timeout={int(timeout)}", timeout=timeout + 5)
            if done["status_code"] != http.HTTPStatus.OK:
                raise IncusRefused(sentence=f"Incus did not finish {method} {path}: {done['err'] or done['status']}", status=400)
            return done["metadata"]
        return answer["metadata"]

    def find(self, path: str) -> Any:
        """Return what is at `path`, or None where there is nothing."""
        try:
            return self.call("GET", path)
        except IncusRefused as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def ready(self) -> bool:
        """Whether the server has come up completely (what `incus admin waitready` asks)."""
        try:
            self.call("GET", "/internal/ready", timeout=5)
        except (OSError, IncusRefused, http.client.HTTPException, ValueError):
            return False
        return True
