"""Commands of the local stack: run, services, exec."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from carina_portal.embedded import portal, testtools
from carina_portal.embedded.layout import ROOT, EmbeddedError, Layout
from carina_portal.embedded.process import Child
from carina_portal.embedded.stack import Stack, running_environment
from carina_portal.embedded.terminal import Terminal

TEND_SECONDS = 0.5
IMPORTANT = re.compile(
    r"\blevel=(warning|error|critical)\b|\[(warning|error|critical)\s*\]|\b(WARNING|ERROR|CRITICAL)\b|^\S*(Error|Exception)\b",
    re.IGNORECASE,
)


class StopRequested(Exception):
    """Ctrl-C, SIGTERM, or the terminal was closed."""


def main() -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m carina_portal.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start everything and serve until Ctrl-C")
    services = commands.add_parser(
        "services", help="start only PostgreSQL, Redis and Incus, until Ctrl-C; var/env.json tells how to reach them"
    )
    services.add_argument("--no-incus", action="store_true", help="leave local hosts out")
    execute = commands.add_parser(
        "exec", help="run a command in the stack's environment; starts PostgreSQL and Redis for its time if no stack runs"
    )
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    commands.add_parser("test-tools", help="install what the tests use beside Python: browser, shells, docker client")
    options = parser.parse_args()
    os.umask(0o022)
    try:
        var = Path(os.environ.get("CARINA_VAR") or ROOT / "var")
        if options.command == "exec":
            return _exec(layout=Layout(var.resolve()), argv=options.argv[1:] if options.argv[:1] == ["--"] else options.argv)
        if options.command == "test-tools":
            return testtools.install(terminal=Terminal())
        return _serve(var=var, whole=options.command == "run", incus=options.command == "run" or not options.no_incus)
    except EmbeddedError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


def _serve(*, var: Path, whole: bool, incus: bool) -> int:
    terminal = Terminal()
    stack = Stack(var=var, port=_port(), incus=incus, listen=os.environ.get("CARINA_LISTEN", "127.0.0.1"), terminal=terminal)
    _stop_on_signals()
    started = time.monotonic()
    try:
        if whole:
            stack.start()
            _welcome(stack=stack, seconds=time.monotonic() - started)
        else:
            stack.start_databases()
            stack.start_incus()
            terminal.say(f"Services run; their environment is in {stack.layout.environment}. Ctrl-C stops them.")
        _watch(stack=stack, terminal=terminal)
    except StopRequested:
        with terminal.step("Stopping (bays and data stay)"):
            stack.stop()
        return 0
    finally:
        stack.stop()


def _watch(*, stack: Stack, terminal: Terminal) -> NoReturn:
    """Keep the stack alive until a signal ends it, and show the important lines of its logs."""
    logs = {name: _Follower(child=child) for name, child in stack.children.items()}
    while True:
        for sentence in stack.tend():
            terminal.say(sentence)
        for name, follower in logs.items():
            for line in follower.important_lines():
                terminal.say(f"{name}: {line}")
        time.sleep(TEND_SECONDS)


class _Follower:
    """Reads what a child adds to its log."""

    def __init__(self, *, child: Child) -> None:
        self._path = child.log
        self._position = self._path.stat().st_size if self._path.exists() else 0

    def important_lines(self) -> list[str]:
        """Return new lines that a person should see; the rest stays in the log."""
        if not self._path.exists():
            return []
        if self._path.stat().st_size < self._position:
            self._position = 0
        with self._path.open("rb") as file:
            file.seek(self._position)
            new = file.read(200_000)
        whole = new[: new.rfind(b"\n") + 1]
        self._position += len(whole)
        return [line[:300] for line in whole.decode(errors="replace").splitlines() if IMPORTANT.search(line)]


def _welcome(*, stack: Stack, seconds: float) -> None:
    password = stack.layout.demo_password.read_text().strip() if stack.layout.demo_password.exists() else ""
    lines = ["", f"Carina serves on {stack.env['CARINA_BASE_URL']}  (ready after {seconds:.1f} s; Ctrl-C stops it)"]
    if password:
        lines.append(f"  Sign in as demo@example.com with the password {password}")
    if stack.no_hosts:
        lines.append('  No local hosts here; to add a cloud of yours: make manage ARGS="add_cloud --help"')
    lines.append(f"  Mails are kept in {stack.layout.mail}, logs in {stack.layout.logs}")
    stack.terminal.say("\n".join(lines))


def _exec(*, layout: Layout, argv: list[str]) -> int:
    if not argv:
        raise EmbeddedError("Say what to run: python -m carina_portal.embedded exec -- COMMAND")
    env = running_environment(layout=layout)
    if env:
        os.execvpe(argv[0], argv, portal.full_environment(env))
    stack = Stack(var=layout.var, port=_port(), incus=False)
    _stop_on_signals()
    try:
        stack.start_databases()
        # In the terminal's foreground group, so that a shell can read from it and Ctrl-C reaches it.
        return subprocess.run(argv, env=portal.full_environment(stack.developers_env), check=False).returncode
    except StopRequested:
        return 130
    except FileNotFoundError:
        raise EmbeddedError(f"There is no program {argv[0]}.") from None
    finally:
        stack.stop()


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:  # noqa: PLR2004 - ports are 16 bits
        raise EmbeddedError(f"PORT is {text!r}; write a number from 1 to 65535.")
    return int(text)


def _stop_on_signals() -> None:
    def request(_number: int, _frame: FrameType | None) -> None:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)  # stopping goes on undisturbed
        raise StopRequested

    signal.signal(signal.SIGINT, request)
    signal.signal(signal.SIGTERM, request)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup(1) asks to be left running when the terminal goes
        signal.signal(signal.SIGHUP, request)


if __name__ == "__main__":
    sys.exit(main())
