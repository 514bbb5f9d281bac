"""What tests use beside Python: a browser, shells people source our scripts in, the real docker client, a PDF reader, a real OpenStack."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from carina_portal.embedded import machine
from carina_portal.embedded.layout import ROOT, EmbeddedError, is_root, programs_dir
from carina_portal.embedded.terminal import Terminal

PROGRAMS = {
    "chromium": "chromium",
    "zsh": "zsh",
    "fish": "fish",
    "busybox": "busybox",
    "dash": "dash",
    "unzip": "unzip",
    "openssl": "openssl",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ps": "procps",
    "git": "git",
    "pdftotext": "poppler-utils",
}


def install(*, terminal: Terminal) -> int:
    """Install what is missing as far as that is possible here, and name what is not: tests that need it are skipped by name."""
    log = ROOT / "var" / "test-tools.log"
    log.parent.mkdir(exist_ok=True)
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing and is_root():
        with terminal.step(f"Installing {', '.join(missing)}") as step:
            for package in missing:  # one by one: a release that lacks one may have the others
                try:
                    machine.install_packages(packages=[package], log=log, step=step)
                except EmbeddedError as error:
                    terminal.say(f"    {error}")
    if not shutil.which("docker") and not (programs_dir() / "docker").exists():
        with terminal.step("Fetching the docker client"):
            try:
                _fetch_docker_client(log=log)
            except EmbeddedError as error:
                terminal.say(f"    {error}")
    for program in [*PROGRAMS, "docker"]:
        if not shutil.which(program, path=f"{os.environ.get('PATH', '')}:{programs_dir()}"):
            terminal.say(f"  {program} is not here and could not be installed: the tests that need it are skipped and say so.")
    # The tests know what their OpenStack needs, and say what of it cannot be had here.
    return subprocess.run([sys.executable, "-m", "tests.live.openstack.lab", "--install"], cwd=ROOT, check=False).returncode


def _fetch_docker_client(*, log: Path) -> None:
    """Unpack the distribution's client without installing its package, which on some releases would start an engine on this machine.

    Raises EmbeddedError where apt has none.
    """
    package = next((name for name in ("docker-cli", "docker.io") if _known(name)), "")
    if not package:
        raise EmbeddedError("This machine's apt knows no docker client (docker-cli or docker.io).")
    programs_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=programs_dir()) as folder, log.open("ab") as output:
        if subprocess.run(["apt-get", "--quiet", "download", package], cwd=folder, stdout=output, stderr=output, check=False).returncode:
            raise EmbeddedError(f"The docker client could not be fetched; see {log}.")
        archive = next(Path(folder).glob("*.deb"))
        if subprocess.run(["dpkg-deb", "--extract", str(archive), f"{folder}/tree"], stdout=output, stderr=output, check=False).returncode:
            raise EmbeddedError(f"The package of the docker client could not be unpacked; see {log}.")
        (Path(folder) / "tree/usr/bin/docker").replace(programs_dir() / "docker")


def _known(package: str) -> bool:
    if not shutil.which("apt-cache"):
        return False
    found = subprocess.run(["apt-cache", "show", "--no-all-versions", package], capture_output=True, text=True, check=False)
    return found.returncode == 0 and "\nFilename:" in found.stdout
