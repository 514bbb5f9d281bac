"""What tests of real hosts share: what the lab's real hypervisors are called, and an image for containers made on the spot."""

import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.client import PortalClient
from tests.live.openstack.lab import Lab
from tests.live.openstack.scenario import Project

CLOUD = "real"
KINDS = {"real-lxc": "container", "real-vm": "vm"}
"""Flavors of the lab's real hypervisors, and the kind of host each gives; their aggregates have the same names."""
SIZE = {"vcpus": 1, "memory_mib": 1024, "disk_gib": 4}
PATIENCE_SECONDS = float(os.environ.get("CARINA_TEST_REAL_PATIENCE_SECONDS", "900"))
"""How long a bay may take: QEMU without KVM boots a host in one to two minutes on a quiet machine, and this one may be busy."""


@dataclass(frozen=True)
class Real:
    """What a test of real hosts has to hand."""

    lab: Lab
    project: Project
    user: PortalClient


def bay_name() -> str:
    """Return a name no other bay has."""
    return f"real-{secrets.token_hex(3)}"


def busybox_tar(folder: Path) -> bytes:
    """Return a root file system of one program and what it is linked to: there is no registry to pull from."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("an image for containers is made on the spot from the program busybox: apt-get install busybox-static")
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(program, root / "bin" / "busybox")
    # Debian's busybox is linked dynamically, busybox-static is not: then nothing is listed.
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+) \(0x", linked):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    archive = shutil.make_archive(str(folder / "busybox"), "tar", root_dir=root)
    return Path(archive).read_bytes()
