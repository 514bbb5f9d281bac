"""Building node images for OpenStack from `deploy/node-image`, once for each state of the recipe."""

import os
import shutil
import subprocess
from pathlib import Path

from django.conf import settings

from apps.hosts.images import DESCRIPTION, ImagesUnusable

LAST_LINES = 15


def cache_folder() -> Path:
    """Return where the images of the recipe as it is now lie once they are built; raises ImagesUnusable where it cannot be read."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "carina" / "images" / f"openstack-{_run('--recipe').strip()}"


def build_images(*, folder: Path) -> None:
    """Build all images into `folder`, which then is complete or not there; raises ImagesUnusable with the builder's last lines.

    Takes two to four minutes, root, mmdebstrap, mke2fs, qemu-img and a Debian mirror.
    """
    if os.geteuid() != 0:
        raise ImagesUnusable("Building node images needs root. Build them elsewhere with deploy/node-image/build and name them with --dir.")
    if shutil.which("mmdebstrap") is None:
        raise ImagesUnusable("Building node images needs the program mmdebstrap: apt-get install mmdebstrap qemu-utils.")
    building = folder.with_name(f"{folder.name}.building-{os.getpid()}")
    (building / "work").mkdir(parents=True)
    try:
        _run("--for", "openstack", str(building / "images"), work=building / "work")
        if folder.exists():
            shutil.rmtree(folder)
        (building / "images").rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def is_built(*, folder: Path) -> bool:
    """Whether a build into the folder came to its end."""
    return (folder / DESCRIPTION).is_file()


def _run(*arguments: str, work: Path | None = None) -> str:
    program = settings.BASE_DIR / "deploy" / "node-image" / "build"
    env = {**os.environ, "LC_ALL": "C.UTF-8"} | ({"TMPDIR": str(work)} if work else {})
    try:
        done = subprocess.run([str(program), *arguments], env=env, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ImagesUnusable(f"The recipe {program} cannot be run: {error.strerror}.") from error
    if done.returncode:
        lines = "\n".join((done.stderr or done.stdout).splitlines()[-LAST_LINES:])
        raise ImagesUnusable(f"{program} ended with status {done.returncode}:\n{lines}")
    return done.stdout
