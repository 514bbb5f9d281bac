"""One look at an OpenStack: a fixed handful of calls, however many servers and hosts it has.

What a project's member may see (flavors, images, networks, limits) is asked with the portal's own credential; what only operators may
see (aggregates, hypervisors, Placement) with that for discovery, which may be the same. Where the right is missing, or a service
is not there, discovery goes on with what can be seen, and a warning says what that costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from openstack.connection import Connection

from apps.hosts.contracts import AggregateInfo, CloudFacts, CloudRefused, FlavorInfo, HostKind, ImageInfo, QuotaInfo
from apps.hosts.providers.openstack import inventory
from apps.hosts.providers.openstack.inventory import Found, Json
from apps.hosts.providers.openstack.queries import allowed, answer, every, highest_microversion
from apps.hosts.providers.openstack.session import has_volumes

OLDEST_MICROVERSION = (2, 61)  # flavors tell their extra specs; Rocky, 2018
RELEASES = {
    (2, 65): "Rocky", (2, 72): "Stein", (2, 79): "Train", (2, 87): "Ussuri or Victoria", (2, 88): "Wallaby", (2, 90): "Xena or Yoga",
    (2, 93): "2022.2 Zed", (2, 95): "2023.1 Antelope or 2023.2 Bobcat", (2, 96): "2024.1 Caracal or 2024.2 Dalmatian",
    (2, 100): "2025.1 Epoxy",
}  # fmt: skip
"""The highest microversion of each release: https://docs.openstack.org/nova/latest/reference/api-microversion-history.html."""
PAGE = 1000
MOST_ASKED_ONE_BY_ONE = 16
"""Servers without a free CPU are missing in Placement's one answer; so many of them are asked for singly, others count as full."""
OUR_PROPERTIES = "carina_"
OTHER_PROPERTIES = ("architecture", "os_type", "hw_vm_mode", "img_hv_type")
NETWORK_THINGS = {"network": "networks", "router": "routers", "security_group": "security groups", "floatingip": "floating IPs"}
FEW_LEFT = 5


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What Neutron tells: networks bays could share and those that lead out, by name; ranges in use; ids of all for comparison."""

    shared: tuple[str, ...]
    external: tuple[str, ...]
    known: frozenset[str]
    cidrs: tuple[str, ...]


def discover(*, portal: Connection, operator: Connection, settings: Mapping[str, str]) -> CloudFacts:
    """Return what the cloud is, offers and has left, by about ten calls.

    `operator` is the connection for discovery, or `portal` again. Settings: `network`, `external_network`, `host_kind`,
    `aggregate_kinds`. Raises CloudRefused for settings that make no sense or a Nova that is too old, and what openstacksdk and
    keystoneauth raise for a cloud that does not answer or does not let us in.
    """
    version = _version(portal)
    flavors = _flavors(portal)
    quota, network_warnings = _quota(portal)
    found = _aggregates(operator=operator, flavors=flavors, quota=quota, settings=settings, region=str(portal.config.region_name or ""))
    if found.untold:
        flavors = tuple(inventory.without_untold_specs(flavor) for flavor in flavors)
    images = _images(portal)
    networks = _networks(portal)
    return CloudFacts(
        version=version,
        aggregates=found.aggregates,
        images=images,
        unavailable=_unavailable(found.aggregates),
        used_cidrs=networks.cidrs,
        flavors=flavors,
        quota=quota,
        networks=networks.shared,
        volumes=has_volumes(portal),
        warnings=(
            *found.warnings,
            *_about_images(found.aggregates, images),
            *_about_networks(networks, settings),
            *network_warnings,
        ),
    )


def _aggregates(
    *, operator: Connection, flavors: Sequence[FlavorInfo], quota: QuotaInfo, settings: Mapping[str, str], region: str
) -> Found:
    given = inventory.kinds_by_name(settings.get("aggregate_kinds", ""))
    default = inventory.kind_named(settings.get("host_kind", ""))
    aggregates = allowed(operator.compute, "/os-aggregates", key="aggregates", microversion="2.41")
    hypervisors = None
    if aggregates is not None:
        hypervisors = allowed(operator.compute, "/os-hypervisors/detail", key="hypervisors", microversion="2.53", limit=PAGE)
    if aggregates is None or hypervisors is None:
        kind = default or HostKind.VM
        untold = inventory.untold_aggregates(
            flavors=[inventory.without_untold_specs(flavor) for flavor in flavors], quota=quota, region=region, default=kind, given=given
        )
        sentence = (
            "This credential may not read aggregates and hypervisors: room is told by the quota alone, and flavors that do not name a "
            f"kind are taken for {kind}. Add a credential for discovery."
        )
        return Found(aggregates=untold, warnings=(sentence,), untold=True)
    resources = _resources(operator, hypervisors)
    servers = inventory.machines(hypervisors=hypervisors, resources=resources or {})
    found = inventory.known_aggregates(aggregates=aggregates, servers=servers, region=region, given=given, default=default)
    doubts = [
        f"The flavor {name} asks nothing of an aggregate: its hosts can land anywhere. Give it aggregate_instance_extra_specs."
        for name in inventory.unpinned(flavors)
    ]
    if resources is None:
        doubts.append("This credential may not read Placement: room is Nova's own count, without over-commitment.")
    return replace(found, warnings=(*found.warnings, *doubts))


def _resources(operator: Connection, hypervisors: Sequence[Json]) -> dict[str, dict[str, tuple[int, int]]] | None:
    """Capacity and use of every server by Placement's id and resource class; None where Placement may not be read."""
    candidates = answer(operator.placement, "/allocation_candidates", microversion="1.29", resources="VCPU:1")
    if candidates is None:
        return None
    found = {
        uuid: {name: (int(each["capacity"]), int(each["used"])) for name, each in summary["resources"].items()}
        for uuid, summary in candidates["provider_summaries"].items()
    }
    # Ironic's nodes have no CPUs in Placement; Nova's own numbers serve for them.
    missing = [str(each["id"]) for each in hypervisors if str(each["id"]) not in found and each.get("hypervisor_type") != "ironic"]
    for uuid in missing[:MOST_ASKED_ONE_BY_ONE]:
        found[uuid] = _resources_of(operator, uuid)
    full = {"VCPU": (0, 0), "MEMORY_MB": (0, 0), "DISK_GB": (0, 0)}
    return found | dict.fromkeys(missing[MOST_ASKED_ONE_BY_ONE:], full)


def _resources_of(operator: Connection, uuid: str) -> dict[str, tuple[int, int]]:
    inventories = answer(operator.placement, f"/resource_providers/{uuid}/inventories", microversion="1.29")
    usages = answer(operator.placement, f"/resource_providers/{uuid}/usages", microversion="1.29")
    if inventories is None or usages is None:
        return {}
    return {
        name: (int((each["total"] - each["reserved"]) * each["allocation_ratio"]), int(usages["usages"].get(name, 0)))
        for name, each in inventories["inventories"].items()
    }


def _version(portal: Connection) -> str:
    highest = highest_microversion(portal)
    if highest < OLDEST_MICROVERSION:
        raise CloudRefused(
            f"Nova offers version {_dotted(highest)} of its API; {_dotted(OLDEST_MICROVERSION)} (Rocky) is the oldest Carina can use."
        )
    release = RELEASES.get(highest)
    return f"OpenStack Nova {_dotted(highest)}" + (f" ({release})" if release else "")


def _flavors(portal: Connection) -> tuple[FlavorInfo, ...]:
    return tuple(
        FlavorInfo(
            ref=str(each["id"]),
            name=str(each["name"]),
            vcpus=int(each["vcpus"]),
            memory_mib=int(each["ram"]),
            disk_gib=int(each["disk"]),
            extra_specs={str(key): str(value) for key, value in (each.get("extra_specs") or {}).items()},
        )
        for each in every(portal.compute, "/flavors/detail", key="flavors", microversion="2.61", limit=PAGE)
        if not each.get("OS-FLV-DISABLED:disabled")
    )


def _images(portal: Connection) -> tuple[ImageInfo, ...]:
    return tuple(
        ImageInfo(ref=str(each["carina_image"]), properties=_properties(each))
        for each in every(portal.image, "/images", key="images", limit=PAGE)
        if each.get("carina_image") and each["status"] == "active" and not each.get("os_hidden")
    )


def _properties(image: Json) -> dict[str, str]:
    ours = {
        f"carina.{key.removeprefix(OUR_PROPERTIES)}": str(value)
        for key, value in image.items()
        if key.startswith(OUR_PROPERTIES) and key != "carina_image"
    }
    return ours | {key: str(image[key]) for key in OTHER_PROPERTIES if image.get(key)} | {"id": str(image["id"])}


def _networks(portal: Connection) -> Networks:
    found = every(portal.network, "/networks", key="networks")
    subnets = every(portal.network, "/subnets", key="subnets")
    external = [each for each in found if each.get("router:external")]
    # Those of bays are known by their description; they are for nobody else.
    shared = [each for each in found if each not in external and not str(each.get("description") or "").startswith("carina:")]
    return Networks(
        shared=tuple(sorted({str(each["name"] or each["id"]) for each in shared})),
        external=tuple(sorted({str(each["name"] or each["id"]) for each in external})),
        known=frozenset(str(each[key]) for each in found for key in ("id", "name")),
        cidrs=tuple(sorted({str(each["cidr"]) for each in subnets if each.get("ip_version") == 4})),  # noqa: PLR2004 - IPv4
    )


def _quota(portal: Connection) -> tuple[QuotaInfo, tuple[str, ...]]:
    """What Nova's quota of the project leaves, hosts also by the ports Neutron's leaves; and what else is nearly used up there."""
    limits = answer(portal.compute, "/limits")
    absolute = (limits or {"limits": {"absolute": {}}})["limits"]["absolute"]

    def left(most: str, used: str) -> int | None:
        limit = int(absolute.get(most, -1))
        return None if limit < 0 else max(0, limit - int(absolute.get(used, 0)))

    hosts = left("maxTotalInstances", "totalInstancesUsed")
    details = answer(portal.network, f"/quotas/{portal.current_project_id}/details.json")
    quota = (details or {}).get("quota", {})
    remaining = {name: int(each["limit"]) - int(each["used"]) for name, each in quota.items() if int(each["limit"]) >= 0}
    if "port" in remaining:
        hosts = max(0, remaining["port"]) if hosts is None else min(hosts, max(0, remaining["port"]))
    sentences = tuple(
        f"Of the project's {quota[name]['limit']} {words}, {max(0, remaining[name])} are left: each bay needs its own, so raise the quota."
        for name, words in NETWORK_THINGS.items()
        if name in remaining and remaining[name] < FEW_LEFT
    )
    vcpus, memory = left("maxTotalCores", "totalCoresUsed"), left("maxTotalRAMSize", "totalRAMUsed")
    return QuotaInfo(hosts=hosts, vcpus=vcpus, memory_mib=memory), sentences


def _unavailable(found: Sequence[AggregateInfo]) -> dict[HostKind, str]:
    words = {HostKind.CONTAINER: "container hosts", HostKind.VM: "virtual machines", HostKind.BAREMETAL: "bare metal"}
    given = {each.host_kind for each in found}
    return {kind: f"This OpenStack has no servers set aside for {words[kind]}." for kind in HostKind if kind not in given}


def _about_images(found: Sequence[AggregateInfo], images: Sequence[ImageInfo]) -> list[str]:
    return [
        f"There is no node image for hosts of kind {kind}: upload one by “manage.py upload_images”."
        for kind in sorted({each.host_kind for each in found if each.metadata.get(inventory.SYSTEM_KEY, "linux") == "linux"})
        if not any(image.properties.get("carina.host_kind", kind) == kind for image in images)
    ]


def _about_networks(networks: Networks, settings: Mapping[str, str]) -> list[str]:
    known = {"network": networks.shared, "external_network": networks.external}
    return [
        f"The network “{settings[name]}” of this cloud's setting {name} is not there: no bay can be created. "
        f"There is: {', '.join(names) or 'none'}."
        for name, names in known.items()
        if settings.get(name) and settings[name] not in networks.known
    ]


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(number) for number in version)
