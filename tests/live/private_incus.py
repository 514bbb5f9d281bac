"""An Incus of its own inside network and mount namespaces of its own: a machine in a machine, whose firewall a test may break.

Nothing of it is visible outside but its folder: bridges, firewall rules and mounts end with the process that holds the namespaces.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.hosts.providers.incus.client import LocalTransport

ENVIRONMENT = ("CARINA_TEST_INCUS_SOCKET", "CARINA_TEST_INCUS_POOL", "CARINA_TEST_INCUS_IMAGE")
# A pytest that knows nothing of this project's settings and services.
ALONE = ("--noconftest", "-p", "no:django", "-p", "no:cacheprovider", "-c", os.devnull)
DAEMON = "/usr/libexec/incus/incusd"
# A new sysfs shows the new network's interfaces, but without the control groups that are mounted below the old one.
HOLD = """
set -e
mkdir -p "$1/cgroup"
mount --rbind /sys/fs/cgroup "$1/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$1/cgroup" /sys/fs/cgroup
ip link set lo up
echo held
exec sleep infinity
"""


class PrivateIncus:
    """A running private Incus. `enter` is the command prefix that runs a program in its network."""

    def __init__(self, *, folder: Path) -> None:
        self.folder = folder
        self.socket = str(folder / "unix.socket")
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", HOLD, "sh", str(folder)], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"held\n", "the namespaces could not be made"
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def enter(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]

    def run(self, *command: str) -> str:
        """Run a program of the machine inside; its output."""
        return subprocess.run([*self.enter, *command], check=True, capture_output=True, text=True, timeout=60).stdout

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        inside = ["nsenter", f"--target={self._holder.pid}", "--net", "--mount"]
        log = (self.folder / "incusd.log").open("ab")
        with log:
            self._daemon = subprocess.Popen(
                [*inside, DAEMON, "--group", "root"],
                env={**os.environ, "INCUS_DIR": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                self.request("GET", "/internal/ready")
            except (httpx.HTTPError, AssertionError):
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"incusd did not start: {(self.folder / 'incusd.log').read_text()[-2000:]}")

    def stop(self) -> float:
        """Shut hosts and daemon down as a machine does; the seconds it took."""
        assert self._daemon is not None
        began = time.monotonic()
        self._daemon.send_signal(signal.SIGPWR)
        self._daemon.wait(timeout=90)
        self._daemon = None
        return time.monotonic() - began

    def kill(self) -> None:
        """End the daemon in the middle of whatever it does; its hosts run on."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()
        self._daemon = None

    def close(self) -> None:
        """End everything."""
        if self._daemon is not None:
            self.stop()
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    def request(self, method: str, path: str, **request: Any) -> Any:
        """One request, waited for; its metadata."""
        with httpx.Client(transport=LocalTransport(path=self.socket), base_url="http://incus", timeout=120) as client:
            answer = client.request(method, path, **request).json()
            assert answer["type"] != "error", answer["error"]
            if answer["type"] == "async":
                answer = client.get(f"{answer['operation']}/wait").json()
                assert answer["type"] != "error", answer["error"]
                assert answer["metadata"]["status_code"] == 200, answer["metadata"]["err"]
            return answer["metadata"]

    def copy_image(self, *, source: str, alias: str) -> None:
        """Take the image `alias` over from the Incus behind the socket `source`, as a stream."""
        with (
            httpx.Client(transport=LocalTransport(path=source), base_url="http://incus", timeout=120) as theirs,
            httpx.Client(transport=LocalTransport(path=self.socket), base_url="http://incus", timeout=120) as ours,
        ):
            fingerprint = theirs.get(f"/1.0/images/aliases/{alias}").json()["metadata"]["target"]
            with theirs.stream("GET", f"/1.0/images/{fingerprint}/export") as export:
                headers = {"Content-Type": export.headers["Content-Type"]}
                answer = ours.post("/1.0/images", content=export.iter_raw(), headers=headers).json()
            assert answer["type"] == "async", answer
            done = ours.get(f"{answer['operation']}/wait").json()["metadata"]
            assert done["status_code"] == 200, done["err"]
            body = {"name": alias, "target": done["metadata"]["fingerprint"]}
            assert ours.post("/1.0/images/aliases", json=body).is_success


def incus_environment() -> tuple[str, str, str]:
    """Socket, pool and image of the Incus to test against; skips, naming what is missing."""
    missing = [name for name in ENVIRONMENT if not os.environ.get(name)]
    if missing:
        pytest.skip(f"No Incus to test against: set {', '.join(missing)}.")
    socket, pool, image = (os.environ[name] for name in ENVIRONMENT)
    return socket, pool, image


def run_inside_tests(*, incus: PrivateIncus, name: str, image: str) -> subprocess.CompletedProcess[str]:
    """Run the tests in the file `name` beside this one in the network of `incus`, against it."""
    file = Path(__file__).with_name(name)
    root = file.parents[2]
    about = dict(zip(ENVIRONMENT, (incus.socket, "own", image), strict=True))
    return subprocess.run(
        [*incus.enter, sys.executable, "-m", "pytest", "-q", *ALONE, "--rootdir", str(root), str(file)],
        cwd=root,
        env={**os.environ, **about, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@contextmanager
def private_incus(*, source: str, image: str, pool: str) -> Iterator[PrivateIncus]:
    """A private Incus with a btrfs pool and the node image of the Incus behind `source`; gone afterwards."""
    if os.geteuid() != 0 or not Path(DAEMON).exists():
        pytest.skip(f"A private Incus needs root and {DAEMON}.")
    folder = Path(tempfile.mkdtemp(prefix="incus-", dir="/var/tmp"))
    incus = PrivateIncus(folder=folder)
    try:
        incus.start()
        incus.request("POST", "/1.0/storage-pools", json={"name": pool, "driver": "btrfs", "config": {"size": "8GiB"}})
        incus.copy_image(source=source, alias=image)
        yield incus
    finally:
        incus.close()
        shutil.rmtree(folder)
