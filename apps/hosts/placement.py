"""Where hosts may go: which aggregates a flavor fits, how many hosts there is room for, and why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Prefetch

from apps.common.errors import InvalidInput, NoRoom
from apps.hosts.contracts import HostKind, HostSize
from apps.hosts.extra_specs import unmet_specs
from apps.hosts.models import Aggregate, Cloud, Flavor

Promised = Mapping[UUID, HostSize]
"""By cloud id, what accepted bays will still ask of it that its last look did not contain."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One flavor on one cloud: how many more hosts fit in `aggregate`, or why none is offered at all."""

    flavor: Flavor
    cloud: Cloud
    aggregate: Aggregate | None
    room: int
    reason: str = ""


def usable_clouds() -> list[Cloud]:
    """Return the clouds that are switched on, default first, with their aggregates loaded."""
    aggregates = Prefetch("aggregates", queryset=Aggregate.objects.order_by("name"))
    return list(Cloud.objects.filter(enabled=True).prefetch_related(aggregates).order_by("-is_default", "name"))


def offer(*, flavor: Flavor, cloud: Cloud, promised: Promised) -> Offer:
    """Return what `cloud` offers of `flavor`: the fitting aggregate with most room, or the reason why there is none."""
    fitting = [
        aggregate
        for aggregate in cloud.aggregates.all()
        if aggregate.host_kind == flavor.host_kind and not unmet_specs(extra_specs=flavor.extra_specs, metadata=aggregate.metadata)
    ]
    if not fitting:
        return Offer(flavor=flavor, cloud=cloud, aggregate=None, room=0, reason=_why_none(flavor=flavor, cloud=cloud))
    nothing = HostSize(vcpus=0, memory_mib=0, disk_gib=0, processes=0)
    best = max(fitting, key=lambda aggregate: _room(flavor=flavor, aggregate=aggregate, promised=promised.get(cloud.id, nothing)))
    room = _room(flavor=flavor, aggregate=best, promised=promised.get(cloud.id, nothing))
    if not cloud.healthy:
        return Offer(
            flavor=flavor, cloud=cloud, aggregate=best, room=0, reason=f"The cloud {cloud.title} does not answer: {cloud.health_message}"
        )
    reason = "" if room else f"No room is left for {flavor.name} on {cloud.title}."
    return Offer(flavor=flavor, cloud=cloud, aggregate=best, room=room, reason=reason)


def offers(*, flavors: Sequence[Flavor], promised: Promised) -> list[Offer]:
    """Return for every flavor its best offer: of the default cloud if that has room, else of the one with most room."""
    clouds = usable_clouds()
    best = []
    for flavor in flavors:
        found = [offer(flavor=flavor, cloud=cloud, promised=promised) for cloud in clouds]
        if found:
            best.append(max(found, key=lambda item: (item.room > 0, item.cloud.is_default, item.aggregate is not None, item.room)))
    return best


def choose(*, flavor: Flavor, count: int, cloud_name: str, promised: Promised) -> Offer:
    """Return where `count` new hosts go: `cloud_name`, or if that is empty the default cloud, or any other that has room.

    Raises InvalidInput for an unknown cloud or a flavor it can never give, NoRoom when only room is lacking.
    """
    clouds = usable_clouds()
    if not clouds:
        raise NoRoom(
            "This portal has no cloud that hosts could come from yet; its operator adds one with “manage.py add_cloud”.", code="no_cloud"
        )
    if cloud_name:
        clouds = [cloud for cloud in clouds if cloud.name == cloud_name]
        if not clouds:
            known = ", ".join(cloud.name for cloud in usable_clouds())
            raise InvalidInput.field("cloud", f"There is no cloud “{cloud_name[:40]}”; known are: {known}.", code="cloud_unknown")
    found = [offer(flavor=flavor, cloud=cloud, promised=promised) for cloud in clouds]
    possible = [item for item in found if item.aggregate is not None]
    if not possible:
        raise InvalidInput.field("flavor", found[0].reason, code="flavor_not_offered")
    for item in possible:
        if item.room >= count:
            return item
    best = max(possible, key=lambda item: item.room)
    raise NoRoom(
        f"There is room for {best.room} more {'host' if best.room == 1 else 'hosts'} of flavor {flavor.name}, not for {count}; "
        "choose a smaller flavor or fewer hosts.",
        errors={"node_count": f"Room for {best.room} more."},
    )


def _room(*, flavor: Flavor, aggregate: Aggregate, promised: HostSize) -> int:
    return max(
        0,
        min(
            (aggregate.free_vcpus - promised.vcpus) // flavor.vcpus,
            (aggregate.free_memory_mib - promised.memory_mib) // flavor.memory_mib,
            (aggregate.free_disk_gib - promised.disk_gib) // flavor.disk_gib,
        ),
    )


def _why_none(*, flavor: Flavor, cloud: Cloud) -> str:
    of_kind = [aggregate for aggregate in cloud.aggregates.all() if aggregate.host_kind == flavor.host_kind]
    if of_kind:
        unmet = unmet_specs(extra_specs=flavor.extra_specs, metadata=of_kind[0].metadata)
        return f"No aggregate of {cloud.title} has the metadata this flavor asks for ({', '.join(unmet)})."
    if reason := cloud.unavailable.get(flavor.host_kind):
        return str(reason)
    if cloud.synced_at is None:
        return f"The cloud {cloud.title} has not answered yet: {cloud.health_message}"
    return f"The cloud {cloud.title} has no hosts of kind {HostKind(flavor.host_kind).value}."
