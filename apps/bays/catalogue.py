"""What a create form offers: kinds of hosts with their trade-off, and their flavors with price, room, or the reason why not."""

from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext_lazy as _

from apps.bays.presenters import Words
from apps.bays.pricing import Prices
from apps.bays.selectors import promised_hosts
from apps.hosts.contracts import HostKind
from apps.hosts.models import Flavor
from apps.hosts.placement import offers


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """What a kind of host is good and less good at: a mark from 1 to 3 and a few words each. Three marks of cost mean expensive."""

    title: Words
    icon: str
    performance: tuple[int, Words]
    isolation: tuple[int, Words]
    cost: tuple[int, Words]


TRADE_OFFS: dict[str, TradeOff] = {
    HostKind.CONTAINER: TradeOff(
        title=_("Container hosts"),
        icon="box",
        performance=(3, _("Speed of the bare machine; starts in about a second")),
        isolation=(1, _("Shares the server's kernel; own users, network and limits")),
        cost=(1, _("Lowest: many fit on one server")),
    ),
    HostKind.VM: TradeOff(
        title=_("Virtual machines"),
        icon="device-desktop",
        performance=(2, _("A few percent less; starts in tens of seconds")),
        isolation=(2, _("A kernel of its own behind hardware virtualisation")),
        cost=(2, _("Middle: memory is set aside in full")),
    ),
    HostKind.BAREMETAL: TradeOff(
        title=_("Bare metal"),
        icon="server",
        performance=(3, _("A whole server for you; starts in minutes")),
        isolation=(3, _("Physical: nobody else is on the machine")),
        cost=(3, _("Highest: you pay for the whole server")),
    ),
}


@dataclass(frozen=True, kw_only=True)
class FlavorOffer:
    """A flavor as a form offers it: for how many hosts there is room, or the reason why there is none, and what one costs.

    Amounts are None where it has no price, which is the reason then.
    """

    flavor: Flavor
    room: int
    reason: str
    per_hour: Decimal | None
    per_month: Decimal | None


@dataclass(frozen=True, kw_only=True)
class KindOffer:
    """A kind of host with its flavors. `reason` is why none of them can be had, where they share one; else empty."""

    kind: str
    trade_off: TradeOff
    offers: list[FlavorOffer]
    reason: str


def kinds_on_offer(*, prices: Prices, cloud_name: str = "") -> list[KindOffer]:
    """Return every kind of host this portal has flavors for, with what its clouds, or the one of that name, can give of them now.

    A flavor without a price is not to be had. The smallest comes first, of equal ones the cheapest.
    """
    flavors = list(Flavor.objects.filter(enabled=True))
    found = []
    for offer in offers(flavors=flavors, promised=promised_hosts(), cloud_name=cloud_name, bar=prices.why_none):
        per_hour = prices.per_hour(flavor=offer.flavor, cloud=offer.cloud)
        per_month = prices.per_month(per_hour=per_hour) if per_hour is not None else None
        found.append(FlavorOffer(flavor=offer.flavor, room=offer.room, reason=offer.reason, per_hour=per_hour, per_month=per_month))
    found.sort(key=lambda offer: (offer.flavor.memory_mib, offer.per_hour is None, offer.per_hour or 0, offer.flavor.name))
    by_kind = {kind: [offer for offer in found if offer.flavor.host_kind == kind] for kind in TRADE_OFFS}
    return [
        KindOffer(kind=kind, trade_off=TRADE_OFFS[kind], offers=mine, reason=_shared_reason(mine)) for kind, mine in by_kind.items() if mine
    ]


def first_flavor_with_room(*, kinds: list[KindOffer]) -> str:
    """Return the name of the smallest flavor that can be had; empty when none can."""
    return next((offer.flavor.name for kind in kinds for offer in kind.offers if offer.room), "")


def _shared_reason(found: list[FlavorOffer]) -> str:
    reasons = {offer.reason for offer in found}
    return reasons.pop() if len(reasons) == 1 else ""
