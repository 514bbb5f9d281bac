"""A block volume for the engine's data, where a size asks for one: made before its server, deleted after it.

Volumes carry the bay's mark and the host's ref as metadata, given with the request that makes them.
"""

import json
import time
from typing import Any

from apps.hosts.contracts import CloudBusy, CloudRefused, HostFailed, HostSpec, Owner
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.naming import REF, bay_metadata, metadata_owner
from apps.hosts.providers.openstack.options import Options

WAIT_SECONDS, PAUSE_SECONDS = 8.0, 0.5
SERIAL_LENGTH = 20
"""How much of a volume's id a virtio disk can tell (virtio specification, 5.2.6.1)."""
SCRIPT = (
    "set -e; d=$(ls /dev/disk/by-id/*{serial} | head -n 1); "
    "blkid $d >/dev/null || mkfs.ext4 -q -L carina-data $d; "
    "mkdir -p /var/lib/docker; "
    "l='LABEL=carina-data /var/lib/docker ext4 nofail,x-systemd.before=docker.service 0 2'; "
    'grep -qxF "$l" /etc/fstab || echo "$l" >>/etc/fstab; '
    "mountpoint -q /var/lib/docker || mount /var/lib/docker"
)
Json = dict[str, Any]


class Volumes:
    """The volumes of the bays of one project."""

    def __init__(self, *, api: Api, options: Options) -> None:
        self._api = api
        self._options = options

    def ensure(self, spec: HostSpec) -> str:
        """Make the host's volume exist and wait until it can be attached; return its id.

        Raises CloudRefused where the cloud has no block storage, CloudBusy while the volume is being made, HostFailed if that failed.
        """
        if not self._api.has_volumes:
            raise CloudRefused(f"{spec.ref} shall have a volume, and this cloud has no block storage: choose a flavor without one.")
        volume = next(iter(self.of(spec.owner, ref=spec.ref)), None) or self._create(spec)
        deadline = time.monotonic() + WAIT_SECONDS
        while volume["status"] in {"creating", "downloading"} and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
            volume = self._api.get("volume", f"/volumes/{volume['id']}")["volume"]
        if volume["status"].startswith("error"):
            self._api.delete("volume", f"/volumes/{volume['id']}")
            raise HostFailed(f"The volume of {spec.ref} could not be made.")
        if volume["status"] != "available":
            raise CloudBusy(f"The volume of {spec.ref} is still {volume['status']}.")
        volume_id: str = volume["id"]
        return volume_id

    def of(self, owner: Owner, *, ref: str = "") -> list[Json]:
        """Return the volumes of a bay, or of one host; empty where the cloud has no block storage."""
        return [
            volume
            for volume in self.everywhere(query={"metadata": json.dumps(bay_metadata(owner))})
            if metadata_owner(volume["metadata"]) == owner and (not ref or volume["metadata"].get(REF) == ref)
        ]

    def everywhere(self, *, query: dict[str, str] | None = None) -> list[Json]:
        """Return every volume of the project."""
        if not self._api.has_volumes:
            return []
        found: list[Json] = []
        marker: dict[str, str] = {}
        while True:
            page = self._api.get("volume", "/volumes/detail", query={**(query or {}), **marker, "limit": "1000"})["volumes"]
            if not page:
                return found
            found += page
            marker = {"marker": page[-1]["id"]}

    def remove(self, owner: Owner, *, ref: str = "") -> None:
        """Delete the volumes of a host, or of a whole bay; raises CloudBusy while one is still attached."""
        for volume in self.of(owner, ref=ref):
            if volume["status"] == "deleting":
                continue
            if volume["status"] in {"in-use", "detaching", "attaching"}:
                raise CloudBusy(f"The volume {volume['name']} is still {volume['status']}.")
            self._api.delete("volume", f"/volumes/{volume['id']}")

    def _create(self, spec: HostSpec) -> Json:
        body: Json = {
            "name": spec.ref,
            "size": spec.size.volume_gib,
            "metadata": {**bay_metadata(spec.owner), REF: spec.ref},
        }
        if self._options.volume_type:
            body["volume_type"] = self._options.volume_type
        if self._options.availability_zone:
            body["availability_zone"] = self._options.availability_zone
        answer: Json = self._api.post("volume", "/volumes", {"volume": body})["volume"]
        return answer


def mount_command(volume_id: str) -> tuple[str, ...]:
    """Return what the host runs once to put the engine's data on the volume; harmless when run again."""
    return ("sh", "-c", SCRIPT.format(serial=volume_id[:SERIAL_LENGTH]))
