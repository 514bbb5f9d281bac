"""What a tenant uses of its limits: counted from the rows that say what its bays shall have and still have.

There is no counter. A group of hosts counts as `retiring + max(wanted, the other live hosts)`. Planning, starting, losing, replacing
and failing leave this number as it is; a host that is gone lowers it; only services raise it, under the tenant's row lock. See
docs/adr/0011-usage-is-counted.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet

from apps.bays.models import ALIVE, Bay, Host, NodeGroup
from apps.coes.contracts import Role
from apps.common.errors import LimitReached
from apps.hosts.models import Flavor
from apps.tenants.holds import refuse_growth_on_hold
from apps.tenants.limits import LIMITS
from apps.tenants.models import Tenant

GONE, RETIRING = Q(hosts__state=Host.State.REMOVED), Q(hosts__state=Host.State.DRAINING)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """One limit of a tenant: used now, asked for on top (negative for what comes free), and the most. All in `unit`."""

    name: str
    unit: str
    used: int
    asked: int
    limit: int

    @property
    def after(self) -> int:
        """What is used once the change is made."""
        return self.used + self.asked

    @property
    def exceeded(self) -> bool:
        """Whether the change would grow beyond the limit. Who is above it already may stay there and shrink, but not grow."""
        return self.after > self.limit and self.asked > 0

    def words(self, number: int) -> str:
        """Return a number of this limit with its unit, as people read it."""
        return LIMITS[f"max_{self.name}"].words(number)


def usage_after(*, tenant: Tenant, flavor: Flavor | None = None, more_bays: int = 0, more_hosts: int = 0) -> list[Usage]:
    """Return the tenant's limits with what is used now and after `more_hosts` hosts of `flavor` and `more_bays` bays.

    Without a flavor the hosts have no size: that is for what is used now. Exact for as long as the caller holds the tenant's row lock.
    """
    bays, hosts, vcpus, memory_mib, disk_gib = _used(tenant=tenant)
    used = {"bays": bays, "hosts": hosts, "vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": disk_gib}
    asked = {"bays": more_bays, "hosts": more_hosts}
    if flavor is not None:
        asked |= {name: more_hosts * getattr(flavor, name) for name in ("vcpus", "memory_mib", "disk_gib")}
    return [
        Usage(name=limit.name, unit=limit.unit, used=used[limit.name], asked=asked.get(limit.name, 0), limit=getattr(tenant, column))
        for column, limit in LIMITS.items()
    ]


def check_limits(*, tenant: Tenant, flavor: Flavor, more_bays: int = 0, more_hosts: int = 0) -> None:
    """Raise LimitReached, naming every limit in the way, if the tenant may not have so much more; Conflict if it may not grow at all now.

    What is accepted after this is reserved if the caller holds the tenant's row lock and writes what is wanted in the same transaction.
    """
    if more_bays > 0 or more_hosts > 0:
        refuse_growth_on_hold(tenant=tenant)
    over = [each for each in usage_after(tenant=tenant, flavor=flavor, more_bays=more_bays, more_hosts=more_hosts) if each.exceeded]
    if not over:
        return
    worst = over[0]
    more = f" Beyond the limit would be {' and '.join(each.words(each.after) for each in over[1:])} too." if len(over) > 1 else ""
    field = "flavor" if more_bays and more_hosts == 1 else "node_count"
    errors: dict[str, str] = {}
    for each in over:
        at = "name" if each.name == "bays" else field
        errors[at] = f"{errors[at]} {_fault(each)}" if at in errors else _fault(each)
    raise LimitReached(
        f"{tenant.name} may have {worst.words(worst.limit)} and uses {worst.words(worst.used)}; with {worst.words(worst.asked)} more it "
        f"would be {worst.words(worst.after)}.{more} Delete or shrink what you no longer need, choose less, or ask for higher limits.",
        errors=errors,
    )


def growth_of(*, bay: Bay, node_count: int) -> tuple[Flavor, int]:
    """Return the flavor of hosts that come or go when the bay is resized, and how many more the bay then uses.

    Fewer for what comes free once the hosts that go are gone. Hosts that an earlier resize was to remove, and that are not retiring
    yet, are used already: wanting them again asks for nothing.
    """
    group = NodeGroup.objects.select_related("flavor").get(bay=bay, role=Role.WORKER)
    if node_count == bay.node_count:
        return group.flavor, 0
    ((_, retiring, staying),) = _counted(NodeGroup.objects.filter(id=group.id))
    wanted = max(0, node_count - bay.manager_count)
    if wanted > group.count:
        return group.flavor, max(wanted, staying) - max(group.count, staying)
    return group.flavor, wanted - retiring - max(group.count, staying)


def _used(*, tenant: Tenant) -> tuple[int, int, int, int, int]:
    hosts = vcpus = memory_mib = disk_gib = 0
    groups = NodeGroup.objects.filter(tenant=tenant, bay__deleted_at=None)
    # One statement, so one snapshot: a host that changes from staying to retiring meanwhile is counted exactly once.
    for wanted, retiring, staying, cpus, memory, disk in _counted(groups, "flavor__vcpus", "flavor__memory_mib", "flavor__disk_gib"):
        count = retiring + max(wanted, staying)
        hosts += count
        vcpus += count * cpus
        memory_mib += count * memory
        disk_gib += count * disk
    return tenant.bays.filter(ALIVE).count(), hosts, vcpus, memory_mib, disk_gib


def _counted(groups: QuerySet[NodeGroup], *columns: str) -> Iterable[tuple[int, ...]]:
    """Return for each group how many hosts are wanted, retiring and staying, and `columns`."""
    counted = groups.annotate(retiring=Count("hosts", filter=RETIRING), staying=Count("hosts", filter=~GONE & ~RETIRING))
    return counted.values_list("count", "retiring", "staying", *columns)


def _fault(usage: Usage) -> str:
    return f"At most {usage.words(usage.limit)}: {usage.words(usage.used)} used, {usage.words(usage.asked)} more asked for."
