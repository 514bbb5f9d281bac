"""How many more hosts fit: each on one machine, after those that were promised before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.hosts.contracts import HostSize
from apps.hosts.models import Aggregate


@dataclass(kw_only=True)
class Free:
    """What one machine has left. Negative after more was promised than it has."""

    vcpus: int
    memory_mib: int
    disk_gib: int

    def fits(self, size: HostSize) -> int:
        """How many hosts of that size go on it."""
        return max(0, min(self.vcpus // size.vcpus, self.memory_mib // size.memory_mib, self.disk_gib // size.disk_gib))

    def take(self, size: HostSize) -> None:
        """Set one host of that size aside."""
        self.vcpus, self.memory_mib, self.disk_gib = (
            self.vcpus - size.vcpus,
            self.memory_mib - size.memory_mib,
            self.disk_gib - size.disk_gib,
        )


def machines_of(*, aggregate: Aggregate) -> list[Free]:
    """Return what is left on each machine of the aggregate that may start hosts; on all as on one, where the cloud tells no more."""
    if not aggregate.machines:
        return [Free(vcpus=aggregate.free_vcpus, memory_mib=aggregate.free_memory_mib, disk_gib=aggregate.free_disk_gib)]
    return [
        Free(vcpus=machine["free_vcpus"], memory_mib=machine["free_memory_mib"], disk_gib=machine["free_disk_gib"])
        for machine in aggregate.machines
        if machine["up"]
    ]


def room_for(*, size: HostSize, machines: Sequence[Free], taken: Iterable[tuple[HostSize, int]]) -> int:
    """Return how many hosts of `size` fit on `machines` once those `taken` (size and number) have gone there.

    As Nova's memory weigher does, each goes to the machine with most memory left that holds it; one that fits nowhere weighs on the
    largest, so that the answer errs on the side of saying no.
    """
    if not machines:
        return 0
    for promised, count in taken:
        for _ in range(count):
            able = [machine for machine in machines if machine.fits(promised)] or list(machines)
            max(able, key=lambda machine: machine.memory_mib).take(promised)
    return sum(machine.fits(size) for machine in machines)
