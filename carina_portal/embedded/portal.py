"""The portal itself as the stack runs it: its environment, what is done before it serves, and its three programs."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from carina_portal.embedded import process
from carina_portal.embedded.keys import Keys
from carina_portal.embedded.layout import ROOT, Layout, programs_dir, write_private
from carina_portal.embedded.postgres import PORTAL_ROLE

WEB_PROCESSES, WEB_THREADS, WORKER_THREADS = 2, 8, 16


def environment(*, layout: Layout, keys: Keys, database_url: str, redis_url: str, listen: str, port: int) -> dict[str, str]:
    """Return what the settings read. What an operator may choose is taken from the environment of `make run` where it is set there."""
    # A stack started from within another one (tests are) must not take that one's address for its own.
    chosen = {} if os.environ.get("CARINA_EMBEDDED") == "1" else os.environ
    hosts = ["127.0.0.1", "localhost", *filter(None, [listen, os.environ.get("CARINA_PUBLIC_ADDRESS", "")])]
    return {
        "DJANGO_SETTINGS_MODULE": "carina_portal.settings",
        "DATABASE_URL": database_url,
        "CARINA_DATABASE_ROLE": PORTAL_ROLE,
        "REDIS_URL": redis_url,
        "CARINA_SECRET_KEY_FILE": str(keys.secret_key_file),
        "CARINA_VAULT_KEYS_FILE": str(keys.vault_keys_file),
        "CARINA_TOKEN_PEPPERS_FILE": str(keys.token_peppers_file),
        "CARINA_INSTALLATION": keys.installation,
        "CARINA_VAR": str(layout.var),
        "CARINA_MAIL_DIR": str(layout.mail),
        "CARINA_EMBEDDED": "1",
        "CARINA_BASE_URL": chosen.get("CARINA_BASE_URL", f"http://127.0.0.1:{port}"),
        "CARINA_ALLOWED_HOSTS": chosen.get("CARINA_ALLOWED_HOSTS", ",".join(dict.fromkeys(hosts))),
    }


def full_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with the stack's own on top, for programs of the portal and commands of developers."""
    path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{programs_dir()}"
    return {**os.environ, "PATH": path, **additions}


def children(*, layout: Layout, env: Mapping[str, str], listen: str, port: int) -> dict[str, process.Child]:
    """Return web, worker and beat, not started. They run without a terminal and write to `var/log`."""
    python = sys.executable
    # An idle connection costs gthread no thread, and clients and reverse proxies close theirs sooner than this: closed by the server
    # (after 2 s by default), one of them would now and then send its request into the closing, and get no answer.
    web = ["-m", "gunicorn", "carina_portal.wsgi:application", "--bind", f"{listen}:{port}", "--preload", "--no-control-socket"]
    web += [
        "--worker-class",
        "gthread",
        "--workers",
        str(WEB_PROCESSES),
        "--threads",
        str(WEB_THREADS),
        "--graceful-timeout",
        "3",
        "--timeout",
        "60",
        "--keep-alive",
        "75",
    ]
    # What a worker does is wait for clouds and engines, so threads serve it well, and share one interpreter's memory.
    worker = ["-m", "celery", "--app", "carina_portal", "worker", "--pool", "threads", "--concurrency", str(WORKER_THREADS)]
    worker += ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    beat = [
        "-m",
        "celery",
        "--app",
        "carina_portal",
        "beat",
        "--schedule",
        str(layout.var / "beat-schedule"),
        "--pidfile=",
        "--loglevel",
        "INFO",
    ]
    programs = {"web": web, "worker": worker, "beat": beat}
    everything = full_environment(env)
    everything.pop("DATABASE_OWNER_URL", None)  # where a stack is started from within another's environment
    return {
        name: process.Child(name=name, argv=[python, *argv], env=everything, log=layout.logs / f"{name}.log", grace=4, cwd=ROOT)
        for name, argv in programs.items()
    }


def manage(*arguments: str, layout: Layout, env: Mapping[str, str]) -> None:
    """Run a management command, its output in `var/log/manage.log`; raises ProcessFailed with its last lines."""
    argv = [sys.executable, str(ROOT / "manage.py"), *arguments]
    process.run(argv=argv, log=layout.logs / "manage.log", env=full_environment(env), cwd=ROOT, what=f"manage.py {arguments[0]}")


class Stamps:
    """What was done already, so that it is not done again: each name with a hash of what it was done from."""

    def __init__(self, *, layout: Layout) -> None:
        self._path = layout.stamps
        try:
            self._known: dict[str, str] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            self._known = {}

    def fits(self, name: str, content: str) -> bool:
        """Whether `name` was done from exactly this content."""
        return self._known.get(name) == content

    def set(self, name: str, content: str) -> None:
        """Remember that `name` was done from this content."""
        self._known[name] = content
        write_private(path=self._path, content=json.dumps(self._known))


def hash_of(paths: Iterable[Path], *extra: str) -> str:
    """Return a hash over the files' names and contents and the extra texts."""
    digest = hashlib.sha256("\0".join(extra).encode())
    for path in sorted(paths):
        digest.update(f"\0{path}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def code_files() -> list[Path]:
    """Return all Python files of the portal."""
    return [path for folder in ("apps", "carina_portal") for path in (ROOT / folder).rglob("*.py")]


def migration_files() -> list[Path]:
    """Return those that change the database's schema."""
    return [path for path in code_files() if path.parent.name == "migrations"]


def static_files() -> list[Path]:
    """Return what is served to browsers as it is."""
    return [path for folder in [ROOT / "static", *(ROOT / "apps").glob("*/static")] for path in folder.rglob("*") if path.is_file()]


def packages_mark() -> str:
    """Return a text that changes when the portal runs on other packages."""
    return hashlib.sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()
