"""Where the local stack keeps what: one `var/` for each clone, and a short private directory for sockets."""

import hashlib
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
"""The clone."""

SOCKET_PATH_MAX = 107
"""Longest path of a unix socket (sun_path of unix(7), less its closing zero byte)."""


class EmbeddedError(Exception):
    """The local stack cannot be started here; `str()` says why and what to do."""


def is_root() -> bool:
    """Whether this process may do what only root may."""
    return os.geteuid() == 0


def cache_dir() -> Path:
    """Return the user's own cache directory of Carina, shared by all clones."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "carina"


def programs_dir() -> Path:
    """Return where programs lie that tests need and that should not be installed for the whole machine."""
    return cache_dir() / "bin"


@dataclass(frozen=True)
class Layout:
    """The files and directories of one stack. Two stacks share nothing but the cache as long as `var` differs."""

    var: Path

    @cached_property
    def identity(self) -> str:
        """Eight hex digits that tell this `var` from every other one on the machine."""
        return hashlib.sha256(str(self.var).encode()).hexdigest()[:8]

    @cached_property
    def run(self) -> Path:
        """The directory for sockets: short, because a clone's own path may be longer than a socket's path can be, and ours alone."""
        if is_root():
            base = Path("/run/carina")
        elif (session := os.environ.get("XDG_RUNTIME_DIR")) and len(session) < SOCKET_PATH_MAX // 2 and os.access(session, os.W_OK):
            base = Path(session) / "carina"
        else:
            base = Path(f"/tmp/carina-{os.getuid()}")  # noqa: S108 - `create` refuses a directory of somebody else
        return base / self.identity

    @property
    def secrets(self) -> Path:
        """What `keys` generates; 0700."""
        return self.var / "secrets"

    @property
    def logs(self) -> Path:
        """One log for each program."""
        return self.var / "log"

    @property
    def mail(self) -> Path:
        """Mails the portal would have sent; they hold links that sign in, so 0700."""
        return self.var / "mail"

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.var / "postgres"

    @property
    def redis(self) -> Path:
        """Configuration of Redis, which stores nothing."""
        return self.var / "redis"

    @property
    def incus(self) -> Path:
        """State of a private Incus, with its hosts' disks."""
        return self.var / "incus"

    @property
    def lock(self) -> Path:
        """Locked by the stack that runs."""
        return self.var / "stack.lock"

    @property
    def environment(self) -> Path:
        """The environment of the running stack as JSON; it holds passwords."""
        return self.var / "env.json"

    @property
    def stamps(self) -> Path:
        """What was done already, see `portal.Stamps`."""
        return self.var / "stamps.json"

    @property
    def demo_password(self) -> Path:
        """Written by the seed command, 0600."""
        return self.var / "demo-password"

    def create(self) -> None:
        """Make the directories; raises EmbeddedError if the one for sockets belongs to somebody else."""
        for path in (self.var, self.logs, self.mail):
            path.mkdir(parents=True, exist_ok=True)
        for path in (self.mail, self.secrets, self.redis):
            path.mkdir(mode=0o700, exist_ok=True)
            path.chmod(0o700)
        for path in (self.run.parent, self.run):
            # PostgreSQL may run as another user than we do: it must be able to enter, not to list.
            path.mkdir(mode=0o711, exist_ok=True)
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise EmbeddedError(f"{path} belongs to another user, so sockets are not safe there. Remove it, or set XDG_RUNTIME_DIR.")
            path.chmod(0o711 if is_root() else 0o700)


def write_private(*, path: Path, content: str) -> None:
    """Replace the file at once by `content`, readable by its owner only from the first moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(content)
    temporary.replace(path)
