"""OpenStack from the distribution's packages: which ones, whether they are here, and installing them without starting anything."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from carina_portal.embedded import machine
from carina_portal.embedded.layout import EmbeddedError, is_root
from carina_portal.embedded.terminal import Step

# One hypervisor package is needed for nova-compute to be installable at all; this one pulls in no virtual machine monitor.
CORE = [
    *("keystone", "placement-api", "glance-api", "neutron-api", "neutron-rpc-server"),
    *("nova-api", "nova-conductor", "nova-scheduler", "nova-compute", "nova-compute-lxc"),
    *("rabbitmq-server", "mariadb-server", "uwsgi-core", "uwsgi-plugin-python3"),
]
REAL = [
    *("libvirt-daemon-system", "libvirt-daemon-driver-lxc", "libvirt-clients", "qemu-system-x86", "qemu-utils"),
    *("neutron-dhcp-agent", "genisoimage", "iproute2", "iptables"),
]

# The packages would ask for databases and endpoints; the lab makes its own.
ANSWERS = """\
dbconfig-common dbconfig-common/dbconfig-install boolean false
keystone keystone/configure_db boolean false
keystone keystone/create-admin-tenant boolean false
keystone keystone/register-endpoint boolean false
glance-common glance/configure_db boolean false
glance-api glance/register-endpoint boolean false
nova-common nova/configure_db boolean false
nova-api nova/register-endpoint boolean false
placement-common placement/configure_db boolean false
placement-api placement/register-endpoint boolean false
neutron-common neutron/configure_db boolean false
neutron-api neutron/register-endpoint boolean false
"""
POLICY = Path("/usr/sbin/policy-rc.d")


def missing(*, real: bool) -> list[str]:
    """Return the packages that are not installed; all of them where there is no dpkg."""
    wanted = [*CORE, *(REAL if real else ())]
    if not shutil.which("dpkg-query"):
        return wanted
    argv = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *wanted]
    lines = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
    installed = {line.split()[0] for line in lines if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def why_impossible(*, real: bool) -> str:
    """Return why the lab cannot run on this machine, or an empty text. Packages that apt can install are no reason."""
    if not is_root():
        return "an OpenStack of its own needs root: databases, hypervisors and networks cannot be made without it"
    absent = missing(real=real)
    if not absent:
        return ""
    if not shutil.which("apt-cache"):
        return f"this machine has no apt to install OpenStack with; missing: {' '.join(absent)}"
    unknown = [package for package in absent if not _known(package)]
    return f"this machine's apt does not know {' '.join(unknown)}; Debian 12 has them (apt-get update?)" if unknown else ""


def install(*, real: bool, log: Path, step: Step) -> None:
    """Install what is missing; raises EmbeddedError with apt's words. No service is started, now or at the next boot."""
    absent = missing(real=real)
    if not absent:
        return
    reason = why_impossible(real=real)
    if reason:
        raise EmbeddedError(reason)
    step.detail(f"{len(absent)} packages")
    subprocess.run(["debconf-set-selections"], input=ANSWERS, text=True, check=True)
    with _nothing_starts():
        machine.install_packages(packages=absent, log=log, step=step)
    _disable_services(absent)


def versions() -> str:
    """Return the versions of what makes the database schemas."""
    argv = ["dpkg-query", "--show", "keystone", "nova-common", "neutron-common", "glance-common", "placement-common", "mariadb-server"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _known(package: str) -> bool:
    found = subprocess.run(["apt-cache", "show", "--no-all-versions", package], capture_output=True, text=True, check=False)
    return found.returncode == 0 and "\nFilename:" in found.stdout


@contextmanager
def _nothing_starts() -> Iterator[None]:
    """Forbid packages to start their services while they are installed (invoke-rc.d(8)); a rule that is there stays."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _disable_services(packages: Sequence[str]) -> None:
    """Where systemd runs the machine, keep what was installed for tests from starting at the next boot."""
    if not machine.service_manager():
        return
    listed = subprocess.run(["dpkg", "--listfiles", *packages], capture_output=True, text=True, check=False).stdout.split()
    units = [os.path.basename(path) for path in listed if path.endswith(".service") and "@" not in path]  # noqa: PTH119 - a text, not a path
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["systemctl", "disable", *units], capture_output=True, check=False)
