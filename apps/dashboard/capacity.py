"""What an operator sees of a cloud: aggregate, flavors, servers, what is free, and why a flavor is not offered. From rows alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _

from apps.bays.estimates import needs_of
from apps.bays.models import ALIVE, Bay, Host
from apps.bays.presenters import Look, Words
from apps.bays.selectors import promised_hosts
from apps.coes.base import all_coes
from apps.hosts.matching import CloudFlavor, fitting_cloud_flavors, is_pinned, lands_on
from apps.hosts.models import Aggregate, Cloud, Flavor
from apps.hosts.placement import Offer, Promise, offer


@dataclass(frozen=True, kw_only=True)
class Bar:
    """How much of something is free. `unit` is the word behind the numbers, or `memory` for MiB and `disk` for GiB."""

    label: Words
    free: int
    total: int
    unit: str

    @property
    def used(self) -> int:
        """What is taken."""
        return max(0, self.total - self.free)


@dataclass(frozen=True, kw_only=True)
class Sale:
    """A flavor of ours on this cloud for one orchestrator: how many more hosts, and on which of its flavors; or why none."""

    flavor: Flavor
    coe: str
    offer: Offer
    cloud_flavor: str


@dataclass(frozen=True, kw_only=True)
class AggregateView:
    """An aggregate with what lands on it. `told` is false where the cloud does not let us see its servers."""

    row: Aggregate
    bars: list[Bar]
    cloud_flavors: list[tuple[CloudFlavor, bool]]
    sales: list[Sale]
    told: bool


@dataclass(frozen=True, kw_only=True)
class ImageView:
    """A node image: the name orchestrators ask for, and what is in it."""

    ref: str
    words: str


@dataclass(frozen=True, kw_only=True)
class CloudView:
    """Everything about one cloud."""

    row: Cloud
    look: Look
    bays: int
    hosts: int
    aggregates: list[AggregateView]
    not_offered: list[Sale]
    lost_flavors: list[CloudFlavor]
    quota: list[tuple[Words, int | None, str]]
    images: list[ImageView]
    several_coes: bool


def look_of_cloud(*, cloud: Cloud) -> Look:
    """Return how a cloud is, in a word."""
    if not cloud.enabled:
        return Look(word=_("Switched off"), icon="zzz", tone="idle")
    if cloud.healthy:
        return Look(word=_("Healthy"), icon="circle-check", tone="good")
    if cloud.synced_at is None:
        return Look(word=_("Never answered"), icon="circle-x", tone="bad")
    return Look(word=_("Not answering"), icon="alert-circle", tone="bad")


def all_clouds() -> QuerySet[Cloud]:
    """Return every cloud, also those switched off, the default first, with its aggregates loaded."""
    aggregates = Prefetch("aggregates", queryset=Aggregate.objects.order_by("host_kind", "name"))
    return Cloud.objects.prefetch_related(aggregates).order_by("-is_default", "name")


def bays_by_cloud() -> dict[UUID, tuple[int, int]]:
    """Return for each cloud how many bays live there, and how many hosts are theirs."""
    bays = Counter(Bay.objects.filter(ALIVE).values_list("cloud_id", flat=True))
    hosts = Counter(Host.objects.exclude(state=Host.State.REMOVED).values_list("cloud_id", flat=True))
    return {cloud_id: (count, hosts[cloud_id]) for cloud_id, count in bays.items()}


def bars_of(*, aggregate: Aggregate) -> list[Bar]:
    """Return how much of an aggregate is free."""
    return [
        Bar(label=_("vCPUs"), free=aggregate.free_vcpus, total=aggregate.total_vcpus, unit=""),
        Bar(label=_("Memory"), free=aggregate.free_memory_mib, total=aggregate.total_memory_mib, unit="memory"),
        Bar(label=_("Disk"), free=aggregate.free_disk_gib, total=aggregate.total_disk_gib, unit="disk"),
    ]


def view_of(*, cloud: Cloud) -> CloudView:
    """Put together what an operator wants to know of a cloud whose aggregates are loaded."""
    flavors = list(Flavor.objects.filter(enabled=True).order_by("host_kind", "memory_mib", "name"))
    promised = promised_hosts()
    sales = [_sale(flavor, coe, cloud, promised) for flavor in flavors for coe in all_coes()]
    aggregates = [_aggregate_view(each, cloud, sales, promised) for each in cloud.aggregates.all()]
    used = {flavor["ref"] for view in aggregates for flavor, _pinned in view.cloud_flavors}
    bays, hosts = bays_by_cloud().get(cloud.id, (0, 0))
    return CloudView(
        row=cloud,
        look=look_of_cloud(cloud=cloud),
        bays=bays,
        hosts=hosts,
        aggregates=aggregates,
        not_offered=[sale for sale in sales if not sale.offer.room],
        lost_flavors=sorted((each for each in cloud.flavors or [] if each["ref"] not in used), key=lambda each: str(each["name"])),
        quota=_quota(cloud.quota),
        images=[_image(each) for each in cloud.images],
        several_coes=len(all_coes()) > 1,
    )


def _sale(flavor: Flavor, coe: Any, cloud: Cloud, promised: Sequence[Promise], aggregate: Aggregate | None = None) -> Sale:
    name = aggregate.name if aggregate else ""
    found = offer(flavor=flavor, cloud=cloud, promised=promised, needs=needs_of(coe=coe), aggregate_name=name)
    place = found.aggregate
    fitting = fitting_cloud_flavors(cloud=cloud, flavor=flavor, aggregate=place) if place and cloud.flavors else []
    return Sale(flavor=flavor, coe=coe.title, offer=found, cloud_flavor=str(fitting[0]["name"]) if fitting else "")


def _aggregate_view(aggregate: Aggregate, cloud: Cloud, sales: Sequence[Sale], promised: Sequence[Promise]) -> AggregateView:
    coes = all_coes()
    candidates = list(dict.fromkeys(sale.flavor for sale in sales if sale.flavor.host_kind == aggregate.host_kind))
    mine = [_sale(flavor, coe, cloud, promised, aggregate) for flavor in candidates for coe in coes]
    landing = [each for each in cloud.flavors or [] if lands_on(cloud_flavor=each, aggregate=aggregate)]
    return AggregateView(
        row=aggregate,
        bars=bars_of(aggregate=aggregate),
        cloud_flavors=[(each, is_pinned(cloud_flavor=each)) for each in sorted(landing, key=lambda each: str(each["name"]))],
        sales=[sale for sale in mine if sale.offer.aggregate is not None],
        told=bool(aggregate.machines) or aggregate.servers > 0 or cloud.flavors is None,
    )


def _quota(quota: dict[str, int | None] | None) -> list[tuple[Words, int | None, str]]:
    if quota is None:
        return []
    words = [("hosts", _("Hosts"), ""), ("vcpus", _("vCPUs"), ""), ("memory_mib", _("Memory"), "memory")]
    return [(label, quota.get(name), unit) for name, label, unit in words]


def _image(image: dict[str, Any]) -> ImageView:
    told = [image["properties"].get(f"carina.{name}", "") for name in ("coe", "coe_version", "host_kind", "recipe")]
    return ImageView(ref=str(image["ref"]), words=" · ".join(str(word)[:24] for word in told if word))
