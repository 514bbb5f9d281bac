"""The services as processes: how each is started and how one sees that it answers. None outlives the process that started it."""

import http.client
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from carina_portal.embedded.layout import EmbeddedError
from carina_portal.embedded.process import Child, tail
from tests.live.openstack.lab.place import ADDRESS, PORTS, Place

POLL_SECONDS = 0.15
START_SECONDS = 300.0
"""For a machine busy with other things; a process that ended is not waited for."""
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
"""The system's Python runs them, not the project's: nothing of this process's environment may lead astray."""


class Service:
    """A process and the sign that it is ready: `ready()` is true, and its log holds `words` written since it started."""

    def __init__(self, *, child: Child, ready: Callable[[], bool] = lambda: True, words: str = "") -> None:
        self.child = child
        self._ready, self._words, self._position = ready, words.encode(), 0
        self.started = ""
        """When it was started last, in UTC, as OpenStack writes times."""

    def start(self) -> None:
        """Start the process and return at once."""
        if not self.child.alive:
            self._position = self.child.log.stat().st_size if self.child.log.exists() else 0
            self.started = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        self.child.start()

    def wait(self, *, seconds: float = START_SECONDS) -> None:
        """Return once it is ready; raises EmbeddedError when it ended or is not ready after `seconds`."""
        until(self.child.name, lambda: self._said() and self._ready(), seconds=seconds, alive=lambda: self.child.alive, log=self.child.log)

    def _said(self) -> bool:
        with self.child.log.open("rb") as file:
            file.seek(min(self._position, os.fstat(file.fileno()).st_size))
            return self._words in file.read()


def until(
    what: str, ready: Callable[[], bool], *, seconds: float, alive: Callable[[], bool] = lambda: True, log: Path | None = None
) -> None:
    """Return once `ready()` is true; raises EmbeddedError after `seconds`, or as soon as `alive()` is not."""
    deadline = time.monotonic() + seconds
    while not ready():
        ended = "" if alive() else "ended before it was ready"
        late = f"is not ready after {seconds:.0f} s" if time.monotonic() > deadline else ""
        if ended or late:
            last = f"; {log} ends with:\n{tail(log, lines=20)}" if log else "."
            raise EmbeddedError(f"OpenStack's {what} {ended or late}{last}")
        time.sleep(POLL_SECONDS)


def program(
    *,
    place: Place,
    name: str,
    argv: Sequence[str],
    ready: Callable[[], bool] = lambda: True,
    words: str = "",
    env: Mapping[str, str] | None = None,
    grace: float = 8,
) -> Service:
    """Return a service that is a program of its own; `env` is added to the common environment."""
    child = Child(name=name, argv=argv, env={**ENVIRONMENT, **(env or {})}, log=place.logs / f"{name}.log", grace=grace)
    return Service(child=child, ready=ready, words=words)


def web(
    *, place: Place, name: str, listen: str, script: str, env: Mapping[str, str], ready: Callable[[], bool], processes: int, threads: int
) -> Service:
    """Return a WSGI service under uWSGI, as Debian runs them; one connection per request."""
    argv = ["uwsgi_python3", "--http-socket", listen, "--wsgi-file", script, "--processes", str(processes), "--threads", str(threads)]
    argv += ["--master", "--lazy-apps", "--enable-threads", "--need-app", "--no-orphans", "--die-on-term", "--thunder-lock"]
    argv += ["--buffer-size", "65535", "--listen", "100", "--socket-timeout", "60", "--add-header", "Connection: close"]
    argv += ["--disable-logging"]  # requests; errors are logged by the services themselves
    return program(place=place, name=name, argv=argv, env=env, ready=ready, grace=4)


def apis(place: Place) -> dict[str, Service]:
    """Return the services that answer HTTP. Nova's one is single-threaded, because eventlet is; the others are not."""
    specification = {
        "keystone": ("identity", "/usr/bin/keystone-wsgi-public", {"OS_KEYSTONE_CONFIG_FILES": "keystone/keystone.conf"}, 2, 4),
        "placement": ("placement", "/usr/bin/placement-api", {"OS_PLACEMENT_CONFIG_DIR": "placement"}, 1, 8),
        "glance": ("image", "/usr/bin/glance-wsgi-api", {"OS_GLANCE_CONFIG_DIR": "glance"}, 1, 8),
        "nova-api": ("compute", "/usr/bin/nova-api-wsgi", {"OS_NOVA_CONFIG_DIR": "nova"}, 2, 1),
    }
    found = {}
    for name, (service, script, env, processes, threads) in specification.items():
        found[name] = web(
            place=place,
            name=name,
            listen=f"{ADDRESS}:{PORTS[service]}",
            script=script,
            env={variable: str(place.etc / path) for variable, path in env.items()},
            ready=partial(answers, service),
            processes=processes,
            threads=threads,
        )
    configs = [f"--config-file={place.etc}/neutron/{name}" for name in ("neutron.conf", "ml2.ini")]
    found["neutron-server"] = program(
        place=place,
        name="neutron-server",
        argv=["/usr/bin/neutron-server", *configs],
        env={"PYTHONPATH": str(place.python)},
        ready=lambda: answers("network"),
    )
    return found


def workers(place: Place) -> dict[str, Service]:
    """Return Nova's conductor and scheduler."""
    return {
        name: program(
            place=place,
            name=name,
            argv=[f"/usr/bin/{name}", f"--config-file={place.etc}/nova/nova.conf"],
            words=words,
        )
        for name, words in (("nova-conductor", "Starting conductor node"), ("nova-scheduler", "Starting scheduler node"))
    }


def answers(service: str, *, path: str = "") -> bool:
    """Whether the service answers a request for its versions."""
    return answers_at(ADDRESS, PORTS[service], path=path or ("/v3" if service == "identity" else "/"))


def answers_at(address: str, port: int, *, path: str = "/") -> bool:
    """Whether HTTP is answered there, and not with an error."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status in {200, 300, 401}
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listens(service: str) -> bool:
    """Whether somebody accepts connections on the service's port."""
    try:
        socket.create_connection((ADDRESS, PORTS[service]), timeout=2).close()
    except OSError:
        return False
    return True
