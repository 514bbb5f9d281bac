"""The Incus that local hosts live on: the machine's own where a service manager runs it, else a private one under `var/incus`.

Nothing of an Incus that is already there is changed: what is ours is a storage pool, an image, and projects for tenants.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from carina_portal.embedded import machine, process
from carina_portal.embedded.incus_api import IncusApi, IncusRefused
from carina_portal.embedded.keys import ensure_keys
from carina_portal.embedded.layout import EmbeddedError, Layout, is_root
from carina_portal.embedded.terminal import Step, Terminal

POOL = "carina"
DIRECTORY_POOL = "carina-dir"
_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
START_SECONDS = 90.0
NAMESPACE_SECONDS = 10.0
STOP_SECONDS = 60.0
DETACH_SECONDS = 10.0
POOL_MAX_GIB, POOL_MIN_GIB = 200, 8

NO_ROOT = (
    "No local hosts: making them needs root, and this is not root. The portal runs all the same.\n"
    '    To add a cloud of yours: make manage ARGS="add_cloud --help"\n'
    "    To have local hosts: run it as root."
)


class NoLocalHosts(EmbeddedError):
    """This machine cannot give hosts; `str()` says why and what to do. The portal runs without."""


class Incus:
    """The server of local hosts: `start`, `wait`, `ensure_pool`; then `socket_path` and `pool` tell the portal where hosts come from."""

    def __init__(self, *, layout: Layout, pool_driver: str = "") -> None:
        self._layout = layout
        self.private = not machine.service_manager()
        self.pool_driver = pool_driver
        self.pool = DIRECTORY_POOL if pool_driver == "dir" else POOL
        # As the daemon sees it; hosts' users must be able to walk down to it, and sockets in it must not have long paths. It is known
        # by the installation, not by the path of the clone: the daemon writes it down, and a clone may be moved.
        self.directory = layout.run.parent / f"incus-{ensure_keys(layout=layout).installation}" if self.private else Path("/var/lib/incus")
        self.api = IncusApi(socket_path=self.socket_path)
        self._log = layout.logs / "incus.log"
        self.child: process.Child | None = None
        self._mounts: process.Child | None = None

    @property
    def socket_path(self) -> Path:
        """Where the server's REST API answers."""
        return (self._layout.run / "incus" if self.private else self.directory) / "unix.socket"

    def prepare(self, *, terminal: Terminal) -> None:
        """Install what is missing and set the machine up; raises NoLocalHosts."""
        if not is_root():
            raise NoLocalHosts(NO_ROOT)
        machine.ensure_subordinate_ids()
        if packages := machine.missing_packages():
            with terminal.step(f"Installing {', '.join(packages)}") as step:
                try:
                    machine.install_packages(packages=packages, log=self._layout.logs / "apt.log", step=step)
                except EmbeddedError as error:
                    raise NoLocalHosts(f"No local hosts: {error}") from error
        machine.prepare_kernel()

    def start(self) -> None:
        """Start the server and return at once. A private one that a killed stack left behind is ended first."""
        if not self.private:
            subprocess.run(["systemctl", "start", "incus.socket", "incus.service"], capture_output=True, check=False)
            return
        daemon = machine.incus_daemon()
        if daemon is None:
            raise NoLocalHosts("No local hosts: the Incus daemon is not where the distribution's packages put it.")
        self._layout.incus.mkdir(mode=0o711, exist_ok=True)
        self.directory.mkdir(mode=0o711, exist_ok=True)
        link = self._layout.run / "incus"
        link.unlink(missing_ok=True)
        link.symlink_to(self._layout.incus)
        self._end_leftovers()
        env = {**_ENV, "INCUS_DIR": str(self.directory)}
        # SIGPWR is "the machine goes down": the daemon stops its hosts, remembers that they ran, and takes down networks and mounts.
        self.child = process.Child(
            name="Incus",
            argv=["nsenter", f"--mount=/proc/{self._mount_namespace()}/ns/mnt", "--", str(daemon), "--group", "root"],
            env=env,
            log=self._log,
            stop_signal=signal.SIGPWR,
            grace=STOP_SECONDS,
            cwd=Path("/"),
        )
        self.child.start()

    def _mount_namespace(self) -> int:
        """Return the id of a process that holds a mount namespace for the daemon, so that a daemon started again finds its mounts.

        In it, `var/incus` is also seen at `directory`. In the machine's own namespace our pool would be copied into every host that
        another Incus starts there, which keeps it busy after we are gone; and mounts would stay behind when we are killed.
        """
        if self._mounts is None:
            places = [str(self._layout.incus), str(self.directory)]
            script = ["sh", "-c", 'mount --bind "$1" "$2" && exec sleep infinity', "sh", *places]
            hold = ["unshare", "--mount", "--propagation", "slave", "--", *script]
            self._mounts = process.Child(name="Incus' mounts", argv=hold, env=_ENV, log=self._log, stop_signal=signal.SIGKILL)
            self._mounts.start()
        deadline = time.monotonic() + NAMESPACE_SECONDS
        while f" {self.directory} " not in _text(Path(f"/proc/{self._mounts.pid}/mountinfo")):
            if not self._mounts.alive or time.monotonic() > deadline:
                raise NoLocalHosts(f"No local hosts: mounts are not allowed here; {self._log} ends with:\n{process.tail(self._log)}")
            time.sleep(0.005)
        return self._mounts.pid

    def wait(self) -> None:
        """Return once the server has come up; hosts that ran before come back in the background. Raises NoLocalHosts."""
        deadline = time.monotonic() + START_SECONDS
        while not self.api.ready():
            dead = self.child is not None and not self.child.alive
            if dead or time.monotonic() > deadline:
                last = f"; {self._log} ends with:\n{process.tail(self._log)}" if self.private else ": systemctl status incus says why."
                raise NoLocalHosts(f"No local hosts: Incus does not start{last}")
            time.sleep(0.05)

    def ensure_pool(self, *, step: Step) -> str:
        """Make our storage pool if it is not there; return a sentence if it cannot hold hosts to their disk sizes, else an empty text."""
        found = self.api.find(f"storage-pools/{self.pool}")
        if found is None:
            failure = self._make_pool(step=step)
            found = self.api.call("GET", f"storage-pools/{self.pool}")
            if failure:
                return f"Hosts' disks are plain directories, so their sizes are not enforced and making a host is slower: {failure}"
        if found["status"] == "Unavailable":
            raise NoLocalHosts(
                f"No local hosts: Incus cannot use the storage pool {self.pool}; {self._log} says why:\n{process.tail(self._log)}"
            )
        self.pool_driver = str(found["driver"])
        if self.pool_driver == "dir":
            return "Hosts' disks are plain directories, so their sizes are not enforced and making a host is slower."
        return ""

    def _make_pool(self, *, step: Step) -> str:
        failure = ""
        if self.pool_driver != "dir":
            step.detail("making a btrfs pool")
            place = self._layout.var if self.private else Path("/var/lib/incus")
            free_gib = shutil.disk_usage(place).free // 2**30
            size = min(POOL_MAX_GIB, free_gib * 3 // 4)
            if size < POOL_MIN_GIB:
                failure = f"only {free_gib} GiB are free in {place}."
            else:
                try:
                    self.api.call("POST", "storage-pools", {"name": self.pool, "driver": "btrfs", "config": {"size": f"{size}GiB"}})
                except IncusRefused as error:
                    failure = str(error)
                else:
                    return ""
        self.api.call("POST", "storage-pools", {"name": self.pool, "driver": "dir", "config": {}})
        return failure

    def stop(self) -> None:
        """Stop a private server with its hosts and take away its processes and mounts; the machine's own server is left alone."""
        if self.child is None:
            return
        if self.child.wanted:
            self.child.ask_to_stop()
        if self.child.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.process.wait(STOP_SECONDS)
            process.kill_group(child=self.child.process)
        self._end_leftovers()
        if self._mounts is not None:
            self._mounts.stop()
        with contextlib.suppress(OSError):
            self.directory.rmdir()  # empty here: it was the place of a mount
        self._wait_for_detach()

    def ask_to_stop(self) -> None:
        """Begin to stop a private server, so that other things can end meanwhile; `stop` follows."""
        if self.child is not None:
            self.child.ask_to_stop()

    def _end_leftovers(self) -> None:
        """End what a killed daemon left behind: first the daemon, in good order, then monitors of hosts, name servers and mounts."""
        deadline = time.monotonic() + STOP_SECONDS
        for pid in self._processes("incusd", by_environment=True):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGPWR)
        while self._processes("incusd", by_environment=True) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in [*self._processes("incusd"), *self._processes("dnsmasq")]:
            for victim in [*_children(pid), pid]:  # the first process of a host is its monitor's child
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)

    def _processes(self, program: str, *, by_environment: bool = False) -> list[int]:
        """Return the ids of processes of `program` that name our directory, in their arguments or as INCUS_DIR.

        The daemon is known by its environment, the monitors of hosts and name servers (which may have none) by their arguments.
        """
        found = []
        names = {str(self.directory), str(self._layout.incus)}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if entry.joinpath("exe").readlink().name.removesuffix(" (deleted)") != program:
                    continue
                arguments, environment = _text(entry / "cmdline"), f"\0{_text(entry / 'environ')}"
                if by_environment:
                    named = "--group" in arguments and any(f"\0INCUS_DIR={name}\0" in environment for name in names)
                else:
                    named = any(f"{name}/" in arguments for name in names)
                if named:
                    found.append(int(entry.name))
        return found

    def _wait_for_detach(self) -> None:
        """Return when the kernel has let go of our pool's loop device: a server started before that would find its file system busy."""
        deadline = time.monotonic() + DETACH_SECONDS
        while self._loop_devices() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _loop_devices(self) -> list[str]:
        found = []
        for file in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                name = file.read_text().strip()
                found += [name] if name.startswith((f"{self._layout.incus}/", f"{self.directory}/")) else []
        return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _text(path: Path) -> str:
    """Return the file's text, empty if it cannot be read (a process that has ended)."""
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""
