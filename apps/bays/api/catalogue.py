"""What can be asked for: clouds, flavors, orchestrators, and where everything is."""

from dataclasses import asdict
from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import ApiView, OpenView
from apps.bays.api.pages import page_of
from apps.bays.api.serializers import NoticeSerializer
from apps.bays.catalogue import TRADE_OFFS
from apps.bays.pricing import Prices, prices_for
from apps.bays.selectors import promised_hosts
from apps.coes.base import all_coes
from apps.common.api.pagination import whole
from apps.hosts.models import Cloud, Flavor
from apps.hosts.placement import Offer, offers, usable_clouds

ROOT = "/api/v1"


class IndexSerializer(serializers.Serializer[Any]):
    """What is here."""

    name = serializers.CharField()
    version = serializers.CharField()
    authentication = serializers.CharField()
    links = serializers.DictField(child=serializers.CharField())


class TradeOffSerializer(serializers.Serializer[Any]):
    """What a kind of host is good and bad at."""

    performance = serializers.CharField()
    isolation = serializers.CharField()
    cost = serializers.CharField()


class FlavorSerializer(serializers.ModelSerializer[Flavor]):
    """A size and kind of host, its price, and whether there is room for it now."""

    price_per_hour = serializers.SerializerMethodField(
        help_text="Of one host, by the portal's own list; what you pay is in your organisation's currency. Null where it has no price."
    )
    currency = serializers.SerializerMethodField()
    trade_offs = serializers.SerializerMethodField()
    available = serializers.SerializerMethodField()
    room = serializers.SerializerMethodField(help_text="How many hosts of it there is room for on that cloud now: a hint, not a promise.")
    reason = serializers.SerializerMethodField(help_text="Why it is not available; empty if it is.")
    cloud = serializers.SerializerMethodField(help_text="Where it would come from unless a cloud is asked for; null if from nowhere.")

    class Meta:
        model = Flavor
        fields = (
            "name", "host_kind", "vcpus", "memory_mib", "disk_gib", "processes", "price_per_hour", "currency", "trade_offs",
            "available", "room", "reason", "cloud",
        )  # fmt: skip

    def get_currency(self, flavor: Flavor) -> str:
        """Return the portal's currency."""
        return self._prices.currency

    @extend_schema_field(serializers.DecimalField(max_digits=18, decimal_places=8, allow_null=True))
    def get_price_per_hour(self, flavor: Flavor) -> str | None:
        """Return the price of its best offer."""
        price = price_of(flavor=flavor, offer=self._offer(flavor), prices=self._prices)
        return f"{price:.8f}" if price is not None else None

    @extend_schema_field(TradeOffSerializer)
    def get_trade_offs(self, flavor: Flavor) -> dict[str, str]:
        """Return the trade-off of its kind."""
        found = TRADE_OFFS[flavor.host_kind]
        return {"performance": str(found.performance[1]), "isolation": str(found.isolation[1]), "cost": str(found.cost[1])}

    def get_available(self, flavor: Flavor) -> bool:
        """Tell whether there is room for one host."""
        return self.get_room(flavor) > 0

    def get_room(self, flavor: Flavor) -> int:
        """Return the room of its best offer."""
        found = self._offer(flavor)
        return found.room if found else 0

    def get_reason(self, flavor: Flavor) -> str:
        """Return the sentence of its best offer."""
        found = self._offer(flavor)
        return found.reason if found else "This portal has no cloud that hosts could come from yet."

    def get_cloud(self, flavor: Flavor) -> str | None:
        """Return the cloud of its best offer."""
        found = self._offer(flavor)
        return found.cloud.name if found and found.aggregate else None

    @property
    def _prices(self) -> Prices:
        prices: Prices = self.context["prices"]
        return prices

    def _offer(self, flavor: Flavor) -> Offer | None:
        offer: Offer | None = self.context["offers"].get(flavor.id)
        return offer


class CloudSerializer(serializers.ModelSerializer[Cloud]):
    """A place hosts come from."""

    host_kinds = serializers.SerializerMethodField(help_text="Kinds of host it gives.")
    unavailable = serializers.DictField(child=serializers.CharField(), help_text="Kinds of host it does not give, and why.")
    notices = serializers.SerializerMethodField(help_text="What users of bays on it must know, by orchestrator.")

    class Meta:
        model = Cloud
        fields = (
            "name", "title", "provider", "region", "is_default", "healthy", "health_message", "synced_at", "host_kinds", "unavailable",
            "notices",
        )  # fmt: skip
        extra_kwargs = {
            "region": {"help_text": "The cloud's own name for this part of it; empty where it has no regions."},
            "synced_at": {"help_text": "When it was last looked at with success; null if never. What it offers is as old as that."},
        }

    def get_host_kinds(self, cloud: Cloud) -> list[str]:
        """Return the kinds of its aggregates."""
        return sorted({aggregate.host_kind for aggregate in cloud.aggregates.all()})

    @extend_schema_field(serializers.DictField(child=NoticeSerializer(many=True)))
    def get_notices(self, cloud: Cloud) -> dict[str, list[dict[str, str]]]:
        """Return the notices of every orchestrator on this cloud."""
        return {coe.name: [asdict(notice) for notice in coe.notices(limitations=cloud.limitations)] for coe in all_coes()}


class CoeVersionSerializer(serializers.Serializer[Any]):
    """A version a bay can be created with."""

    name = serializers.CharField()
    default = serializers.BooleanField()
    deprecated = serializers.CharField(allow_blank=True, help_text="A sentence, or empty.")


class CoeSerializer(serializers.Serializer[Any]):
    """A container orchestration engine."""

    name = serializers.CharField()
    title = serializers.CharField()
    sentence = serializers.CharField()
    versions = CoeVersionSerializer(many=True)
    manager_counts = serializers.ListField(child=serializers.IntegerField())


class Index(OpenView):
    """What is here."""

    @extend_schema(operation_id="read_index", summary="What is here", responses={200: IndexSerializer})
    def get(self, request: Request) -> Response:
        """Return where everything is; needs no token."""
        links = {
            "documentation": f"{ROOT}/docs", "schema": f"{ROOT}/schema", "problems": f"{ROOT}/problems", "clouds": f"{ROOT}/clouds",
            "flavors": f"{ROOT}/flavors", "coes": f"{ROOT}/coes", "tenants": f"{ROOT}/tenants", "bays": f"{ROOT}/tenants/{{tenant}}/bays",
        }  # fmt: skip
        authentication = "Authorization: Bearer <token>; tokens are made in the portal's settings."
        return Response({"name": "Carina", "version": settings.VERSION, "authentication": authentication, "links": links})


class CatalogueView(ApiView):
    """A view of what can be asked for."""

    tag: ClassVar[str] = "Catalogue"


class CloudList(CatalogueView):
    """The clouds."""

    @extend_schema(operation_id="list_clouds", summary="List the clouds", responses={200: page_of(CloudSerializer)})
    def get(self, request: Request) -> Response:
        """Return those that are switched on, the default one first."""
        return whole(data=CloudSerializer(usable_clouds(), many=True).data)


class FlavorList(CatalogueView):
    """The flavors."""

    @extend_schema(operation_id="list_flavors", summary="List the flavors with prices and room", responses={200: page_of(FlavorSerializer)})
    def get(self, request: Request) -> Response:
        """Return sizes and kinds of host, cheapest first, also those no cloud gives now, with the reason."""
        prices = prices_for(tenant=None)
        flavors = list(Flavor.objects.filter(enabled=True).order_by("name"))
        best = {offer.flavor.id: offer for offer in offers(flavors=flavors, promised=promised_hosts(), bar=prices.why_none)}
        by_price = {each.id: price_of(flavor=each, offer=best.get(each.id), prices=prices) for each in flavors}
        flavors.sort(key=lambda each: (by_price[each.id] is None, by_price[each.id] or 0))
        return whole(data=FlavorSerializer(flavors, many=True, context={"offers": best, "prices": prices}).data)


def price_of(*, flavor: Flavor, offer: Offer | None, prices: Prices) -> Decimal | None:
    """Return what a host of the flavor costs an hour where it would come from."""
    return prices.per_hour(flavor=flavor, cloud=offer.cloud if offer is not None else None)


class CoeList(CatalogueView):
    """The orchestrators."""

    @extend_schema(operation_id="list_coes", summary="List the orchestrators", responses={200: page_of(CoeSerializer)})
    def get(self, request: Request) -> Response:
        """Return what a bay can run."""
        return whole(data=CoeSerializer(all_coes(), many=True).data)
