"""Starting and ending processes so that none outlives the stack, not even one that is killed."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from carina_portal.embedded.layout import EmbeddedError

GROUP_SECONDS = 2.0
LOG_MAX_BYTES = 10_000_000

# The kernel sends the parent-death signal when the *thread* that started the child ends (PR_SET_PDEATHSIG in prctl(2)),
# so every child is started by one thread that lives as long as this process.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")


class ProcessFailed(EmbeddedError):
    """A program that should have succeeded did not; the sentence ends with the last lines it wrote."""


def spawn(
    *,
    argv: Sequence[str],
    log: IO[bytes] | int,
    env: Mapping[str, str],
    death_signal: str = "TERM",
    user: str = "",
    cwd: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own; it gets `death_signal` if this process dies without stopping it.

    `user` is the system user it runs as (root only). Raises FileNotFoundError when util-linux is missing.
    """
    switch = ["--reuid", user, "--regid", user, "--clear-groups"] if user else []
    wrapped = ["setpriv", "--pdeathsig", death_signal, *switch, "--", *argv]

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            wrapped, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=dict(env), cwd=cwd, start_new_session=True
        )

    return _starter.submit(start).result()


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending; one that has grown too large becomes `<name>.1` first."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_MAX_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
    return os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab")


def tail(path: Path, *, lines: int = 8) -> str:
    """Return the last lines of a log, indented, or an empty text."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8000))
        return "\n".join(f"    {line}" for line in file.read().decode(errors="replace").splitlines()[-lines:])
    return ""


def run(
    *, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, user: str = "", cwd: Path | None = None, what: str = ""
) -> None:
    """Run a program to its end, its output in `log`; raises ProcessFailed. When this is interrupted, so is the program."""
    with open_log(log) as output:
        child = spawn(argv=argv, log=output, env=os.environ if env is None else env, user=user, cwd=cwd)
        try:
            status = child.wait()
        finally:
            end(child=child, grace=10)
    if status:
        raise ProcessFailed(f"{what or argv[0]} failed with status {status}; {log} ends with:\n{tail(log)}")


def end(*, child: "subprocess.Popen[bytes]", grace: float, first: signal.Signals = signal.SIGTERM) -> None:
    """Ask the process to end, wait up to `grace` seconds, then kill its whole group."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)
    kill_group(child=child)


def kill_group(*, child: "subprocess.Popen[bytes]") -> None:
    """Kill the process and everything in its group at once (kill -9)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    # The leader is gone; the others hold its port until the kernel has taken them down, too.
    deadline = time.monotonic() + GROUP_SECONDS
    while time.monotonic() < deadline and _group_lives(child.pid):
        time.sleep(0.01)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class Child:
    """A long-running program of the stack, which can be started, ended, killed and started again."""

    def __init__(
        self,
        *,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        user: str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 5,
        cwd: Path | None = None,
    ) -> None:
        self.name, self.argv, self.env, self.log, self.user = name, list(argv), dict(env), log, user
        self.stop_signal, self.grace, self.cwd = stop_signal, grace, cwd
        self.wanted = False
        self.process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._started = self._retry_at = 0.0

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process id, 0 if it does not run."""
        return self.process.pid if self.process and self.alive else 0

    def start(self) -> None:
        """Start it; nothing happens if it runs."""
        self.wanted = True
        if self.alive:
            return
        with open_log(self.log) as output:
            self.process = spawn(
                argv=self.argv,
                log=output,
                env=self.env,
                user=self.user,
                death_signal=self.stop_signal.name.removeprefix("SIG"),
                cwd=self.cwd,
            )
        self._started = time.monotonic()

    def stop(self) -> None:
        """End it and everything in its process group; nothing happens if it does not run."""
        self.wanted = False
        if self.process is not None:
            end(child=self.process, grace=self.grace, first=self.stop_signal)

    def ask_to_stop(self) -> None:
        """Send the signal and do not wait, so that several children can end at the same time; `stop` follows."""
        self.wanted = False
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)

    def kill(self) -> None:
        """Kill it with its whole group (kill -9) and leave it dead."""
        self.wanted = False
        if self.process is not None:
            kill_group(child=self.process)

    def tend(self, *, now: float) -> str:
        """Start it again if it died, later each time it dies young; return a sentence about what happened, or an empty text."""
        if not self.wanted or self.alive or self.process is None:
            return ""
        if not self._retry_at:
            kill_group(child=self.process)  # what it may have left behind in its group
            self._failures = 0 if now - self._started > 60 else self._failures + 1  # noqa: PLR2004 - a minute of life is a good start
            delay = min(30.0, 0.5 * 2**self._failures)
            self._retry_at = now + delay
            return f"{self.name} ended with status {self.process.returncode}; starting it again in {delay:.0f} s. Its log is {self.log}."
        if now >= self._retry_at:
            self._retry_at = 0.0
            self.start()
            return f"{self.name} started again"
        return ""
