"""One host as a Nova server: made once, started, or taken away with the reason if the cloud failed to start it.

Nova gives nothing to hold on to against making a thing twice, so the port does: it is made before the server, a server is asked
for only with it, and Nova refuses a second server on a port that is in use. If two requests slip through all the same (a proxy that
answered 504 to one that was accepted, a worker that was thought dead), the server that has the port stays and the other is deleted.
Nova then frees the port, whoever has it: the server that stays is marked first, and once the other is gone its port is looked at.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from apps.hosts import userdata
from apps.hosts.contracts import (
    CloudBusy,
    CloudRefused,
    FlavorMissing,
    HostFailed,
    HostFile,
    HostSpec,
    HostState,
    ImageMissing,
    Owner,
    PowerState,
)
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.errors import NotThere, error_of_fault
from apps.hosts.providers.openstack.images import Images
from apps.hosts.providers.openstack.naming import ADDRESS, CONTESTED, REF, bay_metadata, metadata_owner, tags
from apps.hosts.providers.openstack.options import Options
from apps.hosts.providers.openstack.places import Places
from apps.hosts.providers.openstack.servers import Servers, power_of, ref_of
from apps.hosts.providers.openstack.spreading import ServerGroups
from apps.hosts.providers.openstack.volumes import Volumes, mount_command

WAKING: dict[str, Any] = {"SHUTOFF": {"os-start": None}, "PAUSED": {"unpause": None}, "SUSPENDED": {"resume": None}}
Json = dict[str, Any]

log = structlog.get_logger(__name__)


class Hosts:
    """The hosts of all bays of one project."""

    def __init__(
        self, *, api: Api, servers: Servers, places: Places, groups: ServerGroups, volumes: Volumes, images: Images, options: Options
    ) -> None:
        self._api = api
        self._servers = servers
        self._places = places
        self._groups = groups
        self._volumes = volumes
        self._images = images
        self._options = options

    def ensure(self, spec: HostSpec) -> HostState:
        """Make the host exist and started; see `Provider.ensure_host`."""
        found = self._servers.named(spec.owner, spec.ref)
        if not found:
            return self._create(spec)
        server, state = self._counted(spec.owner, spec.ref, found)
        power = power_of(server)
        if power == PowerState.GOING:
            self._servers.delete(server)  # asks again only if Nova seems to have forgotten it
            raise CloudBusy(f"The cloud is still deleting the former {spec.ref}.")
        if server["status"] == "ERROR":
            return self._recover(spec, server)
        if server["status"] == "BUILD" and self._servers.is_overdue(server):
            self._servers.delete(server)
            raise HostFailed(f"Nova was building {spec.ref} for more than {self._options.build_seconds:.0f} seconds; it was deleted.")
        if power == PowerState.STOPPED:
            return self._act(server, WAKING[server["status"]])
        if power == PowerState.RUNNING and state.power == PowerState.OTHER:
            self._servers.delete(server)
            raise CloudBusy(f"{spec.ref}: {state.detail}; it is made anew.")
        return state

    def states(self, owner: Owner) -> list[HostState]:
        """Return every host of the bay, each once: a server that a host has too much is deleted on sight."""
        by_ref: dict[str, list[Json]] = {}
        for server in self._servers.of(owner):
            by_ref.setdefault(ref_of(server), []).append(server)
        return [self._counted(owner, ref, servers)[1] for ref, servers in by_ref.items()]

    def remove(self, *, owner: Owner, ref: str, keep_place: bool) -> bool:
        """Delete the host with its volume, and its place unless that is kept; return whether all is gone."""
        gone = [self._servers.delete(server) for server in self._servers.named(owner, ref)]
        if not all(gone):
            return False
        ports = self._places.ports_named(owner, ref)
        if not all(self._let_go(owner=owner, port=port) for port in ports):
            return False
        self._volumes.remove(owner, ref=ref)
        if not keep_place:
            self._places.give_up(owner=owner, ports=ports)
        return True

    def _let_go(self, *, owner: Owner, port: Json) -> bool:
        """Whether no server of the bay has the port: one the list did not show (a late request of a dead worker) is deleted."""
        if not port["device_owner"].startswith("compute"):
            return True
        try:
            server = self._api.get("compute", f"/servers/{port['device_id']}")["server"]
        except NotThere:
            return True
        return metadata_owner(server["metadata"]) != owner or self._servers.delete(server)

    def _create(self, spec: HostSpec) -> HostState:
        if not spec.flavor:
            raise FlavorMissing(f"{spec.ref} has no flavor of this cloud: none of them leads to the aggregate {spec.aggregate or '?'}.")
        image = self._images.find(image=spec.image, kind=spec.kind)
        port = self._places.port(owner=spec.owner, ref=spec.ref)
        if port["device_id"]:
            self._free(port=port, ref=spec.ref)
        volume = self._volumes.ensure(spec) if spec.size.volume_gib else ""
        body: Json = {"server": self._server(spec, image=image, port=port["id"], volume=volume)}
        if spec.spread:
            body["os:scheduler_hints"] = {"group": self._groups.ensure(spec.owner)}
        try:
            with self._servers.view.changing():
                answer = self._api.post("compute", "/servers", body)["server"]
        except ImageMissing:
            self._images.forget()
            raise
        except CloudBusy:
            # Another server has the port: one of ours that the list did not show yet.
            self._servers.view.doubt()
            self._places.doubt()
            raise
        except NotThere as error:
            self._places.doubt()
            self._groups.doubt()
            raise CloudBusy(f"What was reserved for {spec.ref} vanished meanwhile: {error}") from error
        return self._servers.made({"id": answer["id"], "name": spec.ref, "status": "BUILD", "metadata": body["server"]["metadata"]})

    def _server(self, spec: HostSpec, *, image: str, port: str, volume: str) -> Json:
        commands = [mount_command(volume)] if volume else []
        text = userdata.render(hostname=spec.hostname, files=_with_names(spec), commands=commands)
        body: Json = {
            "name": spec.ref,
            "imageRef": image,
            "flavorRef": spec.flavor,
            "networks": [{"port": port}],
            "user_data": userdata.encode(text),
            "config_drive": self._options.wants_config_drive(spec.kind),
            "metadata": {**bay_metadata(spec.owner), REF: spec.ref, ADDRESS: spec.address},
            "tags": tags(spec.owner),
        }
        if volume:
            root = {"uuid": image, "source_type": "image", "destination_type": "local", "boot_index": 0, "delete_on_termination": True}
            data = {"uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": -1, "delete_on_termination": False}
            body["block_device_mapping_v2"] = [root, data]
        if self._options.availability_zone:
            body["availability_zone"] = self._options.availability_zone
        return body

    def _free(self, *, port: Json, ref: str) -> None:
        """Make sure no server has the port although the list shows none; raises CloudBusy if one has."""
        if not port["device_owner"].startswith("compute"):
            raise CloudRefused(f"The port of {ref} is used by something that is no server: {port['device_owner']} {port['device_id']}.")
        try:
            self._api.get("compute", f"/servers/{port['device_id']}")
        except NotThere:
            self._places.loosen(port)
        else:
            self._servers.view.doubt()
            self._places.doubt()
            raise CloudBusy(f"A server that the cloud does not list yet has the port of {ref}.")

    def _counted(self, owner: Owner, ref: str, found: Sequence[Json]) -> tuple[Json, HostState]:
        """Return the server that counts, and its state: OTHER for one that has lost its port to a surplus server. That is deleted."""
        present = [server for server in found if power_of(server) != PowerState.GOING]
        kept = self._contest(owner=owner, ref=ref, present=present) if len(present) > 1 else (present or found)[0]
        state = self._servers.state(kept)
        if CONTESTED not in kept["metadata"] or len(found) > 1 or state.power != PowerState.RUNNING:
            return kept, state
        if self._places.holder(owner=owner, ref=ref) != kept["id"]:
            return kept, replace(state, power=PowerState.OTHER, detail="its port went with a surplus server")
        self._servers.unmark(kept, CONTESTED)
        return kept, state

    def _contest(self, *, owner: Owner, ref: str, present: Sequence[Json]) -> Json:
        """Mark the server the port belongs to, else one that runs, else the oldest; delete the others and return it."""
        holder = self._places.holder(owner=owner, ref=ref)
        kept = next((server for server in present if server["id"] == holder), present[0])
        kept = self._servers.mark(kept, CONTESTED)
        for server in present:
            if server["id"] != kept["id"]:
                log.warning("surplus_server_deleted", ref=ref, server=server["id"], kept=kept["id"])
                self._servers.delete(server)
        return kept

    def _recover(self, spec: HostSpec, server: Json) -> HostState:
        """Delete what never ran and raise why; what ran once holds data and is started again."""
        if server.get("OS-SRV-USG:launched_at"):
            return self._act(server, {"reboot": {"type": "HARD"}})
        error = error_of_fault(ref=spec.ref, fault=self._servers.fault_of(server))
        self._servers.delete(server)
        raise error

    def _act(self, server: Json, action: Json) -> HostState:
        try:
            with self._servers.view.changing():
                self._api.post("compute", f"/servers/{server['id']}/action", action)
        except NotThere as error:
            self._servers.view.forget(server["id"])
            raise CloudBusy(f"{server['name']} vanished while it was to be started.") from error
        self._servers.view.doubt()
        state = self._servers.state(server)
        return HostState(ref=state.ref, power=PowerState.STARTING, address=state.address, detail=next(iter(action)))


def _with_names(spec: HostSpec) -> list[HostFile]:
    """The host's files, and its own name in /etc/hosts unless the engine's files say otherwise."""
    names = f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{spec.address}\t{spec.hostname}\n"
    return [HostFile(path="/etc/hosts", content=names.encode()), *spec.files]
