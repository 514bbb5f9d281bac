"""Python inside the portal, from a process that stays: a test that looks into the database ten times need not load Django ten times."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from carina_portal.embedded.layout import ROOT

LOOP = """
import contextlib, io, json, os, sys, traceback
wire = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import django
django.setup()
from apps.common.scope import begin_system
begin_system("console")
from django.db import close_old_connections
for line in sys.stdin:
    printed, error = io.StringIO(), ""
    close_old_connections()
    try:
        with contextlib.redirect_stdout(printed):
            exec(json.loads(line), {})
    except BaseException:
        error = traceback.format_exc()
    wire.write(json.dumps([printed.getvalue(), error]) + "\\n")
    wire.flush()
"""
"""Its own messages go to the standard error, so that the wire carries answers only."""


class Console:
    """A Python with the portal's environment; started by the first call, ended by `close` or with this process's end of the pipe."""

    def __init__(self, *, env: Mapping[str, str], log: Path) -> None:
        self._env, self._log = env, log
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, code: str) -> str:
        """Carry out the code and return what it printed; raises RuntimeError with its traceback."""
        process = self._running()
        _pipe(process.stdin).write(json.dumps(code) + "\n")
        _pipe(process.stdin).flush()
        answer = _pipe(process.stdout).readline()
        if not answer:
            raise RuntimeError(f"The portal's console ended; {self._log} says why.")
        printed, error = json.loads(answer)
        if error:
            raise RuntimeError(f"{code[:200]} ->\n{printed[-2000:]}\n{error[-4000:]}")
        return str(printed)

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            _pipe(self._process.stdin).close()
            self._process.wait(timeout=20)
            _pipe(self._process.stdout).close()
            self._process = None

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", LOOP],
                    cwd=ROOT,
                    env=dict(self._env),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
        return self._process


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
