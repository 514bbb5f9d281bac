"""What a cloud offers and has left: its servers, pool and images, minus what was promised to hosts that exist."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.hosts.contracts import AggregateInfo, CloudRefused, HostKind, ImageInfo
from apps.hosts.providers.incus.client import IncusClient
from apps.hosts.providers.incus.errors import NotThere

MIB, GIB = 2**20, 2**30
UNITS = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": 2**40,
    "PiB": 2**50,
}


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """How far the operator lets promises exceed what is there; memory in MiB is kept for the machine itself."""

    cpu: float
    memory: float
    disk: float
    reserved_memory_mib: int

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Ratios":
        """Read them from a cloud's settings; raises CloudRefused for what is not a number above zero."""
        values = {"cpu_ratio": 16.0, "memory_ratio": 1.0, "disk_ratio": 4.0, "reserved_memory_mib": 1024.0}
        for key in values:
            if settings.get(key):
                try:
                    values[key] = float(settings[key])
                except ValueError:
                    raise CloudRefused(f"The cloud's setting {key} must be a number and is {settings[key]!r}.") from None
        if min(values["cpu_ratio"], values["memory_ratio"], values["disk_ratio"]) <= 0 or values["reserved_memory_mib"] < 0:
            raise CloudRefused("The cloud's ratios must be above zero, and its reserved memory not below.")
        return cls(
            cpu=values["cpu_ratio"],
            memory=values["memory_ratio"],
            disk=values["disk_ratio"],
            reserved_memory_mib=int(values["reserved_memory_mib"]),
        )


@dataclass(frozen=True, kw_only=True)
class Amount:
    """CPUs, bytes of memory, bytes of disk; `disk_room` is what the pool really has free."""

    vcpus: int = 0
    memory: int = 0
    disk: int = 0
    disk_room: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            vcpus=self.vcpus + other.vcpus,
            memory=self.memory + other.memory,
            disk=self.disk + other.disk,
            disk_room=self.disk_room + other.disk_room,
        )


def aggregates(*, client: IncusClient, server: Mapping[str, Any], pool: str, ratios: Ratios) -> tuple[AggregateInfo, ...]:
    """The cluster's groups with their online members, or the single server itself."""
    promises = promised(client=client, instances=client.get("instances", **{"all-projects": "true", "recursion": "1"}))
    if not server["environment"].get("server_clustered"):
        name = str(server["environment"]["server_name"])
        total = _member(client=client, pool=pool)
        return (_aggregate(name=name, metadata={}, totals=[total], promises=[sum(promises.values(), Amount())], ratios=ratios),)
    members = {
        member["server_name"]: member["groups"] or ["default"]
        for member in client.get("cluster/members", recursion="1")
        if member["status"] == "Online"
    }
    totals = {name: _member(client=client, pool=pool, target=name) for name in members}
    found = []
    for group in client.get("cluster/groups", recursion="1"):
        names = [name for name, groups in members.items() if group["name"] in groups]
        metadata = {key.removeprefix("user."): value for key, value in (group.get("config") or {}).items() if key.startswith("user.")}
        found.append(
            _aggregate(
                name=group["name"],
                metadata=metadata,
                totals=[totals[name] for name in names],
                promises=[promises.get(name, Amount()) for name in names],
                ratios=ratios,
            )
        )
    return tuple(found)


def promised(*, client: IncusClient, instances: Iterable[Mapping[str, Any]]) -> dict[str, Amount]:
    """What hosts of all projects were promised, by server. One without a limit counts by what it uses (a CPU at least)."""
    sums: dict[str, Amount] = {}
    for instance in instances:
        config, root = instance["expanded_config"], _root(instance["expanded_devices"])
        memory, disk = config.get("limits.memory", ""), root.get("size", "")
        usage: Mapping[str, Any] = {}
        if not memory or memory.endswith("%") or not disk:
            usage = _usage(client=client, instance=instance)
        amount = Amount(
            vcpus=_cpus(config.get("limits.cpu", "")),
            memory=size_in_bytes(memory) if memory and not memory.endswith("%") else int((usage.get("memory") or {}).get("usage", 0)),
            disk=size_in_bytes(disk) if disk else int(((usage.get("disk") or {}).get("root") or {}).get("usage", 0)),
        )
        where = instance.get("location") or "none"
        sums[where] = sums.get(where, Amount()) + amount
    return sums


def images(*, client: IncusClient) -> tuple[ImageInfo, ...]:
    """The container images of the default project, under each of their aliases."""
    return tuple(
        ImageInfo(ref=alias["name"], properties=dict(image["properties"] or {}))
        for image in client.get("images", recursion="1")
        if image["type"] == "container"
        for alias in image["aliases"] or []
    )


def size_in_bytes(text: str) -> int:
    """Read a size as Incus writes it ("5GiB", "500MB"); raises ValueError for anything else."""
    number = text.rstrip("BkKMGTPi")
    return int(float(number) * UNITS[text[len(number) :].strip()])


def _member(*, client: IncusClient, pool: str, target: str = "") -> Amount:
    query = {"target": target} if target else {}
    resources = client.get("resources", **query)
    try:
        space = client.get(f"storage-pools/{pool}/resources", **query)["space"]
    except NotThere:
        raise CloudRefused(f"Incus has no storage pool {pool!r}: create it, or name another in the cloud's settings.") from None
    disk, used = int(space["total"]), int(space.get("used") or 0)
    cpus, memory = int(resources["cpu"]["total"]), int(resources["memory"]["total"])
    return Amount(vcpus=cpus, memory=memory, disk=disk, disk_room=max(0, disk - used))


def _aggregate(
    *, name: str, metadata: dict[str, str], totals: Sequence[Amount], promises: Sequence[Amount], ratios: Ratios
) -> AggregateInfo:
    total, promise = sum(totals, Amount()), sum(promises, Amount())
    vcpus = int(total.vcpus * ratios.cpu)
    memory = int(max(0, total.memory // MIB - ratios.reserved_memory_mib * len(totals)) * ratios.memory)
    disk = int(total.disk * ratios.disk) // GIB
    # However little the existing hosts were promised, what lies on the pool is gone.
    room = int(total.disk_room * ratios.disk) // GIB
    return AggregateInfo(
        name=name,
        host_kind=HostKind.CONTAINER,
        metadata=metadata,
        servers=len(totals),
        total_vcpus=vcpus,
        total_memory_mib=memory,
        total_disk_gib=disk,
        free_vcpus=max(0, vcpus - promise.vcpus),
        free_memory_mib=max(0, memory - promise.memory // MIB),
        free_disk_gib=max(0, min(room, disk - promise.disk // GIB)),
    )


def _usage(*, client: IncusClient, instance: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        usage: Mapping[str, Any] = client.get(f"instances/{instance['name']}/state", project=instance["project"])
    except NotThere:
        return {}
    return usage


def _root(devices: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    return next((device for device in devices.values() if device.get("type") == "disk" and device.get("path") == "/"), {})


def _cpus(limit: str) -> int:
    """`limits.cpu` is a number, or a set of CPUs such as "0-3,7"; without one a host counts as one CPU, since its use is not a number."""
    if not limit:
        return 1
    if limit.isdigit():
        return int(limit)
    spans = [part.partition("-") for part in limit.split(",")]
    return sum(int(last or first) - int(first) + 1 for first, _, last in spans)
