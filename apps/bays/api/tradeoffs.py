"""What each kind of host is good and bad at: the choice people make between performance, isolation and cost."""

from dataclasses import asdict, dataclass

from apps.hosts.contracts import HostKind


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """One sentence for each side of the choice."""

    performance: str
    isolation: str
    cost: str


TRADE_OFFS: dict[HostKind, TradeOff] = {
    HostKind.CONTAINER: TradeOff(
        performance="That of the machine itself: no second kernel, and a host is there in a second.",
        isolation="A shared kernel, with user namespaces, limits and a private network of the bay's own.",
        cost="Lowest: many hosts share one machine.",
    ),
    HostKind.VM: TradeOff(
        performance="Close to the machine's own; disk and network pass through a virtual device, and a host takes longer to start.",
        isolation="A kernel of its own behind the processor's virtualisation.",
        cost="Medium: memory is set aside for every host.",
    ),
    HostKind.BAREMETAL: TradeOff(
        performance="All of the machine, with nothing in between; a host takes minutes to start.",
        isolation="A machine of its own; nothing is shared but the network.",
        cost="Highest: whole machines.",
    ),
}


def trade_offs_of(*, kind: str) -> dict[str, str]:
    """Return the trade-off of a kind of host, by side."""
    return asdict(TRADE_OFFS[HostKind(kind)])
