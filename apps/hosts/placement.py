"""Where hosts may go: which aggregates a flavor fits, how many hosts there is room for, and why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from django.db.models import Prefetch

from apps.common.errors import CloudSilent, InvalidInput, NoRoom
from apps.hosts.contracts import HostKind, HostSize
from apps.hosts.extra_specs import unmet_specs
from apps.hosts.matching import fitting_cloud_flavors, why_no_cloud_flavor
from apps.hosts.models import Aggregate, Cloud, Flavor
from apps.hosts.room import Free, machines_of, room_for


@dataclass(frozen=True, kw_only=True)
class Promise:
    """Hosts that accepted bays will still ask of an aggregate, which the cloud's last look did not contain."""

    cloud_id: UUID
    aggregate: str
    size: HostSize
    count: int


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an orchestrator needs of a place: its node image (empty: not decided yet) and an operating system it can use."""

    image: str = ""
    os_types: tuple[str, ...] = ("linux",)


class Bar(Protocol):
    """Says why a flavor may not be had on a cloud for a reason that is not the cloud's; empty if it may."""

    def __call__(self, *, flavor: Flavor, cloud: Cloud) -> str:
        """Return the sentence."""


def no_bar(*, flavor: Flavor, cloud: Cloud) -> str:
    """Bar nothing."""
    del flavor, cloud
    return ""


ANY_ORCHESTRATOR = Needs()
UNLIMITED = 1_000_000_000


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


def offer(
    *,
    flavor: Flavor,
    cloud: Cloud,
    promised: Sequence[Promise],
    needs: Needs = ANY_ORCHESTRATOR,
    aggregate_name: str = "",
    bar: Bar = no_bar,
) -> Offer:
    """Return what `cloud` offers of `flavor`: the fitting aggregate with most room, or the reason why there is none.

    `aggregate_name` narrows it to one aggregate, where a bay has hosts already.
    """
    of_kind = [each for each in cloud.aggregates.all() if each.host_kind == flavor.host_kind]
    fitting = [each for each in of_kind if aggregate_name in {"", each.name} and not _why_not(flavor, cloud, each, needs)]
    if not fitting:
        return Offer(flavor=flavor, cloud=cloud, aggregate=None, room=0, reason=_why_none(flavor, cloud, of_kind, needs))
    if reason := bar(flavor=flavor, cloud=cloud):
        return Offer(flavor=flavor, cloud=cloud, aggregate=None, room=0, reason=reason)
    mine = [promise for promise in promised if promise.cloud_id == cloud.id]
    rooms = {each.id: _room(flavor, each, mine) for each in fitting}
    best = max(fitting, key=lambda each: rooms[each.id])
    if not cloud.healthy:
        # Why is for operators, on the cloud's page: what a cloud says of itself may name addresses inside.
        reason = f"The cloud {cloud.title} does not answer at the moment; bays can be created there once it does."
        return Offer(flavor=flavor, cloud=cloud, aggregate=best, room=0, reason=reason)
    allowed = _room_in_quota(flavor, cloud, mine)
    room = min(rooms[best.id], allowed)
    reason = "" if room else f"No room is left for {flavor.name} on {cloud.title}."
    if rooms[best.id] and not allowed:
        reason = f"The quota that {cloud.title} gives this portal leaves no room for {flavor.name}."
    return Offer(flavor=flavor, cloud=cloud, aggregate=best, room=room, reason=reason)


def offers(
    *,
    flavors: Sequence[Flavor],
    promised: Sequence[Promise],
    needs: Needs = ANY_ORCHESTRATOR,
    cloud_name: str = "",
    bar: Bar = no_bar,
) -> list[Offer]:
    """Return for every flavor its best offer: of the default cloud if that has room, else of the one with most room.

    With the name of a cloud that there is, what that one offers.
    """
    clouds = usable_clouds()
    clouds = [cloud for cloud in clouds if cloud.name == cloud_name] or clouds
    best = []
    for flavor in flavors:
        found = [offer(flavor=flavor, cloud=cloud, promised=promised, needs=needs, bar=bar) for cloud in clouds]
        if found:
            best.append(max(found, key=lambda item: (item.room > 0, item.cloud.is_default, item.aggregate is not None, item.room)))
    return best


def choose(
    *,
    flavor: Flavor,
    count: int,
    cloud_name: str,
    promised: Sequence[Promise],
    needs: Needs = ANY_ORCHESTRATOR,
    aggregate_name: str = "",
    bar: Bar = no_bar,
) -> Offer:
    """Return where `count` new hosts go: `cloud_name`, or if that is empty the default cloud, or any other that has room and no `bar`.

    Raises InvalidInput for an unknown cloud or a flavor it can never give, NoRoom when only room is lacking, CloudSilent when no cloud
    that could have room answers.
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
    found = [offer(flavor=flavor, cloud=cloud, promised=promised, needs=needs, aggregate_name=aggregate_name, bar=bar) for cloud in clouds]
    possible = [item for item in found if item.aggregate is not None]
    if not possible:
        raise InvalidInput.field("flavor", found[0].reason, code="flavor_not_offered")
    for item in possible:
        if item.room >= count:
            return item
    answering = [item for item in possible if item.cloud.healthy]
    if not answering:
        raise CloudSilent(possible[0].reason)
    best = max(answering, key=lambda item: item.room)
    raise NoRoom(
        f"There is room for {best.room} more {'host' if best.room == 1 else 'hosts'} of flavor {flavor.name}, not for {count}; "
        "choose a smaller flavor or fewer hosts.",
        errors={"node_count": f"Room for {best.room} more."},
    )


def _room(flavor: Flavor, aggregate: Aggregate, promised: Sequence[Promise]) -> int:
    taken = [(promise.size, promise.count) for promise in promised if promise.aggregate == aggregate.name]
    return room_for(size=flavor.size, machines=machines_of(aggregate=aggregate), taken=taken)


def _room_in_quota(flavor: Flavor, cloud: Cloud, promised: Sequence[Promise]) -> int:
    """How many more hosts the quota allows; its hosts count as disk of 1 each, so that one rule serves for all three numbers."""
    if cloud.quota is None:
        return UNLIMITED
    limits = [UNLIMITED if cloud.quota[name] is None else int(cloud.quota[name]) for name in ("vcpus", "memory_mib", "hosts")]
    taken = [(_counted(promise.size), promise.count) for promise in promised]
    whole = Free(vcpus=limits[0], memory_mib=limits[1], disk_gib=limits[2])
    return room_for(size=_counted(flavor.size), machines=[whole], taken=taken)


def _counted(size: HostSize) -> HostSize:
    return HostSize(vcpus=size.vcpus, memory_mib=size.memory_mib, disk_gib=1, processes=size.processes)


def _why_not(flavor: Flavor, cloud: Cloud, aggregate: Aggregate, needs: Needs) -> str:
    """Why no host of the flavor may go to this aggregate, however much room it has; empty if it may."""
    system = str(aggregate.metadata.get("os_type", "linux")).lower()
    if system not in needs.os_types:
        return f"The aggregate {aggregate.name} of {cloud.title} is for {system} hosts, which this orchestrator cannot use."
    if unmet := unmet_specs(extra_specs=flavor.extra_specs, metadata=aggregate.metadata):
        return f"No aggregate of {cloud.title} has the metadata this flavor asks for ({', '.join(unmet)})."
    if flavor.volume_gib and not cloud.volumes:
        return f"The cloud {cloud.title} has no block volumes, which this flavor asks for."
    if cloud.flavors is not None and not fitting_cloud_flavors(cloud=cloud, flavor=flavor, aggregate=aggregate):
        return why_no_cloud_flavor(cloud=cloud, flavor=flavor, aggregate=aggregate)
    if needs.image and cloud.synced_at is not None and not _has_image(cloud, flavor, needs):
        return f"The node image for hosts of kind {flavor.host_kind} is not in {cloud.title}; its operator uploads it."
    return ""


def _has_image(cloud: Cloud, flavor: Flavor, needs: Needs) -> bool:
    return any(
        image["ref"] == needs.image and image["properties"].get("carina.host_kind", flavor.host_kind) == flavor.host_kind
        for image in cloud.images
    )


def _why_none(flavor: Flavor, cloud: Cloud, of_kind: Sequence[Aggregate], needs: Needs) -> str:
    if of_kind:
        return next((reason for each in of_kind if (reason := _why_not(flavor, cloud, each, needs))), "The aggregate of this bay is gone.")
    if reason := cloud.unavailable.get(flavor.host_kind):
        return str(reason)
    if cloud.synced_at is None:
        return f"The cloud {cloud.title} has not answered yet: {cloud.health_message}"
    return f"The cloud {cloud.title} has no hosts of kind {HostKind(flavor.host_kind).value}."
