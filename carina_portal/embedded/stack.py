"""A whole portal on this machine, as one object.

    with Stack(var=Path("var/chaos"), port=8123) as stack:
        requests.get(stack.base_url)
        stack.kill_worker()
        stack.start_worker()

Everything it starts ends with `stop()`, or when the process that holds it dies; data and hosts stay for the next start.
"""

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from carina_portal.embedded import portal, process
from carina_portal.embedded.broker import Broker
from carina_portal.embedded.image import ensure_image
from carina_portal.embedded.incus import Incus
from carina_portal.embedded.keys import ensure_keys
from carina_portal.embedded.layout import EmbeddedError, Layout, write_private
from carina_portal.embedded.postgres import Postgres
from carina_portal.embedded.terminal import Terminal

SERVE_SECONDS = 90.0


class AlreadyRuns(EmbeddedError):
    """A stack with the same `var` runs already."""


class Stack:
    """PostgreSQL, Redis, Incus, and the portal's web, worker and beat over them.

    `var` holds all state: two stacks with different `var` and `port` do not touch each other. `incus=False` leaves local hosts out;
    `pool_driver="dir"` keeps hosts' disks in plain directories instead of btrfs; `env` is put on top of the environment of the portal's
    programs. `base_url`, `env` (what they find in their environment, in addition to that of this process) and `layout` are for those
    who talk to it.
    """

    def __init__(
        self,
        *,
        var: Path,
        port: int = 8000,
        incus: bool = True,
        pool_driver: str | None = None,
        listen: str = "127.0.0.1",
        terminal: Terminal | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.layout = Layout(var.resolve())
        self.port, self.listen = port, listen
        self.base_url = f"http://127.0.0.1:{port}"
        self.terminal = terminal or Terminal(quiet=True)
        self.env: dict[str, str] = {}
        self.children: dict[str, process.Child] = {}
        self.no_hosts = "" if incus else "Local hosts were not asked for."
        self.incus: Incus | None = None
        self._pool_driver = pool_driver if pool_driver is not None else os.environ.get("CARINA_INCUS_POOL_DRIVER", "")
        self._wants_incus = incus
        self._more_env = dict(env or {})
        self._lock: IO[str] | None = None
        self._postgres: Postgres | None = None
        self._broker: Broker | None = None
        self._seeded_with = ""

    # --- the whole ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything and return once the portal serves; raises EmbeddedError, having stopped what was started."""
        try:
            # Pages first: on a small machine a dozen hosts that boot again would keep people waiting for them.
            self.start_databases()
            self.prepare_database()
            self.start_web()
            self.start_incus()
            self.seed()
            self.start_worker()
            self.children["beat"].start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything that was started, in an order that loses nothing. May be called at any time, and again."""
        programs = [self.children[name] for name in ("beat", "worker", "web") if name in self.children]
        for child in programs:
            child.ask_to_stop()
        for child in programs:
            child.stop()
        if self.incus is not None:
            self.incus.ask_to_stop()
        for server in (self._broker, self._postgres):
            if server is not None and server.child is not None:
                server.child.stop()
        if self.incus is not None:
            self.incus.stop()
        if self._lock is not None:
            self.layout.environment.unlink(missing_ok=True)
            shutil.rmtree(self.layout.run, ignore_errors=True)
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def tend(self) -> list[str]:
        """Start again what died since the last look; return a sentence for each thing that happened. Call it about twice a second."""
        servers = [server.child for server in (self._postgres, self._broker, self.incus) if server is not None and server.child is not None]
        now = time.monotonic()
        return [sentence for child in (*servers, *self.children.values()) if (sentence := child.tend(now=now))]

    # --- its parts, in the order in which they start ---------------------------------------------------------------------------

    def start_databases(self) -> None:
        """Start PostgreSQL and Redis; fills `env` and writes it to `var/env.json`. Raises AlreadyRuns."""
        self.layout.create()
        self._take_lock()
        keys = ensure_keys(layout=self.layout)
        self._postgres, self._broker = Postgres(layout=self.layout, keys=keys), Broker(layout=self.layout, keys=keys)
        self.env = portal.environment(
            layout=self.layout, keys=keys, database_url=self._postgres.url, redis_url=self._broker.url, listen=self.listen, port=self.port
        )
        self.env |= self._more_env
        self.children = portal.children(layout=self.layout, env=self.env, listen=self.listen, port=self.port)
        self._broker.start()
        with self.terminal.step("PostgreSQL"):
            self._postgres.make()
            self._postgres.start()
            self._postgres.wait()
        with self.terminal.step("Redis"):
            self._broker.wait()
        self._write_environment()

    def prepare_database(self) -> None:
        """Bring the database to the newest schema and collect static files, if either changed since the last time."""
        if self._postgres is None:
            raise EmbeddedError("Start the services first.")
        stamps, packages = portal.Stamps(layout=self.layout), portal.packages_mark()
        schema = portal.hash_of(portal.migration_files(), packages, self._postgres.fresh_mark)
        if not stamps.fits("schema", schema):
            with self.terminal.step("Database schema"):
                owner = {**self.env, "DATABASE_URL": self._postgres.owner_url}
                portal.manage("migrate", "--noinput", layout=self.layout, env=owner)
            stamps.set("schema", schema)
        static = portal.hash_of(portal.static_files(), packages)
        if not stamps.fits("static", static) or not (self.layout.var / "static").is_dir():
            with self.terminal.step("Static files"):
                portal.manage("collectstatic", "--noinput", "--clear", layout=self.layout, env=self.env)
            stamps.set("static", static)

    def start_incus(self) -> None:
        """Start Incus with everything hosts need, as far as it is missing: packages, pool, node image; hosts that ran before come back.

        Where no hosts are possible this says why, in `no_hosts` and on the terminal, and the portal runs without.
        """
        if not self._wants_incus:
            return
        incus = Incus(layout=self.layout, pool_driver=self._pool_driver)
        try:
            incus.prepare(terminal=self.terminal)
            with self.terminal.step("Incus") as step:
                incus.start()
                incus.wait()
                note = incus.ensure_pool(step=step)
            if note:
                self.terminal.say(f"    {note}")
            ensure_image(incus=incus, layout=self.layout, terminal=self.terminal)
        except EmbeddedError as error:
            self.no_hosts = str(error)
            self.terminal.say(f"  {error}")
            incus.stop()
        except BaseException:
            incus.stop()
            raise
        else:
            self.incus = incus
            self._write_environment()

    def seed(self) -> None:
        """Put flavors, prices, the local cloud and the demo tenant into the database, if code or cloud changed since the last time."""
        if self._postgres is None:
            raise EmbeddedError("Start the services first.")
        cloud = ["--incus-socket", str(self.incus.socket_path), "--incus-pool", self.incus.pool] if self.incus else []
        stamps = portal.Stamps(layout=self.layout)
        content = portal.hash_of(portal.code_files(), *cloud, portal.packages_mark(), self._postgres.fresh_mark)
        if not stamps.fits("seed", content) or not self.layout.demo_password.exists():
            with self.terminal.step("Demo tenant, flavors and prices"):
                portal.manage("seed", *cloud, layout=self.layout, env=self.env)
            stamps.set("seed", content)

    def wait_until_serving(self) -> None:
        """Return once /healthz answers 200; raises EmbeddedError with the web's last log lines if it does not."""
        with self.terminal.step("Portal"):
            deadline = time.monotonic() + SERVE_SECONDS
            while not self.serves():
                web = self.children.get("web")
                if web is None or not web.alive or time.monotonic() > deadline:
                    log = self.layout.logs / "web.log"
                    raise EmbeddedError(f"The portal does not serve on {self.base_url}; {log} ends with:\n{process.tail(log, lines=15)}")
                time.sleep(0.05)

    def serves(self) -> bool:
        """Whether /healthz answers 200 now."""
        connection = http.client.HTTPConnection(self.listen if self.listen != "0.0.0.0" else "127.0.0.1", self.port, timeout=5)  # noqa: S104 - compared, not bound
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/healthz", headers={"Host": f"127.0.0.1:{self.port}"})
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

    # --- for tests that break things ---------------------------------------------------------------------------------------------

    def kill_worker(self) -> None:
        """Kill the worker with its whole process group, as kill -9 or a power cut would; it stays dead until `start_worker`."""
        self.children["worker"].kill()

    def start_worker(self) -> None:
        """Start the worker; returns at once."""
        self.children["worker"].start()

    def kill_web(self) -> None:
        """Kill all of the web's processes (kill -9); it stays dead until `start_web`."""
        self.children["web"].kill()

    def start_web(self) -> None:
        """Start the web and return once it serves; raises EmbeddedError if it does not, for one if its port is taken."""
        if not self.children["web"].alive:
            _check_port(listen=self.listen, port=self.port)
        self.children["web"].start()
        self.wait_until_serving()

    def flush_redis(self) -> None:
        """Empty Redis: every message in flight and every cached value is lost."""
        if self._broker is None:
            raise EmbeddedError("Redis does not run.")
        self._broker.flush()

    # --- inside --------------------------------------------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        lock = self.layout.lock.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            where = running_environment(layout=self.layout).get("CARINA_BASE_URL", "")
            raise AlreadyRuns(
                f"A stack runs already with its state in {self.layout.var}{f', at {where}' if where else ''}. Stop that one first."
            ) from None
        self._lock = lock

    @property
    def developers_env(self) -> dict[str, str]:
        """The portal's environment, and with it the way to its database as the owner, for migrations by hand and for tests."""
        return {**self.env, "DATABASE_OWNER_URL": self._postgres.owner_url} if self._postgres else self.env

    def _write_environment(self) -> None:
        if self.incus is not None:
            self.env["CARINA_INCUS_SOCKET"] = str(self.incus.socket_path)
        write_private(path=self.layout.environment, content=json.dumps(self.developers_env, indent=1))


def running_environment(*, layout: Layout) -> dict[str, str]:
    """Return the environment of the stack that runs on this `var`, empty if none does."""
    try:
        with layout.lock.open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(layout.environment.read_text()))
    except OSError:
        pass
    return {}


def _check_port(*, listen: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen, port))
        except OSError as error:
            raise EmbeddedError(f"{listen}:{port} cannot be used ({error.strerror}). Another one: make run PORT={port + 1}") from error
