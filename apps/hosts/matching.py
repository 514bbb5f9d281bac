"""Which flavor of a cloud gives a host of one of ours on an aggregate: same size, and led there by the rule of Nova's scheduler."""

from collections.abc import Mapping
from typing import Any

from apps.hosts.contracts import FlavorMissing
from apps.hosts.extra_specs import asked_of_aggregates, unmet_specs
from apps.hosts.models import Aggregate, Cloud, Flavor

CloudFlavor = Mapping[str, Any]
"""A `FlavorInfo` as the cloud's row keeps it."""


def cloud_flavor_of(*, cloud: Cloud, flavor: Flavor, aggregate: str) -> str:
    """Return the cloud's own reference for hosts of `flavor` on the aggregate of that name; empty where hosts may have any size.

    Raises FlavorMissing if the cloud no longer has one.
    """
    if cloud.flavors is None:
        return ""
    place = cloud.aggregates.filter(name=aggregate, host_kind=flavor.host_kind).first()
    if place is None:
        raise FlavorMissing(f"The aggregate “{aggregate}” of {cloud.title} is gone.")
    fitting = fitting_cloud_flavors(cloud=cloud, flavor=flavor, aggregate=place)
    if not fitting:
        raise FlavorMissing(why_no_cloud_flavor(cloud=cloud, flavor=flavor, aggregate=place))
    return str(fitting[0]["ref"])


def fitting_cloud_flavors(*, cloud: Cloud, flavor: Flavor, aggregate: Aggregate) -> list[CloudFlavor]:
    """Return the cloud's flavors that give such a host on `aggregate` and nowhere else of another kind, the closest first."""
    same_size = [each for each in cloud.flavors or [] if _same_size(each, flavor)]
    led_there = [each for each in same_size if lands_on(cloud_flavor=each, aggregate=aggregate) and _stays_there(each, cloud, aggregate)]
    return sorted(led_there, key=lambda each: (each["name"] != flavor.name, each["disk_gib"], each["name"]))


def lands_on(*, cloud_flavor: CloudFlavor, aggregate: Aggregate) -> bool:
    """Return whether Nova's scheduler would let a server of that flavor onto the aggregate."""
    return not unmet_specs(extra_specs=cloud_flavor["extra_specs"], metadata=aggregate.metadata)


def is_pinned(*, cloud_flavor: CloudFlavor) -> bool:
    """Return whether the flavor asks anything of an aggregate; one that does not may land on any server."""
    return bool(asked_of_aggregates(extra_specs=cloud_flavor["extra_specs"]))


def why_no_cloud_flavor(*, cloud: Cloud, flavor: Flavor, aggregate: Aggregate) -> str:
    """Return the sentence that says why no flavor of the cloud gives such a host on the aggregate."""
    size = f"{flavor.vcpus} vCPU, {flavor.memory_mib} MiB memory and at least {flavor.disk_gib} GiB disk"
    same_size = [each for each in cloud.flavors or [] if _same_size(each, flavor)]
    if not same_size:
        return f"{cloud.title} has no flavor of its own with {size}."
    names = ", ".join(sorted(str(each["name"]) for each in same_size))
    stray = [str(each["name"]) for each in same_size if lands_on(cloud_flavor=each, aggregate=aggregate)]
    if stray:
        return (
            f"{cloud.title}’s flavor {', '.join(sorted(stray))} could also land on aggregates of another kind; "
            f"give it extra specs that only {aggregate.name} meets."
        )
    return f"{cloud.title}’s flavors of this size ({names}) do not lead to the aggregate {aggregate.name}."


def _same_size(cloud_flavor: CloudFlavor, flavor: Flavor) -> bool:
    exact = (cloud_flavor["vcpus"], cloud_flavor["memory_mib"]) == (flavor.vcpus, flavor.memory_mib)
    return exact and cloud_flavor["disk_gib"] >= flavor.disk_gib


def _stays_there(cloud_flavor: CloudFlavor, cloud: Cloud, aggregate: Aggregate) -> bool:
    others = [each for each in cloud.aggregates.all() if each.host_kind != aggregate.host_kind or _system(each) != _system(aggregate)]
    return not any(lands_on(cloud_flavor=cloud_flavor, aggregate=other) for other in others)


def _system(aggregate: Aggregate) -> str:
    return str(aggregate.metadata.get("os_type", "linux")).lower()
