"""The node image: built from the recipe in `deploy/node-image`, cached for the user outside the clone, imported into Incus."""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carina_portal.embedded import process
from carina_portal.embedded.incus import Incus
from carina_portal.embedded.layout import ROOT, EmbeddedError, Layout, cache_dir
from carina_portal.embedded.terminal import Step, Terminal

RECIPE = ROOT / "deploy" / "node-image"
ELSEWHERE = RECIPE / "openstack"
"""What is for OpenStack alone: a change there is none of an image for Incus."""
ALIAS = "carina-node-swarm"
WARM_INSTANCE = "carina-warm"
UNUSED_DAYS = 60


def recipe_hash() -> str:
    """Return what the image is called in the cache: any change to the recipe, or another architecture, is another image."""
    digest = hashlib.sha256(platform.machine().encode())
    for path in sorted(RECIPE.rglob("*")):
        if path.is_file() and not path.is_relative_to(ELSEWHERE):
            digest.update(f"\0{path.relative_to(RECIPE)}\0{path.stat().st_mode & 0o100:o}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


def ensure_image(*, incus: Incus, layout: Layout, terminal: Terminal) -> None:
    """Make the node image known to Incus under its alias, and its first copy on our pool; raises EmbeddedError."""
    recipe = recipe_hash()
    fingerprint = _known_image(incus=incus, recipe=recipe)
    if not fingerprint:
        folder = _ensure_built(recipe=recipe, layout=layout, terminal=terminal)
        with terminal.step("Importing the node image"):
            fingerprint = _import(incus=incus, folder=folder, recipe=recipe)
    _point_alias(incus=incus, fingerprint=fingerprint)
    if incus.pool_driver == "btrfs" and not incus.api.find(f"storage-pools/{incus.pool}/volumes/image/{fingerprint}"):
        # The first copy onto a pool unpacks the image, every later one is a snapshot of it: paid here, not by the first user.
        with terminal.step("Unpacking the node image"):
            _warm(incus=incus, fingerprint=fingerprint)


def _known_image(*, incus: Incus, recipe: str) -> str:
    images: list[dict[str, Any]] = incus.api.call("GET", "images?recursion=1")
    return next((str(image["fingerprint"]) for image in images if image["properties"].get("carina.recipe") == recipe), "")


def _ensure_built(*, recipe: str, layout: Layout, terminal: Terminal) -> Path:
    """Return the folder of the built image. Of several clones that need it at once, one builds and the others wait."""
    cache = cache_dir() / "images"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / recipe
    with terminal.step("Node image") as step, _locked(cache / f".lock-{recipe}", step=step):
        if not folder.exists():
            step.detail("building it from Debian packages; this is done once")
            building = cache / f"{recipe}.building"
            shutil.rmtree(building, ignore_errors=True)
            (building / "work").mkdir(parents=True)
            env = {**os.environ, "CARINA_RECIPE": recipe, "TMPDIR": str(building / "work"), "LC_ALL": "C.UTF-8"}
            process.run(
                argv=[str(RECIPE / "build"), str(building / "image")],
                log=layout.logs / "node-image.log",
                env=env,
                what="Building the node image",
            )
            (building / "image").rename(folder)
            shutil.rmtree(building, ignore_errors=True)
        os.utime(folder)
        _forget_unused(cache)
    return folder


@contextlib.contextmanager
def _locked(path: Path, *, step: Step) -> Iterator[None]:
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                step.detail("another clone is building it; waiting")
                time.sleep(0.5)
        yield


def _forget_unused(cache: Path) -> None:
    for folder in cache.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > UNUSED_DAYS * 86400:
            shutil.rmtree(folder, ignore_errors=True)


def _import(*, incus: Incus, folder: Path, recipe: str) -> str:
    client = shutil.which("incus")
    if client is None:
        raise EmbeddedError("The program incus is not installed: apt-get install incus-client")
    # The client reads its own settings, and a remote could be the default one there: it gets an empty folder of settings.
    env = {
        "PATH": os.environ.get("PATH", ""),
        "INCUS_SOCKET": str(incus.socket_path),
        "INCUS_CONF": str(folder / "client"),
        "HOME": str(folder),
    }
    argv = [client, "image", "import", "--project", "default", str(folder / "metadata.tar"), str(folder / "rootfs.tar")]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    fingerprint = _known_image(incus=incus, recipe=recipe)
    if not fingerprint:
        raise EmbeddedError(f"The node image was not imported: {(done.stderr or done.stdout).strip()}")
    return fingerprint


def _point_alias(*, incus: Incus, fingerprint: str) -> None:
    """Let the alias lead to this image, and delete the one it led to before: hosts made from it keep their own copy."""
    alias = incus.api.find(f"images/aliases/{ALIAS}")
    if alias is None:
        incus.api.call("POST", "images/aliases", {"name": ALIAS, "target": fingerprint})
    elif alias["target"] != fingerprint:
        incus.api.call("PUT", f"images/aliases/{ALIAS}", {"target": fingerprint, "description": ""})
        incus.api.call("DELETE", f"images/{alias['target']}")


def _warm(*, incus: Incus, fingerprint: str) -> None:
    if incus.api.find(f"instances/{WARM_INSTANCE}"):
        incus.api.call("DELETE", f"instances/{WARM_INSTANCE}")
    body = {
        "name": WARM_INSTANCE,
        "type": "container",
        "source": {"type": "image", "fingerprint": fingerprint},
        "profiles": [],
        "devices": {"root": {"type": "disk", "path": "/", "pool": incus.pool}},
    }
    incus.api.call("POST", "instances", body)
    incus.api.call("DELETE", f"instances/{WARM_INSTANCE}")
