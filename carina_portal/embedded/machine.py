"""What the machine itself must have for container hosts: packages, id ranges, kernel modules and limits. Limits are only ever raised."""

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from carina_portal.embedded import process
from carina_portal.embedded.layout import EmbeddedError
from carina_portal.embedded.terminal import Step

# Each is there before the daemon starts: it looks for them once.
NEEDED = {"nft": "nftables", "mkfs.btrfs": "btrfs-progs", "dnsmasq": "dnsmasq-base", "newuidmap": "uidmap", "mmdebstrap": "mmdebstrap"}
INCUS_DAEMONS = ("/usr/libexec/incus/incusd", "/usr/lib/incus/incusd", "/opt/incus/bin/incusd")

# Every host runs an init system, and container engines inside it: each takes watches and keys of the machine's one kernel.
KERNEL_LIMITS = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 1_048_576,
    "kernel/keys/maxkeys": 20_000,
    "kernel/keys/maxbytes": 2_000_000,
}
KERNEL_MODULES = ("overlay", "ip_vs", "vxlan", "btrfs", "loop")

SUBORDINATE_IDS = "root:1000000:1000000000\n"


def service_manager() -> bool:
    """Whether systemd runs this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def incus_daemon() -> Path | None:
    """Return the Incus daemon's program, or None where it is not installed."""
    places = [Path(place) for place in INCUS_DAEMONS if os.access(place, os.X_OK)]
    found = shutil.which("incusd")
    return places[0] if places else Path(found) if found else None


def missing_packages() -> list[str]:
    """Return the distribution's packages that local hosts need and this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = [package for program, package in NEEDED.items() if not shutil.which(program, path=path)]
    if incus_daemon() is None or not shutil.which("incus", path=path):
        packages += ["incus-base", "incus-client"]
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        packages.append("debian-archive-keyring")
    return packages


def install_packages(*, packages: Sequence[str], log: Path, step: Step) -> None:
    """Install packages of the distribution; raises EmbeddedError with apt's own words. Waits for another apt to finish."""
    if not shutil.which("apt-get"):
        raise EmbeddedError(f"This machine has no apt-get. Install these by hand, then run again: {' '.join(packages)}")
    release = _release()
    step.detail("reading package lists")
    _add_backports(release=release)
    _apt("update", log=log)
    names = [_name_here(package) for package in packages]
    first = [name for name in names if not name.startswith("incus")]
    daemon = [name for name in names if name.startswith("incus")]
    if first:
        step.detail(" ".join(first))
        _apt("install", "--yes", "--no-install-recommends", *first, log=log)
    if daemon:
        step.detail(" ".join(daemon))
        target = ["--target-release", "bookworm-backports"] if release == "bookworm" else []
        _apt("install", "--yes", "--no-install-recommends", *target, *daemon, log=log)


def _name_here(package: str) -> str:
    """`incus-base`, the daemon without virtual machines, does not exist in every release that has Incus."""
    if package != "incus-base":
        return package
    known = subprocess.run(["apt-cache", "--names-only", "search", "^incus-base$"], capture_output=True, text=True, check=False).stdout
    return package if known.strip() else "incus"


def _apt(*arguments: str, log: Path) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    argv = ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Options::=--force-confold", *arguments]
    process.run(argv=argv, log=log, env=env, what=f"apt-get {arguments[0]}")


def _release() -> str:
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def _add_backports(*, release: str) -> None:
    """On bookworm Incus is in backports: add them from the mirror that the machine's own apt uses, if they are not there."""
    if release != "bookworm":
        return
    form = ["--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    known = subprocess.run(["apt-get", "indextargets", *form], capture_output=True, text=True, check=True).stdout
    sources = [line.split() for line in known.splitlines()]
    if any(suite == "bookworm-backports" for _, suite in sources):
        return
    mirror = next((uri for uri, suite in sources if suite == "bookworm"), "")
    if not mirror:
        raise EmbeddedError("Incus comes from bookworm-backports, and this machine's apt has no Debian mirror configured to take it from.")
    Path("/etc/apt/sources.list.d/carina-backports.list").write_text(f"deb {mirror} bookworm-backports main\n")


def prepare_kernel() -> None:
    """Load modules and raise limits where that is possible; a kernel that lacks one says so later, in what a cloud reports of itself."""
    if shutil.which("modprobe"):
        for module in KERNEL_MODULES:
            subprocess.run(["modprobe", "--quiet", module], capture_output=True, check=False)
    for name, wanted in KERNEL_LIMITS.items():
        limit = Path("/proc/sys") / name
        with contextlib.suppress(OSError, ValueError):
            if int(limit.read_text()) < wanted:
                limit.write_text(str(wanted))


def ensure_subordinate_ids() -> None:
    """Give root ranges of user and group ids to hand to hosts, if it has none."""
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        known = path.read_text() if path.exists() else ""
        if not any(line.startswith("root:") for line in known.splitlines()):
            with path.open("a") as file:
                file.write(SUBORDINATE_IDS)
