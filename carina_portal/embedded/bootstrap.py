"""From a bare python3 to a virtualenv with everything in it. Run as a file by the machine's own Python: standard library only.

usage: python3 carina_portal/embedded/bootstrap.py requirements.txt [requirements-dev.txt]
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
LOG = ROOT / "var" / "install.log"
OLDEST_PYTHON = (3, 11)
QUIET_SECONDS, REPEAT_SECONDS = 2.0, 5.0


def main() -> int:
    """Bring the virtualenv in line with the requirements files; do nothing if it is. Return the exit status."""
    os.umask(0o022)  # the database's own system user must be able to read what is installed
    files = [ROOT / name for name in sys.argv[1:]]
    stamp = VENV / f".installed-{'-'.join(file.stem for file in files)}"
    wanted = hashlib.sha256(b"\0".join([sys.version.encode(), str(VENV).encode(), *(file.read_bytes() for file in files)])).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted and (VENV / "bin/python").exists():
        return 0
    if sys.version_info < OLDEST_PYTHON:
        print(f"Carina needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Name another: make run PYTHON=python3.12")
        return 1
    LOG.parent.mkdir(exist_ok=True)
    if not _works(VENV / "bin/python"):
        shutil.rmtree(VENV, ignore_errors=True)
        _step("Virtualenv", [sys.executable, "-m", "venv", str(VENV)], "If it names ensurepip, install it: apt-get install python3-venv")
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    for file in files:
        pip += ["--requirement", str(file)]
    _step(
        f"Packages of {' and '.join(file.name for file in files)}",
        pip,
        "Check that this machine reaches a Python package index, then try again.",
    )
    stamp.write_text(wanted)
    return 0


def _works(python: Path) -> bool:
    """Whether the virtualenv's Python starts and is of our own version; one that was moved or whose base is gone does not."""
    probe = "import sys, pip; print(sys.version)"
    found = subprocess.run([str(python), "-c", probe], capture_output=True, text=True, check=False) if python.exists() else None
    return found is not None and found.returncode == 0 and found.stdout.strip() == sys.version


def _step(name: str, argv: list[str], advice: str) -> None:
    """Run a program, saying every few seconds that it still runs; leave this process with its last lines if it fails."""
    print(f"  {name}", flush=True)
    started, said = time.monotonic(), time.monotonic() - REPEAT_SECONDS + QUIET_SECONDS
    with LOG.open("ab") as log, subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as child:
        while child.poll() is None:
            time.sleep(0.05)
            if time.monotonic() - said > REPEAT_SECONDS:
                said = time.monotonic()
                print(f"    … {said - started:.0f} s", flush=True)
    if child.returncode:
        lines = LOG.read_text(errors="replace").splitlines()[-12:]
        sys.exit(f"{name} failed; {LOG} ends with:\n" + "\n".join(f"    {line}" for line in lines) + f"\n{advice}")
    if time.monotonic() - started > QUIET_SECONDS:
        print(f"    done after {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
