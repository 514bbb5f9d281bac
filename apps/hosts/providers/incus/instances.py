"""Hosts: system containers without privileges, each with a user id range of its own, limits, and a fixed address."""

import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from apps.hosts.contracts import (
    CloudBusy,
    CloudRefused,
    HostFile,
    HostKind,
    HostSpec,
    HostState,
    Owner,
    PowerState,
    Publication,
)
from apps.hosts.providers.incus.client import Found, IncusClient
from apps.hosts.providers.incus.egress import resolv_conf
from apps.hosts.providers.incus.errors import AlreadySo, NetworkNotAllowed, NotThere
from apps.hosts.providers.incus.naming import (
    ADDRESS,
    NAMESERVERS,
    PUBLISHED,
    Dialect,
    bay_tags,
    bridge_name,
    carries,
    project_name,
)
from apps.hosts.providers.incus.network import allow_network, refuse_strangers

PATIENCE_SECONDS = 8.0
PAUSE_SECONDS = 0.15
STOP_SECONDS = 10
START_SECONDS = 60
# How long a host may take to end its containers when Incus shuts down; one that is just booting does not hear the signal at all.
SHUTDOWN_SECONDS = 10

NEVER = ("1970-", "0001-")
# Incus writes this at the end of a create, and takes it away with the first start.
CREATED = "volatile.apply_template"

POWER = {"Running": PowerState.RUNNING, "Stopped": PowerState.STOPPED}


def instance_config(*, spec: HostSpec, dialect: Dialect, nameservers: str) -> dict[str, str]:
    """The options of the host's container. Nothing in it is secret: whoever may read the project may read them."""
    network = ip_network(spec.cidr)
    address = f"{spec.address}/{network.prefixlen} {network.broadcast_address}"
    return {
        **bay_tags(spec.owner),
        ADDRESS: spec.address,
        NAMESERVERS: nameservers,
        "security.nesting": "true",
        "security.idmap.isolated": "true",
        dialect.guest_api: "false",
        "limits.cpu": str(spec.size.vcpus),
        "limits.memory": f"{spec.size.memory_mib}MiB",
        "limits.memory.swap": "false",  # a tenant's keys and data are not written to the machine's swap
        "limits.processes": str(spec.size.processes),
        # The address is there before the host's init starts: no DHCP, no wait. liblxc's own format.
        "raw.lxc": f"lxc.net.0.ipv4.address = {address}\nlxc.net.0.ipv4.gateway = {network[1]}\n",
        "boot.host_shutdown_timeout": str(SHUTDOWN_SECONDS),
    }


def instance_devices(*, spec: HostSpec, pool: str) -> dict[str, dict[str, str]]:
    """The host's root disk, network card, and published port."""
    devices = {
        "root": {"type": "disk", "path": "/", "pool": pool, "size": f"{spec.size.disk_gib}GiB"},
        "eth0": {"type": "nic", "name": "eth0", "network": bridge_name(spec.owner), "hwaddr": _hardware_address(spec.address)},
    }
    if spec.publication is not None:
        devices[PUBLISHED] = _proxy(spec.publication)
    return devices


def _hardware_address(address: str) -> str:
    """Return the MAC that goes with an address of a bay: a replaced host keeps it, else its neighbours send to the old one for a minute.

    It need be unique on the bay's own bridge only. 10:66:6a is the prefix Incus itself uses.
    """
    return ":".join(["10:66:6a", *(f"{int(part):02x}" for part in address.split(".")[1:])])


class Hosts:
    """The hosts of one cloud. Safe to share between threads."""

    def __init__(self, *, client: IncusClient, pool: str) -> None:
        self._client = client
        self._pool = pool

    def ensure(self, *, spec: HostSpec, dialect: Dialect, nameservers: Sequence[IPv4Address], target: str = "") -> HostState:
        """Make the host run with its files in place.

        Files are written between create and start, so a host that runs has them; one found stopped gets them (again).
        A create that Incus still carries out is waited for a few seconds, then CloudBusy.
        """
        if spec.kind is not HostKind.CONTAINER:
            raise CloudRefused(f"Incus hosts of this portal are system containers; {spec.ref} was asked as {spec.kind}.")
        resolvers = resolv_conf(cidr=spec.cidr, nameservers=nameservers)
        files = _with_basics(spec=spec, resolvers=resolvers)
        asked = ",".join(str(server) for server in nameservers)

        def attempt() -> None:
            found = self._find(owner=spec.owner, ref=spec.ref)
            if found is None:
                self._create(spec=spec, dialect=dialect, nameservers=asked, target=target)
                self._push(spec=spec, dialect=dialect, files=files)
                self._power(spec.owner, spec.ref, action="start", timeout=START_SECONDS)
                return
            refuse_strangers(what=f"instance {spec.ref}", found=found, tags=bay_tags(spec.owner))
            self._discard_torso(found=found, owner=spec.owner)
            self._adjust(spec=spec, dialect=dialect, found=found, nameservers=asked, resolvers=resolvers)
            match found.body["status"]:
                case "Running":
                    return
                case "Stopped":
                    self._push(spec=spec, dialect=dialect, files=files)
                    self._power(spec.owner, spec.ref, action="start", timeout=START_SECONDS)
                case "Frozen":
                    self._power(spec.owner, spec.ref, action="unfreeze", timeout=START_SECONDS)
                case other:
                    raise CloudBusy(f"Incus says of {spec.ref}: {other}.")

        _patiently(attempt=attempt, what=spec.ref)
        return HostState(ref=spec.ref, power=PowerState.RUNNING, address=spec.address)

    def of(self, owner: Owner) -> list[HostState]:
        """Every host of the bay, in one request; none where the project does not exist."""
        query = {"project": project_name(owner), "recursion": "1", "filter": f"config.user.carina.bay eq {owner.bay}"}
        tags = bay_tags(owner)
        return [_state(body) for body in self._client.get("instances", **query) if carries(body["config"], tags)]

    def remove(self, *, owner: Owner, ref: str) -> None:
        """Stop and delete the host; one that is not there, or is not the bay's, is success."""

        def attempt() -> None:
            found = self._find(owner=owner, ref=ref)
            if found is None or not carries(found.config, bay_tags(owner)):
                return
            if found.body["status"] != "Stopped":
                self._power(owner, ref, action="stop", timeout=STOP_SECONDS, force=True)
            self._client.change("DELETE", f"instances/{ref}", project=project_name(owner))

        _patiently(attempt=attempt, what=ref)

    def _find(self, *, owner: Owner, ref: str) -> Found | None:
        return self._client.find(f"instances/{ref}", project=project_name(owner))

    def _create(self, *, spec: HostSpec, dialect: Dialect, nameservers: str, target: str) -> None:
        body = {
            "name": spec.ref,
            "type": "container",
            "description": f"Host {spec.hostname} of bay {spec.owner.bay}",
            "source": {"type": "image", "alias": spec.image},
            "profiles": [],
            "config": instance_config(spec=spec, dialect=dialect, nameservers=nameservers),
            "devices": instance_devices(spec=spec, pool=self._pool),
        }
        query = {"project": project_name(spec.owner)} | ({"target": target} if target else {})
        try:
            self._client.change("POST", "instances", body=body, **query)
        except NetworkNotAllowed:
            allow_network(client=self._client, owner=spec.owner)
            raise
        except NotThere as error:
            raise CloudBusy(f"The tenant's project was removed with another bay while {spec.ref} was being made.") from error

    def _discard_torso(self, *, found: Found, owner: Owner) -> None:
        """Delete an instance whose create never came to its end, unless it is still being made, and raise CloudBusy in both cases.

        It is the torso of a crash of Incus itself, and must not even be looked into: Incus then lays an empty folder where its disk
        should be, and can no longer delete it.
        """
        body = found.body
        if body["status"] == "Stopped" and body["last_used_at"].startswith(NEVER) and CREATED not in found.config:
            self._client.change("DELETE", f"instances/{body['name']}", project=project_name(owner))
            raise CloudBusy(f"{body['name']} was the torso of a crash and is made anew.")

    def _push(self, *, spec: HostSpec, dialect: Dialect, files: Mapping[str, HostFile]) -> None:
        for file in files.values():
            self._push_file(project=project_name(spec.owner), ref=spec.ref, dialect=dialect, file=file)

    def _push_file(self, *, project: str, ref: str, dialect: Dialect, file: HostFile) -> None:
        headers = dialect.file_headers(kind="file", mode=file.mode)
        try:
            self._client.upload(f"instances/{ref}/files", content=file.content, headers=headers, project=project, path=file.path)
        except NotThere as error:
            if "instance not found" in str(error).lower():
                raise CloudBusy(f"{ref} vanished while its files were written.") from error
            self._make_folder(project=project, ref=ref, dialect=dialect, path=file.path.rpartition("/")[0])
            self._client.upload(f"instances/{ref}/files", content=file.content, headers=headers, project=project, path=file.path)

    def _make_folder(self, *, project: str, ref: str, dialect: Dialect, path: str) -> None:
        # From the deepest up: a folder that exists is never touched, since Incus would set its mode.
        headers = dialect.file_headers(kind="directory", mode="0755")
        try:
            self._client.upload(f"instances/{ref}/files", content=b"", headers=headers, project=project, path=path)
        except NotThere:
            parent = path.rpartition("/")[0]
            if not parent:
                raise
            self._make_folder(project=project, ref=ref, dialect=dialect, path=parent)
            self._client.upload(f"instances/{ref}/files", content=b"", headers=headers, project=project, path=path)

    def _power(self, owner: Owner, ref: str, *, action: str, timeout: int, force: bool = False) -> None:
        body = {"action": action, "timeout": timeout, "force": force}
        try:
            self._client.change("PUT", f"instances/{ref}/state", body=body, project=project_name(owner))
        except AlreadySo:
            return
        except CloudRefused as error:
            if "failed to receive fd from listener process" in str(error).lower():
                raise CloudRefused(
                    f"The public port of {ref} cannot be opened: another program has it, or the public address is not this server's."
                ) from error
            raise

    def _adjust(self, *, spec: HostSpec, dialect: Dialect, found: Found, nameservers: str, resolvers: bytes) -> None:
        """Bring an existing host's publication and resolvers up to date."""
        devices: dict[str, Any] = dict(found.body["devices"])
        config = dict(found.config)
        if spec.publication is not None:
            devices[PUBLISHED] = _proxy(spec.publication)
        else:
            devices.pop(PUBLISHED, None)
        if config.get(NAMESERVERS, "") != nameservers:
            self._push_file(
                project=project_name(spec.owner), ref=spec.ref, dialect=dialect, file=HostFile(path="/etc/resolv.conf", content=resolvers)
            )
            config[NAMESERVERS] = nameservers
        if devices == found.body["devices"] and config == found.config:
            return
        kept = {key: found.body[key] for key in ("architecture", "description", "ephemeral", "profiles", "stateful")}
        body = {**kept, "config": config, "devices": devices}
        self._client.change("PUT", f"instances/{spec.ref}", body=body, etag=found.etag, project=project_name(spec.owner))


def _proxy(publication: Publication) -> dict[str, str]:
    # A name stands for this server from outside, where a router may translate; only a literal address can be listened on.
    try:
        listen = str(ip_address(publication.address))
    except ValueError:
        listen = "0.0.0.0"  # noqa: S104  # this is the point of publishing
    return {"type": "proxy", "listen": f"tcp:{listen}:{publication.port}", "connect": f"tcp:127.0.0.1:{publication.host_port}"}


def _with_basics(*, spec: HostSpec, resolvers: bytes) -> dict[str, HostFile]:
    """The host's files by path: its name and resolvers, unless the engine's own files say otherwise."""
    names = f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{spec.address}\t{spec.hostname}\n"
    basics = (
        HostFile(path="/etc/hostname", content=f"{spec.hostname}\n".encode()),
        HostFile(path="/etc/hosts", content=names.encode()),
        HostFile(path="/etc/resolv.conf", content=resolvers),
    )
    return {file.path: file for file in (*basics, *spec.files)}


def _state(body: Mapping[str, Any]) -> HostState:
    power = POWER.get(body["status"], PowerState.OTHER)
    return HostState(ref=body["name"], power=power, address=body["config"].get(ADDRESS, ""), detail=body["status"])


def _patiently(*, attempt: Callable[[], None], what: str) -> None:
    """Repeat `attempt` while something of Incus' own is in the way, for a few seconds; then let the engine come back later."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            attempt()
        except NotThere:
            if time.monotonic() > deadline:
                raise CloudBusy(f"{what} keeps changing in Incus.") from None
        except CloudBusy:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(PAUSE_SECONDS)
