"""Finding the node image for a kind of host by the properties `manage.py upload_images` gave it."""

import threading
import time
from typing import Any

from apps.hosts.contracts import HostKind, ImageMissing
from apps.hosts.providers.openstack.api import Api

REMEMBERED_SECONDS = 60.0


class Images:
    """The node images of one cloud; the id of the newest is remembered for a minute."""

    def __init__(self, *, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._known: dict[tuple[str, HostKind], tuple[float, str]] = {}

    def find(self, *, image: str, kind: HostKind) -> str:
        """Return the id of the newest active image called `image` for that kind of host; raises ImageMissing."""
        with self._lock:
            known = self._known.get((image, kind))
        if known is not None and known[0] + REMEMBERED_SECONDS > time.monotonic():
            return known[1]
        query = {"carina_image": image, "carina_host_kind": str(kind), "status": "active", "sort": "created_at:desc", "limit": "1"}
        found: list[dict[str, Any]] = self._api.get("image", "/images", query=query)["images"]
        if not found:
            raise ImageMissing(f"The cloud has no active image {image!r} for hosts of kind {kind}: run manage.py upload_images.")
        image_id: str = found[0]["id"]
        with self._lock:
            self._known[image, kind] = (time.monotonic(), image_id)
        return image_id

    def forget(self) -> None:
        """Look anew next time: the cloud no longer knows an image that was remembered."""
        with self._lock:
            self._known.clear()
