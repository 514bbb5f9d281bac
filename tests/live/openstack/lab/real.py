"""Hypervisors that boot real instances: libvirt-lxc, and QEMU without KVM; each in namespaces of its own, with DHCP and metadata."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.live.openstack.lab import configs, services
from tests.live.openstack.lab.place import BRIDGE, NET_CIDR, NET_GATEWAY, NUMBER, Place, RealHost
from tests.live.openstack.lab.services import ENVIRONMENT, Service, program

HOSTS = (RealHost("real-lxc1", "real-lxc", "lxc"), RealHost("real-vm1", "real-vm", "qemu"))
FLAVOR = {"vcpus": 1, "ram": 1024, "disk": 4}
"""Of the flavors real-lxc and real-vm, each for the aggregate of its name."""

METADATA_PORT = 8775
CGROUPS = Path("/sys/fs/cgroup")
GONE_SECONDS = 5.0

LIBVIRTD_CONF = """\
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
log_filters = "3:remote 4:event 3:util.json 3:rpc"
log_outputs = "2:stderr"
"""
QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
user = "root"
group = "root"
namespaces = []
remember_owner = 0
dynamic_ownership = 0
"""


def why_impossible() -> str:
    """Return why this machine cannot run them, beside packages; an empty text if it can."""
    others = [path.name for path in Path("/sys/class/net").glob("carinaos*") if path.name != BRIDGE]
    if others:
        return f"real hypervisors of another test OpenStack use {NET_CIDR} on {others[0]}; one at a time can"
    if (CGROUPS / "cgroup.controllers").exists():
        return "libvirt-lxc of Debian 12 is tried here with control groups of version 1 only, and this machine has version 2 alone"
    return ""


class Real:
    """The real part of one lab."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._scripts = place.python / "carina_lab"

    def network(self) -> dict[str, Service]:
        """Make the bridge and return the services on it: DHCP, and the metadata that instances ask 169.254.169.254 for."""
        self._make_bridge()
        configs.write_metadata(place=self._place)
        configs.write(self._place.etc / "neutron" / "dhcp.ini", template="dhcp.ini", values={"bridge": BRIDGE})
        (self._place.state / "neutron" / "dhcp").mkdir(parents=True, exist_ok=True)
        files = [f"--config-file={self._place.etc}/neutron/{name}" for name in ("neutron.conf", "dhcp.ini")]
        dhcp = program(
            place=self._place,
            name="neutron-dhcp",
            argv=["/usr/bin/neutron-dhcp-agent", *files],
            env={"PYTHONPATH": str(self._place.python)},
        )
        metadata = services.web(
            place=self._place,
            name="nova-metadata",
            listen=f"{NET_GATEWAY}:{METADATA_PORT}",
            script="/usr/bin/nova-metadata-wsgi",
            env={"OS_NOVA_CONFIG_DIR": str(self._place.etc / "nova-metadata")},
            ready=lambda: services.answers_at(NET_GATEWAY, METADATA_PORT),
            processes=1,
            threads=1,
        )
        return {"neutron-dhcp": dhcp, "nova-metadata": metadata}

    def hold(self, host: RealHost) -> Service:
        """Return the process that holds a hypervisor's namespaces."""
        folder = self._folder(host.name)
        for name in ("run", "lib", "etc", "cache", "instances"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copytree("/etc/libvirt", folder / "etc", dirs_exist_ok=True, symlinks=True)
        for name, content in (("libvirtd.conf", LIBVIRTD_CONF), ("qemu.conf", QEMU_CONF), ("lxc.conf", 'security_driver = "none"\n')):
            (folder / "etc" / name).write_text(content)
        ready = folder / "ready"
        ready.unlink(missing_ok=True)
        argv = ["sh", str(self._scripts / "hold.sh"), host.name, str(folder), cgroup(host.name)]
        return program(place=self._place, name=f"namespaces-{host.name}", argv=argv, ready=ready.exists, grace=1)

    def libvirtd(self, host: RealHost, *, holder: int) -> Service:
        """Return a hypervisor's libvirtd; `holder` is the process that holds the namespaces."""
        socket = self._folder(host.name) / "run" / "libvirt-sock"
        socket.unlink(missing_ok=True)
        argv = [*self._enter(host.name, holder), "/usr/sbin/libvirtd", "-p", "/run/libvirt/libvirtd.pid"]
        return program(place=self._place, name=f"libvirtd-{host.name}", argv=argv, ready=socket.exists)

    def compute(self, host: RealHost, *, holder: int) -> Service:
        """Return a hypervisor's nova-compute."""
        own = self._place.etc / "nova" / f"compute-{host.name}.conf"
        values = {"host": host.name, "folder": str(self._folder(host.name)), "virt_type": host.virt_type}
        configs.write(own, template="compute-real.conf", values={**values, "cow": str(host.virt_type != "lxc").lower()})
        files = [f"--config-file={self._place.etc}/nova/compute.conf", f"--config-file={own}"]
        argv = [*self._enter(host.name, holder), "/usr/bin/nova-compute", *files]
        return program(place=self._place, name=f"nova-compute-{host.name}", argv=argv, words="Starting compute node")

    def clean(self) -> None:
        """End instances, DHCP servers and everything else that outlives its parents; remove bridge and firewall rules. Harmless twice."""
        folder = self._place.state / "hypervisors"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        for name in names:
            _end_cgroup(cgroup(name))
        self._end_dhcp()
        _detach_loops(folder)
        if names:
            self._remove_bridge()

    def _end_dhcp(self) -> None:
        served = self._place.state / "neutron" / "dhcp"
        for network in served.iterdir() if served.is_dir() else []:
            for pid in network.glob("pid"):
                with contextlib.suppress(ValueError, ProcessLookupError):
                    number = int(pid.read_text())
                    if str(network) in Path(f"/proc/{number}/cmdline").read_text():  # a pid file may be older than the process
                        os.kill(number, signal.SIGTERM)
                pid.unlink()
            subprocess.run(["ip", "netns", "delete", f"qdhcp-{network.name}"], capture_output=True, check=False)

    def _make_bridge(self) -> None:
        if not Path(f"/sys/class/net/{BRIDGE}").exists():
            length = NET_CIDR.split("/")[1]
            _ip("link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0")
            _ip("address", "add", f"{NET_GATEWAY}/{length}", "dev", BRIDGE)
            _ip("link", "set", BRIDGE, "up")
        for table, rule in _rules():
            firewall = ["iptables", "-w", "-t", table]
            if subprocess.run([*firewall, "-C", *rule], capture_output=True, check=False).returncode:
                subprocess.run([*firewall, "-I", *rule], check=True)

    def _remove_bridge(self) -> None:
        """Remove the bridge and every firewall rule that names it: ours, and those that nova-compute left in chains of its own."""
        for table in ("filter", "nat"):
            listed = subprocess.run(["iptables", "-w", "-t", table, "-S"], capture_output=True, text=True, check=False).stdout
            for rule in listed.splitlines():
                if rule.startswith("-A ") and f" {BRIDGE} " in f"{rule} ":
                    argv = ["iptables", "-w", "-t", table, "-D", *rule.split()[1:]]
                    subprocess.run(argv, capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)

    def _folder(self, host: str) -> Path:
        return self._place.state / "hypervisors" / host

    def _enter(self, host: str, holder: int) -> list[str]:
        return ["sh", str(self._scripts / "enter.sh"), cgroup(host), str(holder)]


def cgroup(host: str) -> str:
    """Return the name of a hypervisor's control groups."""
    return f"carina-openstack-{NUMBER}-{host}"


def _rules() -> list[tuple[str, list[str]]]:
    """Return table and rule: an engine on this machine may drop forwarded frames; the metadata service has an address of its own."""
    forward = [("filter", ["FORWARD", side, BRIDGE, "-j", "ACCEPT"]) for side in ("-i", "-o")]
    asked = ["PREROUTING", "-i", BRIDGE, "-d", "169.254.169.254", "-p", "tcp", "--dport", "80"]
    return [*forward, ("nat", [*asked, "-j", "DNAT", "--to-destination", f"{NET_GATEWAY}:{METADATA_PORT}"])]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _end_cgroup(name: str) -> None:
    """Kill everything in the control groups of a hypervisor, and remove them."""
    deadline = time.monotonic() + GONE_SECONDS
    while (pids := _members(name)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    for tree in CGROUPS.glob(f"*/{name}"):
        for folder, _, _ in os.walk(tree, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _members(name: str) -> set[int]:
    found: set[int] = set()
    for folder, _, _ in os.walk(CGROUPS / "pids" / name):
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split()}
    return found


def _detach_loops(folder: Path) -> None:
    """Detach the loop devices of containers that are gone."""
    argv = ["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"]
    for line in subprocess.run(argv, capture_output=True, text=True, check=False, env=ENVIRONMENT).stdout.splitlines():
        name, _, file = line.partition(" ")
        if file.strip().startswith(f"{folder}/"):
            subprocess.run(["losetup", "--detach", name], capture_output=True, check=False)
