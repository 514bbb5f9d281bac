"""`make run` with real hosts: it serves again within seconds, leaves nothing behind, and hosts come back by themselves."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from carina_portal.embedded.image import ALIAS
from carina_portal.embedded.incus_api import IncusApi
from carina_portal.embedded.layout import ROOT, Layout, is_root
from carina_portal.embedded.machine import service_manager

pytestmark = [
    pytest.mark.skipif(not is_root(), reason="a private Incus needs root"),
    pytest.mark.skipif(service_manager(), reason="where systemd runs, the machine's own Incus is used, which a portal never stops"),
    pytest.mark.timeout(600),
]
HOST = "kept"
SECONDS_TO_SERVE_AGAIN = 8.0


class Run:
    """`python -m carina_portal.embedded run`, which `make run` ends in, with its state in a directory only root may enter."""

    def __init__(self, var: Path) -> None:
        self.layout = Layout(var)
        self.api = IncusApi(socket_path=self.layout.run / "incus" / "unix.socket")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and return after how many seconds it served; return once it says that it is ready."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("CARINA_")}
        out = self.layout.var.with_name("out")
        begun = time.monotonic()
        with out.open("wb") as file:
            argv = [sys.executable, "-m", "carina_portal.embedded", "run"]
            env |= {"CARINA_VAR": str(self.layout.var), "PORT": str(self.port)}
            self.process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT)
        while not self.serves():
            assert self.process.poll() is None, out.read_text()
            time.sleep(0.05)
        served = time.monotonic() - begun
        while b"Carina serves on" not in out.read_bytes():
            assert self.process.poll() is None, out.read_text()
            time.sleep(0.05)
        return served

    def serves(self) -> bool:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection, contextlib.suppress(OSError):
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        return False

    def end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(120)

    def left(self) -> list[str]:
        """Return every process and mount of ours that there is."""
        marks = [str(self.layout.var), str(self.layout.run), f"incus-{(self.layout.secrets / 'installation').read_text()}", f":{self.port}"]
        found = Path("/proc/self/mountinfo").read_text().splitlines()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    found.append((entry / "cmdline").read_text(errors="replace").replace("\0", " "))
        for device in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                found.append(device.read_text())
        return [line for line in found if any(mark in line for mark in marks)]

    def wait_for_host(self) -> None:
        deadline = time.monotonic() + 60
        while self.api.call("GET", f"instances/{HOST}/state")["status"] != "Running":
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path / "var")
    yield made
    made.end(signal.SIGTERM)


def test_a_stack_with_a_host_stops_without_a_trace_serves_again_in_seconds_and_its_host_is_back(run: Run) -> None:
    run.start()
    root = {"type": "disk", "path": "/", "pool": "carina"}
    config = {"security.nesting": "true", "security.idmap.isolated": "true"}
    source = {"type": "image", "alias": ALIAS}
    run.api.call(
        "POST",
        "instances",
        {"name": HOST, "type": "container", "source": source, "profiles": [], "config": config, "devices": {"root": root}},
    )
    run.api.call("PUT", f"instances/{HOST}/state", {"action": "start", "timeout": 30})
    run.wait_for_host()
    properties = run.api.call("GET", f"images/{run.api.call('GET', f'images/aliases/{ALIAS}')['target']}")["properties"]
    assert properties["carina.coe"] == "swarm"
    assert properties["carina.coe_version"].split(".")[0].isdigit()

    run.end(signal.SIGINT)
    assert run.left() == []

    assert run.start() < SECONDS_TO_SERVE_AGAIN
    run.wait_for_host()

    run.end(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while left := run.left():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)

    run.start()
    run.wait_for_host()
