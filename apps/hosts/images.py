"""Node images for OpenStack: what `deploy/node-image/build --for openstack` made, and how it gets into a cloud's Glance.

An image is known by its properties, never by its name, and the same recipe is uploaded once. Providers look for `carina_image` and
`carina_host_kind`; the kernel and initial RAM disk of a virtual machine are images of Glance, too, and carry `carina_part` instead.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests
from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException, raise_from_response

from apps.hosts.contracts import HostKind, ProviderError
from apps.hosts.providers.openstack.errors import error_from_library
from apps.hosts.providers.openstack.queries import every

NAME = "carina-node-{coe}"
DESCRIPTION = "image.json"
CHUNK = 1 << 20
STORE_SECONDS = 900
"""How long Glance may be silent while it takes and stores an image: some stores write it out only at the end."""
PARTS = {"kernel": "aki", "ramdisk": "ari"}
"""Glance's disk and container format for each part that boots a virtual machine directly (kernel_id and ramdisk_id of its image)."""

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the bytes sent and the bytes in all."""
Image = dict[str, Any]


class ImagesUnusable(Exception):
    """The folder of node images is not there, not complete, or changed since it was built; `str()` says what to do."""


class UploadBroken(ProviderError):
    """What Glance holds is not what was sent."""

    transient = True


@dataclass(frozen=True, kw_only=True)
class NodeImage:
    """One disk for one kind of host. `kernel` and `ramdisk` are file names; empty where the host brings its own."""

    kind: HostKind
    file: Path
    disk_format: str
    container_format: str
    min_disk: int
    min_ram: int
    properties: dict[str, str]
    parts: dict[str, Path]


@dataclass(frozen=True, kw_only=True)
class NodeImages:
    """All images of one recipe. `architecture` is the machine's own word for it, such as x86_64."""

    recipe: str
    architecture: str
    coe: str
    coe_version: str
    images: tuple[NodeImage, ...]

    @property
    def name(self) -> str:
        """What providers ask for: `carina_image`."""
        return NAME.format(coe=self.coe)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an upload did, in names of images. `in_use` are old versions that servers of the project were made from."""

    uploaded: tuple[str, ...]
    present: tuple[str, ...]
    deleted: tuple[str, ...]
    in_use: tuple[str, ...]


def read_images(*, folder: Path) -> NodeImages:
    """Return what lies in a folder the recipe has built; raises ImagesUnusable."""
    path = folder / DESCRIPTION
    try:
        body = json.loads(path.read_text())
        images = tuple(_read_one(folder=folder, kind=HostKind(kind), entry=entry) for kind, entry in body["images"].items())
        found = NodeImages(
            recipe=body["recipe"], architecture=body["architecture"], coe=body["coe"], coe_version=body["coe_version"], images=images
        )
    except OSError as error:
        raise ImagesUnusable(f"There are no node images in {folder}: build them with --build, or name their folder with --dir.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImagesUnusable(f"{path} was not written by this recipe ({error!r}): build the images again with --build.") from error
    missing = [file.name for image in images for file in (image.file, *image.parts.values()) if not file.is_file()]
    if missing:
        raise ImagesUnusable(f"{folder} lacks {', '.join(missing)}: build the images again with --build.")
    return found


def upload(*, connection: Connection, images: NodeImages, progress: Progress, visibility: str = "private") -> Outcome:
    """Bring every image of the recipe into the project's Glance, and delete older ones that no server of the project uses.

    What is there already and whole is kept; what an interrupted upload left is replaced. `visibility` is Glance's: anything but
    "private" or "shared" needs an administrator's role. Raises ProviderError.
    """
    try:
        glance = _Glance(connection=connection, images=images, visibility=visibility, progress=progress)
        for image in images.images:
            glance.ensure(image)
        deleted, in_use = glance.forget_old()
    except (ClientException, SDKException, requests.RequestException) as error:
        raise error_from_library(what="the upload of node images", error=error) from error
    return Outcome(uploaded=tuple(glance.uploaded), present=tuple(glance.present), deleted=tuple(deleted), in_use=tuple(in_use))


def _read_one(*, folder: Path, kind: HostKind, entry: dict[str, Any]) -> NodeImage:
    return NodeImage(
        kind=kind,
        file=folder / entry["file"],
        disk_format=entry["disk_format"],
        container_format=entry["container_format"],
        min_disk=int(entry["min_disk"]),
        min_ram=int(entry["min_ram"]),
        properties=dict(entry["properties"]),
        parts={part: folder / entry[part] for part in PARTS if part in entry},
    )


class _Glance:
    """One run of `upload`."""

    def __init__(self, *, connection: Connection, images: NodeImages, visibility: str, progress: Progress) -> None:
        self._connection = connection
        self._images = images
        self._visibility = visibility
        self._progress = progress
        self._project = str(connection.session.get_project_id())
        self.uploaded: list[str] = []
        self.present: list[str] = []
        self._current: set[str] = set()

    def ensure(self, image: NodeImage) -> None:
        """Have one image with all its parts: the parts first, since it names them."""
        links = {f"{part}_id": self._ensure_part(image=image, part=part, file=file) for part, file in image.parts.items()}
        properties = {
            **image.properties,
            **links,
            "carina_image": self._images.name,
            "carina_coe": self._images.coe,
            "carina_coe_version": self._images.coe_version,
            "architecture": self._images.architecture,
            "os_type": "linux",
        }
        about = {
            "disk_format": image.disk_format,
            "container_format": image.container_format,
            "min_disk": image.min_disk,
            "min_ram": image.min_ram,
        }
        self._ensure(file=image.file, kind=image.kind, mark={"carina_image": self._images.name}, properties=properties, about=about)

    def forget_old(self) -> tuple[list[str], list[str]]:
        """Delete what other recipes left, disks before the kernels they boot with; return names of deleted and of used ones."""
        old = [image for image in self._ours() if image["id"] not in self._current]
        used = self._used_images()
        kept = [image for image in old if image["id"] in used or image.get("protected")]
        needed = {image.get(f"{part}_id") for image in kept for part in PARTS}
        kept += [image for image in old if image["id"] in needed]
        deleted = []
        for image in sorted(old, key=lambda image: "carina_part" in image):
            if image not in kept:
                self._delete(image)
                deleted.append(str(image["name"]))
        return deleted, [str(image["name"]) for image in kept]

    def _ensure_part(self, *, image: NodeImage, part: str, file: Path) -> str:
        about = {"disk_format": PARTS[part], "container_format": PARTS[part]}
        mark = {"carina_part": part}
        properties = {**mark, "carina_coe": self._images.coe, "architecture": self._images.architecture}
        return self._ensure(file=file, kind=image.kind, mark=mark, properties=properties, about=about)

    def _ensure(self, *, file: Path, kind: HostKind, mark: dict[str, str], properties: dict[str, str], about: Mapping[str, object]) -> str:
        """Return the id of the image with that mark of this recipe, uploaded if it is not there whole."""
        mark = {**mark, "carina_host_kind": str(kind), "carina_recipe": self._images.recipe}
        name = f"{self._images.name}-{kind}-{self._images.coe_version}-{self._images.recipe[:8]}"
        name += f"-{mark['carina_part']}" if "carina_part" in mark else ""
        found = ""
        for image in self._ours():
            if any(image.get(key) != value for key, value in mark.items()):
                continue
            whole = image["status"] == "active" and image["size"] == file.stat().st_size
            linked = all(image.get(key) == value for key, value in properties.items() if key.endswith("_id"))
            if whole and linked and not found:
                found = str(image["id"])
            elif not whole:
                self._delete(image)  # what an interrupted upload left; nothing was ever made from it
        if found:
            self.present.append(name)
        else:
            found = self._create(name=name, file=file, body={**about, **properties, **mark})
            self.uploaded.append(name)
        self._current.add(found)
        return found

    def _create(self, *, name: str, file: Path, body: dict[str, Any]) -> str:
        answer = self._connection.image.post("/images", json={"name": name, "visibility": self._visibility, **body})
        raise_from_response(answer)
        image_id = str(answer.json()["id"])
        try:
            self._send(image_id=image_id, name=name, file=file)
        except BaseException:  # a key pressed by the operator, too: half an image is of no use to anybody
            self._connection.image.delete(f"/images/{image_id}")
            raise
        return image_id

    def _send(self, *, image_id: str, name: str, file: Path) -> None:
        with _Reader(file=file, progress=lambda sent, total: self._progress(name, sent, total)) as reader:
            headers = {"Content-Type": "application/octet-stream"}
            # Not sent again by the library: what was read is gone.
            answer = self._connection.image.put(
                f"/images/{image_id}/file", data=reader, headers=headers, connect_retries=0, timeout=STORE_SECONDS
            )
            raise_from_response(answer)
            sums = {"size": reader.sent, "checksum": reader.md5.hexdigest(), "sha512": reader.sha512.hexdigest()}
        answer = self._connection.image.get(f"/images/{image_id}")
        raise_from_response(answer)
        held = answer.json()
        told = {"size": held["size"], "checksum": held.get("checksum"), held.get("os_hash_algo"): held.get("os_hash_value")}
        # Glance may leave out either sum, but not both.
        shared = [key for key in sums if told.get(key) is not None]
        if held["status"] != "active" or len(shared) < 2 or any(sums[key] != told[key] for key in shared):  # noqa: PLR2004 - size and a sum
            raise UploadBroken(f"Glance does not hold {file.name} as it was sent (status {held['status']}): upload it again.")

    def _ours(self) -> list[Image]:
        """The project's images that carry one of our marks; those of others, though shared with us, are none of our business."""
        found = every(self._connection.image, "/images", key="images", owner=self._project, limit=200)
        return [
            image
            for image in found
            if image["owner"] == self._project and (image.get("carina_image") == self._images.name or image.get("carina_part") in PARTS)
            if image.get("carina_recipe") and image.get("carina_coe") == self._images.coe
        ]

    def _used_images(self) -> set[str]:
        servers = every(self._connection.compute, "/servers/detail", key="servers", limit=500)
        return {str(server["image"]["id"]) for server in servers if server.get("image")}

    def _delete(self, image: Image) -> None:
        answer = self._connection.image.delete(f"/images/{image['id']}")
        if answer.status_code != requests.codes.not_found:
            raise_from_response(answer)


class _Reader:
    """A file as requests sends it: piece by piece, with its length known, and its sums taken on the way."""

    def __init__(self, *, file: Path, progress: Callable[[int, int], None]) -> None:
        self._file = file.open("rb")
        self._progress = progress
        self._size = file.stat().st_size
        self.sent = 0
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha512 = hashlib.sha512()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = CHUNK) -> bytes:
        """Return the next piece."""
        piece = self._file.read(CHUNK if size < 0 else max(size, CHUNK))
        self.md5.update(piece)
        self.sha512.update(piece)
        self.sent += len(piece)
        if piece:
            self._progress(self.sent, self._size)
        return piece
