"""A cloud in memory that fails on command: for tests of what stands above a provider. It passes the contract suite of the real ones.

`cloud_named(name=access.name)` is the cloud behind every `MemoryProvider` with that access, so a test reaches past the provider:

    cloud = cloud_named(name="memory")
    cloud.fail(at="ensure_host.start", error=CloudUnreachable("gone"), after=True)   # the next start works, its answer is lost
    cloud.fail(at="ensure_network", nth=3, error=Crash())                            # the process dies at the third call
    cloud.fail_at_random(seed=7, rate=0.1)                                           # one step in ten fails, before or after its effect
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import RLock

from apps.hosts.contracts import (
    AggregateInfo,
    CloudBusy,
    CloudCrowded,
    CloudFacts,
    CloudRefused,
    CloudUnreachable,
    HostAddress,
    HostKind,
    HostPlace,
    HostSpec,
    HostState,
    ImageInfo,
    ImageMissing,
    NetworkSpec,
    NoCapacity,
    Owner,
    PowerState,
    Publishing,
    QuotaExceeded,
    TenantLimits,
)
from apps.hosts.providers.base import CloudAccess
from tests.doubles.faults import Failing

STEPS = (
    "discover",
    "ensure_network",
    "reserve",
    "ensure_host.create",
    "ensure_host.push",
    "ensure_host.start",
    "list_hosts",
    "remove_host",
    "remove_network",
    "leftovers",
    "owners",
)


@dataclass(kw_only=True)
class MemoryHost:
    """An instance of the cloud. `owner` is None for one that somebody else made."""

    spec: HostSpec
    owner: Owner | None
    power: PowerState = PowerState.STOPPED
    looks_left: int = 0
    files: dict[str, bytes] = field(default_factory=dict)


class MemoryCloud(Failing):
    """What exists outside. Every field may be read and written by tests, under `lock` where threads run."""

    def __init__(self) -> None:
        super().__init__(steps=STEPS, by_chance=lambda dice, at: dice.choice((CloudUnreachable, CloudBusy))(f"{at} failed by chance."))
        self.vcpus, self.memory_mib, self.disk_gib = 1000, 1_000_000, 10_000
        self.images = {"node-swarm": {"carina.coe": "swarm", "carina.coe_version": "26.1.5"}}
        self.limitations: tuple[str, ...] = ()
        self.reachable = True
        self.latency_seconds = 0.0
        self.slow_starts = 0
        """How many looks at a host it takes until it runs, and at a deleted one until it is gone; 0 is at once."""
        self.builds_at_once = 1000
        self.limits: dict[str, TenantLimits] = {}
        self.networks: dict[str, tuple[Owner | None, str]] = {}
        self.hosts: dict[tuple[str, str], MemoryHost] = {}

    def vanish(self, *, ref: str) -> None:
        """Let a host disappear as if its server had burnt down."""
        with self.lock:
            for key in [key for key in self.hosts if key[1] == ref]:
                del self.hosts[key]

    def stop(self, *, ref: str) -> None:
        """Let a host lose its power."""
        with self.lock:
            for (_, name), host in self.hosts.items():
                if name == ref:
                    host.power = PowerState.STOPPED

    def look(self, owner: Owner, *, ref: str = "") -> bool:
        """Let one look's worth of time pass for the owner's hosts (or the one); return whether the one is gone."""
        for key, host in list(self.hosts.items()):
            if host.owner != owner or ref not in {"", key[1]} or host.power not in {PowerState.STARTING, PowerState.GOING}:
                continue
            if host.looks_left > 0:
                host.looks_left -= 1
            elif host.power is PowerState.STARTING:
                host.power = PowerState.RUNNING
            else:
                del self.hosts[key]
        return all(key[1] != ref or host.owner != owner for key, host in self.hosts.items())

    @contextmanager
    def step(self, at: str) -> Iterator[None]:
        """A step of a cloud that may be slow, or out of reach altogether."""
        if self.latency_seconds:
            time.sleep(self.latency_seconds)
        if not self.reachable:
            raise CloudUnreachable("The cloud in memory was made unreachable.")
        with super().step(at):
            yield


_clouds: dict[str, MemoryCloud] = {}
_clouds_lock = RLock()


def cloud_named(*, name: str) -> MemoryCloud:
    """The cloud behind every provider whose access has this name; made when first asked for."""
    with _clouds_lock:
        return _clouds.setdefault(name, MemoryCloud())


def forget_clouds() -> None:
    """Start again with none."""
    with _clouds_lock:
        _clouds.clear()


class MemoryProvider:
    """The port over a `MemoryCloud`."""

    reaches_hosts_directly = True
    own_networks = True
    publishing = Publishing.PORTS

    def __init__(self, access: CloudAccess) -> None:
        self.cloud = cloud_named(name=access.name)
        self._installation = access.installation

    def discover(self) -> CloudFacts:
        cloud = self.cloud
        with cloud.step("discover"):
            sizes = [host.spec.size for host in cloud.hosts.values()]
            aggregate = AggregateInfo(
                name="memory",
                host_kind=HostKind.CONTAINER,
                metadata={},
                servers=1,
                total_vcpus=cloud.vcpus,
                total_memory_mib=cloud.memory_mib,
                total_disk_gib=cloud.disk_gib,
                free_vcpus=max(0, cloud.vcpus - sum(size.vcpus for size in sizes)),
                free_memory_mib=max(0, cloud.memory_mib - sum(size.memory_mib for size in sizes)),
                free_disk_gib=max(0, cloud.disk_gib - sum(size.disk_gib for size in sizes)),
            )
            return CloudFacts(
                version="Memory 1",
                aggregates=(aggregate,),
                images=tuple(ImageInfo(ref=ref, properties=dict(properties)) for ref, properties in cloud.images.items()),
                unavailable={kind: "Memory holds containers only." for kind in HostKind if kind is not HostKind.CONTAINER},
                limitations=cloud.limitations,
                used_cidrs=tuple(cidr for _, cidr in cloud.networks.values()),
            )

    def admit(self) -> None:
        with self.cloud.lock:
            starting = sum(host.power == PowerState.STARTING for host in self.cloud.hosts.values())
        if starting >= self.cloud.builds_at_once:
            raise CloudCrowded(f"The cloud is starting {starting} other hosts.")

    def ensure_network(self, spec: NetworkSpec) -> None:
        with self.cloud.step("ensure_network"):
            owner, _ = self.cloud.networks.get(network_name(spec.owner), (spec.owner, ""))
            if owner != spec.owner:
                raise CloudRefused(f"Network {network_name(spec.owner)} exists and is not this bay's.")
            self.cloud.limits[project_name(spec.owner)] = spec.limits
            self.cloud.networks[network_name(spec.owner)] = (spec.owner, spec.cidr)

    def reserve(self, spec: NetworkSpec, places: Sequence[HostPlace]) -> list[HostAddress]:
        with self.cloud.step("reserve"):
            del spec
            return [HostAddress(ref=place.ref, address=place.address) for place in places]

    def ensure_host(self, spec: HostSpec) -> HostState:
        key = (project_name(spec.owner), spec.ref)
        if key not in self.cloud.hosts:
            with self.cloud.step("ensure_host.create"):
                self._create(spec)
        host = self._own(spec)
        if host.power not in {PowerState.RUNNING, PowerState.STARTING}:
            with self.cloud.step("ensure_host.push"):
                self._own(spec).files = {file.path: file.content for file in spec.files}
            with self.cloud.step("ensure_host.start"):
                self._own(spec).looks_left = self.cloud.slow_starts
                self._own(spec).power = PowerState.STARTING if self.cloud.slow_starts else PowerState.RUNNING
        host.spec = replace(host.spec, publication=spec.publication)
        return HostState(ref=spec.ref, power=host.power, address=host.spec.address)

    def list_hosts(self, owner: Owner) -> list[HostState]:
        with self.cloud.step("list_hosts"):
            self.cloud.look(owner)
            return [
                HostState(ref=ref, power=host.power, address=host.spec.address)
                for (_, ref), host in self.cloud.hosts.items()
                if host.owner == owner
            ]

    def remove_host(self, owner: Owner, ref: str, *, keep_place: bool = False) -> bool:
        with self.cloud.step("remove_host"):
            del keep_place
            host = self.cloud.hosts.get((project_name(owner), ref))
            if host is None or host.owner != owner:
                return True
            if host.power is not PowerState.GOING:
                host.power, host.looks_left = PowerState.GOING, self.cloud.slow_starts
            return self.cloud.look(owner, ref=ref)

    def remove_network(self, owner: Owner) -> None:
        with self.cloud.step("remove_network"):
            if any(host.owner == owner for host in self.cloud.hosts.values()):
                raise CloudBusy(f"Network {network_name(owner)} still has hosts.")
            if self.cloud.networks.get(network_name(owner), (None, ""))[0] == owner:
                del self.cloud.networks[network_name(owner)]
            mine = project_name(owner)
            others = any(other is not None and project_name(other) == mine for other, _ in self.cloud.networks.values())
            if not others and not any(project == mine for project, _ in self.cloud.hosts):
                self.cloud.limits.pop(mine, None)

    def leftovers(self, owner: Owner) -> list[str]:
        with self.cloud.step("leftovers"):
            return [f"host {ref}" for (_, ref), host in self.cloud.hosts.items() if host.owner == owner] + [
                f"network {name}" for name, (other, _) in self.cloud.networks.items() if other == owner
            ]

    def owners(self) -> list[Owner]:
        with self.cloud.step("owners"):
            owners = {host.owner for host in self.cloud.hosts.values()} | {owner for owner, _ in self.cloud.networks.values()}
            mine = [owner for owner in owners if owner is not None and owner.installation == self._installation]
            return sorted(mine, key=lambda owner: owner.bay)

    def diagnose(self, owner: Owner, ref: str) -> str:
        host = self.cloud.hosts.get((project_name(owner), ref))
        return f"{ref} is {host.power}" if self.cloud.reachable and host is not None and host.owner == owner else ""

    def close(self) -> None:
        """There is nothing to give back."""

    def _own(self, spec: HostSpec) -> MemoryHost:
        host = self.cloud.hosts.get((project_name(spec.owner), spec.ref))
        if host is None:
            raise CloudBusy(f"{spec.ref} vanished while it was being made.")
        if host.owner != spec.owner:
            raise CloudRefused(f"{spec.ref} exists and is not this bay's.")
        return host

    def _create(self, spec: HostSpec) -> None:
        cloud, project = self.cloud, project_name(spec.owner)
        if spec.kind is not HostKind.CONTAINER:
            raise CloudRefused(f"There are no hosts of kind {spec.kind} in memory.")
        if (project, spec.ref) in cloud.hosts:
            return
        limits, size = cloud.limits.get(project), spec.size
        if limits is None or network_name(spec.owner) not in cloud.networks:
            raise CloudBusy(f"{spec.ref} has no network yet.")
        if spec.image not in cloud.images:
            raise ImageMissing(f"There is no image {spec.image}.")
        mine = [host.spec.size for (other, _), host in cloud.hosts.items() if other == project]
        if (
            len(mine) + 1 > limits.hosts
            or sum(each.vcpus for each in mine) + size.vcpus > limits.vcpus
            or sum(each.memory_mib for each in mine) + size.memory_mib > limits.memory_mib
            or sum(each.processes for each in mine) + size.processes > limits.processes
        ):
            raise QuotaExceeded(f"A limit of project {project} is reached.")
        every = [host.spec.size for host in cloud.hosts.values()]
        if (
            sum(each.vcpus for each in every) + size.vcpus > cloud.vcpus
            or sum(each.memory_mib for each in every) + size.memory_mib > cloud.memory_mib
            or sum(each.disk_gib for each in every) + size.disk_gib > cloud.disk_gib
        ):
            raise NoCapacity("The cloud in memory is full.")
        cloud.hosts[project, spec.ref] = MemoryHost(spec=spec, owner=spec.owner)


def project_name(owner: Owner) -> str:
    """The tenant's project."""
    return f"{owner.installation}-{owner.tenant}"


def network_name(owner: Owner) -> str:
    """The bay's network."""
    return f"network-{owner.bay}"
