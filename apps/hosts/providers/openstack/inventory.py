"""What Nova's and Placement's answers say of servers and aggregates. Pure functions: JSON of the APIs in, our dataclasses out.

Nova: https://docs.openstack.org/api-ref/compute/ (aggregates 2.41, hypervisors 2.53, whose id is that of Placement's provider);
Placement: https://docs.openstack.org/api-ref/placement/ (provider summaries 1.29; capacity = (total - reserved) * allocation_ratio).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.hosts.contracts import AggregateInfo, CloudRefused, FlavorInfo, HostKind, MachineInfo, QuotaInfo
from apps.hosts.extra_specs import SCOPE, asked_of_aggregates

Json = Mapping[str, Any]
KIND_KEYS = ("container_host", "carina_host_kind")
"""Keys of an aggregate's metadata that say which kind of host its servers are for, the first one first."""
SYSTEM_KEY = "os_type"
KINDS = {
    **dict.fromkeys(("container", "lxc", "lxd"), HostKind.CONTAINER),
    **dict.fromkeys(("vm", "qemu", "kvm", "vmware", "hyperv", "vmware vcenter server"), HostKind.VM),
    **dict.fromkeys(("baremetal", "metal", "ironic"), HostKind.BAREMETAL),
}
UNTOLD_VCPUS, UNTOLD_MEMORY_MIB, UNTOLD_DISK_GIB = 100_000, 1_000_000_000, 10_000_000
"""What stands for the room on a cloud that tells nothing of its servers, where the quota sets no limit either."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A hypervisor: the name aggregates know its compute service by, the word for what it runs, and its numbers."""

    host: str
    runs: str
    info: MachineInfo


@dataclass(frozen=True, kw_only=True)
class Found:
    """The aggregates of a cloud and what its operator should know of them; `untold` if the cloud does not let us see them."""

    aggregates: tuple[AggregateInfo, ...]
    warnings: tuple[str, ...]
    untold: bool = False


def machines(*, hypervisors: Iterable[Json], resources: Mapping[str, Mapping[str, tuple[int, int]]]) -> list[Machine]:
    """Return the cloud's servers; `resources` are capacity and use by Placement's provider and resource class, where it tells them."""
    return [_machine(each, resources.get(str(each["id"]), {})) for each in hypervisors]


def kinds_by_name(text: str) -> dict[str, HostKind]:
    """Read the setting `aggregate_kinds`, "name=kind,name=kind"; raises CloudRefused with what is wrong."""
    found = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, word = item.rpartition("=")
        if not name or word.strip() not in KINDS:
            raise CloudRefused(
                f"The cloud's setting aggregate_kinds has {item!r}; write NAME=KIND, with a kind of: {', '.join(HostKind)}; "
                "several are separated by commas."
            )
        found[name.strip()] = KINDS[word.strip()]
    return found


def kind_named(text: str) -> HostKind | None:
    """Read the setting `host_kind`, None if it is empty; raises CloudRefused for another word."""
    if text and text not in KINDS:
        raise CloudRefused(f"The cloud's setting host_kind is {text!r}; write one of: {', '.join(HostKind)}.")
    return KINDS.get(text)


def known_aggregates(
    *, aggregates: Sequence[Json], servers: Sequence[Machine], region: str, given: Mapping[str, HostKind], default: HostKind | None
) -> Found:
    """Return Nova's aggregates with their servers, and one named after the region for servers that are in none.

    A server's metadata are those of all aggregates it is in, as for Nova: an aggregate gets those of others that contain it whole.
    An aggregate whose kind of host nothing tells is left out, with a warning unless its servers are offered through others.
    """
    by_host: dict[str, list[Machine]] = defaultdict(list)
    for server in servers:
        by_host[server.host].append(server)
    kinds = {each["name"]: _kind_of(each, [m for host in each["hosts"] for m in by_host[host]], given) for each in aggregates}
    told = {host for each in aggregates if kinds[each["name"]] for host in each["hosts"]}
    found, warnings = [], []
    for each in aggregates:
        mine = [machine for host in each["hosts"] for machine in by_host[host]]
        kind = kinds[each["name"]]
        if kind is None:
            if not set(each["hosts"]) <= told or not each["hosts"]:
                warnings.append(_kind_unknown(each["name"]))
            continue
        if not mine:
            warnings.append(f"The aggregate {each['name']} has no servers.")
        found.append(_aggregate(name=each["name"], kind=kind, metadata=_metadata(each, aggregates), mine=mine))
    placed = {host for each in aggregates for host in each["hosts"]}
    more, doubts = _outside(servers=[server for server in servers if server.host not in placed], region=region, default=default)
    down = [_down(server) for server in servers if not server.info.up]
    return Found(aggregates=(*found, *more), warnings=(*warnings, *doubts, *down))


def untold_aggregates(
    *, flavors: Sequence[FlavorInfo], quota: QuotaInfo, region: str, default: HostKind, given: Mapping[str, HostKind]
) -> tuple[AggregateInfo, ...]:
    """Return what stands for the aggregates of a cloud that does not let us see them: one for each kind its flavors speak of.

    Room is what the quota leaves. Flavors that name no kind are taken for `default`.
    """
    groups = sorted({tuple(sorted(flavor.extra_specs.items())) for flavor in flavors}) or [()]
    vcpus = UNTOLD_VCPUS if quota.vcpus is None else quota.vcpus
    memory = UNTOLD_MEMORY_MIB if quota.memory_mib is None else quota.memory_mib
    found = []
    for specs in groups:
        metadata = {key.removeprefix(f"{SCOPE}:"): _plain_value(value) for key, value in specs}
        name = "-".join([region or "cloud", *metadata.values()])
        named = next((given[word] for word in (name, *metadata.values()) if word in given), None)
        whole = AggregateInfo(
            name=name,
            host_kind=named or _kind_in(metadata) or default,
            metadata=metadata,
            servers=0,
            total_vcpus=vcpus,
            total_memory_mib=memory,
            total_disk_gib=UNTOLD_DISK_GIB,
            free_vcpus=vcpus,
            free_memory_mib=memory,
            free_disk_gib=UNTOLD_DISK_GIB,
        )
        found.append(whole)
    return tuple(found)


def without_untold_specs(flavor: FlavorInfo) -> FlavorInfo:
    """Return the flavor with only those extra specs that say something of its kind: others cannot be compared with what is not seen."""
    kept = {key: value for key, value in flavor.extra_specs.items() if key.removeprefix(f"{SCOPE}:") in {*KIND_KEYS, SYSTEM_KEY}}
    return replace(flavor, extra_specs=kept)


def unpinned(flavors: Iterable[FlavorInfo]) -> list[str]:
    """Return the names of flavors that ask nothing of an aggregate, so that Nova may put their servers anywhere."""
    return sorted(each.name for each in flavors if not asked_of_aggregates(extra_specs=each.extra_specs))


def _machine(hypervisor: Json, resources: Mapping[str, tuple[int, int]]) -> Machine:
    up = hypervisor["state"] == "up" and hypervisor["status"] == "enabled"
    own = {
        "VCPU": (int(hypervisor.get("vcpus") or 0), int(hypervisor.get("vcpus_used") or 0)),
        "MEMORY_MB": (int(hypervisor.get("memory_mb") or 0), int(hypervisor.get("memory_mb_used") or 0)),
        "DISK_GB": (int(hypervisor.get("local_gb") or 0), int(hypervisor.get("local_gb_used") or 0)),
    }
    (vcpus, vcpus_used), (memory, memory_used), (disk, disk_used) = (resources.get(name, own[name]) for name in own)
    info = MachineInfo(
        name=str(hypervisor["hypervisor_hostname"]),
        up=up,
        total_vcpus=vcpus,
        total_memory_mib=memory,
        total_disk_gib=disk,
        free_vcpus=max(0, vcpus - vcpus_used) if up else 0,
        free_memory_mib=max(0, memory - memory_used) if up else 0,
        free_disk_gib=max(0, disk - disk_used) if up else 0,
    )
    return Machine(host=str(hypervisor["service"]["host"]), runs=str(hypervisor.get("hypervisor_type") or "").lower(), info=info)


def _kind_of(aggregate: Json, mine: Sequence[Machine], given: Mapping[str, HostKind]) -> HostKind | None:
    told = given.get(aggregate["name"]) or _kind_in(aggregate["metadata"])
    if told is not None:
        return told
    run = {KINDS.get(machine.runs) for machine in mine}
    return run.pop() if len(run) == 1 else None


def _kind_in(metadata: Json) -> HostKind | None:
    words = (str(metadata[key]).strip().lower() for key in KIND_KEYS if key in metadata)
    return next((KINDS[word] for word in words if word in KINDS), None)


def _metadata(aggregate: Json, aggregates: Sequence[Json]) -> dict[str, str]:
    merged: dict[str, list[str]] = {key: [str(value)] for key, value in aggregate["metadata"].items()}
    for other in aggregates:
        if other is not aggregate and aggregate["hosts"] and set(aggregate["hosts"]) <= set(other["hosts"]):
            for key, value in other["metadata"].items():
                if str(value) not in merged.setdefault(key, []):
                    merged[key].append(str(value))
    return {key: ",".join(values) for key, values in merged.items()}


def _outside(*, servers: Sequence[Machine], region: str, default: HostKind | None) -> tuple[list[AggregateInfo], list[str]]:
    by_kind: dict[HostKind, list[Machine]] = defaultdict(list)
    unknown = []
    for server in servers:
        kind = KINDS.get(server.runs) or default
        if kind is None:
            unknown.append(server.info.name)
        else:
            by_kind[kind].append(server)
    name = region or "cloud"
    found = [
        _aggregate(name=name if len(by_kind) == 1 else f"{name}-{kind}", kind=kind, metadata={}, mine=mine)
        for kind, mine in sorted(by_kind.items())
    ]
    if not unknown:
        return found, []
    names = ", ".join(sorted(unknown))
    doubt = f"Servers in no aggregate that run nothing known are left out: {names}. Put them into one, or set host_kind for this cloud."
    return found, [doubt]


def _aggregate(*, name: str, kind: HostKind, metadata: dict[str, str], mine: Sequence[Machine]) -> AggregateInfo:
    infos = tuple(sorted((machine.info for machine in mine), key=lambda info: info.name))
    return AggregateInfo(
        name=name,
        host_kind=kind,
        metadata=metadata,
        servers=len(infos),
        total_vcpus=sum(info.total_vcpus for info in infos),
        total_memory_mib=sum(info.total_memory_mib for info in infos),
        total_disk_gib=sum(info.total_disk_gib for info in infos),
        free_vcpus=sum(info.free_vcpus for info in infos),
        free_memory_mib=sum(info.free_memory_mib for info in infos),
        free_disk_gib=sum(info.free_disk_gib for info in infos),
        machines=infos,
    )


def _plain_value(value: str) -> str:
    """The first word of an extra spec's value that is no operator, such as "lxc" of "<or> lxc <or> lxd"."""
    words = [word for word in value.split() if not word.startswith(("<", "s", "=", "!", ">")) or word.isalnum()]
    return words[0] if words else value


def _kind_unknown(name: str) -> str:
    return (
        f"The aggregate {name} is left out: its metadata do not say what its servers are for. "
        f"Set {KIND_KEYS[0]} to container, vm or baremetal there, or name it in this cloud's setting aggregate_kinds."
    )


def _down(server: Machine) -> str:
    return f"The server {server.info.name} is down or disabled: no host starts there."
