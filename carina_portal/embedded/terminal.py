"""What the person in front of the terminal sees: the name of each step while it runs, and how long it has been running."""

import os
import shutil
import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

PATIENCE = 2.0
"""Seconds after which a step that still runs shows that it does."""

REPEAT = 5.0
"""Seconds between two such lines where there is no terminal that could rewrite one."""


class Terminal:
    """Prints steps and sentences; a `quiet` one prints nothing (tests read the logs instead)."""

    def __init__(self, *, quiet: bool = False, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.quiet = quiet
        self.live = not quiet and self.out.isatty() and os.environ.get("TERM") != "dumb"
        self._guard = threading.Lock()
        self._step: Step | None = None

    def step(self, name: str) -> "Step":
        """Return a context that names the step `name` while it runs."""
        return Step(terminal=self, name=name)

    def say(self, text: str) -> None:
        """Print a line, above the step that runs."""
        if self.quiet:
            return
        with self._guard:
            self._erase()
            print(text, file=self.out, flush=True)

    def rewrite(self, text: str) -> None:
        """Show `text` in the last line of a real terminal, in place of what stands there."""
        with self._guard:
            self._erase()
            print(text[: self._width()], end="", file=self.out, flush=True)

    def _erase(self) -> None:
        if self.live:
            print("\r\033[K", end="", file=self.out)

    @staticmethod
    def _width() -> int:
        return max(20, shutil.get_terminal_size(fallback=(100, 24)).columns - 1)


class Step:
    """One named step. `detail()` tells what it is at just now."""

    def __init__(self, *, terminal: Terminal, name: str) -> None:
        self._terminal = terminal
        self._name = name
        self._detail = ""
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name=f"step {name}", daemon=True)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._started

    def detail(self, text: str) -> None:
        """Say what the step is at; shown once it takes long."""
        self._detail = text

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self._terminal.live:
            self._terminal.rewrite(f"  … {self._name}")
        else:
            self._terminal.say(f"  {self._name}")
        if not self._terminal.quiet:
            self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        if self._ticker.is_alive():
            self._ticker.join()
        took = f" ({self.seconds:.0f} s)" if self.seconds > PATIENCE else ""
        if self._terminal.live:
            self._terminal.say(f"  {'✗' if error else '✓'} {self._name}{took}")
        elif took:
            self._terminal.say(f"    {'failed' if error else 'done'} after {self.seconds:.0f} s")

    def _tick(self) -> None:
        pause = 0.5 if self._terminal.live else REPEAT
        while not self._ended.wait(PATIENCE if self.seconds < PATIENCE else pause):
            detail = f": {self._detail}" if self._detail else ""
            if self._terminal.live:
                self._terminal.rewrite(f"  … {self._name} {self.seconds:.0f} s{detail}")
            else:
                self._terminal.say(f"    … {self.seconds:.0f} s{detail}")
