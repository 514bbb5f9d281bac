"""What an operator may set for a cloud of OpenStack, checked once."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from apps.hosts.contracts import CloudRefused, HostKind

BUILD_SECONDS = 600.0
BUILDS_AT_ONCE = 30
"""Three servers' worth of Nova's own max_concurrent_builds: the rest would wait in its queue, where nobody sees them."""
INGRESS = "icmp,tcp:80,tcp:443,tcp:2376,tcp:3000-7945,tcp:7947-10247,tcp:10260-32767,udp:8000-32767"
"""What may reach a bay's hosts from outside: the engine's own TLS port, and where users publish services with `docker run -p`. Not the
ports of the cluster itself: 2377 and 7946 (Swarm), 4789 (VXLAN, which has no authentication), 10248 to 10259 (kubelet)."""
SPREADS = ("soft-anti-affinity", "anti-affinity")
PROTOCOLS = ("tcp", "udp", "icmp")
LAST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Traffic that may come in: `first` and `last` are ports, 0 for all of the protocol."""

    protocol: str
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class Options:
    """The settings of one cloud.

    `network` is the name or id of a network all bays share; without one every bay gets its own, routed to `external_network`, which also
    gives floating IPs. `reaches_hosts` tells whether the portal can connect to hosts' own addresses. `config_drive` is None for "as the
    kind of host needs it". Empty texts mean "the cloud's default".
    """

    network: str
    external_network: str
    reaches_hosts: bool
    nameservers: tuple[str, ...]
    allowed_from: tuple[str, ...]
    ingress: tuple[Opening, ...]
    spread_policy: str
    config_drive: bool | None
    build_seconds: float
    builds_at_once: int
    availability_zone: str
    volume_type: str

    @property
    def own_networks(self) -> bool:
        """Whether every bay gets a network of its own."""
        return not self.network

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Options":
        """Read the settings of a cloud; raises CloudRefused with a sentence that names the wrong one."""
        network = settings.get("network", "")
        external = settings.get("external_network", "")
        if not network and not external:
            raise CloudRefused(
                "The cloud needs the setting `network` (one that all bays share) or `external_network` (to which each bay's own is routed)."
            )
        return cls(
            network=network,
            external_network=external,
            reaches_hosts=_truth(settings, "reaches_hosts", default=bool(network)),
            nameservers=_addresses(settings.get("nameservers", "")),
            allowed_from=_networks(settings.get("allowed_from", "") or "0.0.0.0/0"),
            ingress=tuple(_opening(word) for word in _words(settings.get("ingress", "") or INGRESS)),
            spread_policy=_one_of(settings, "spread_policy", SPREADS),
            config_drive=_truth(settings, "config_drive", default=False) if settings.get("config_drive") else None,
            build_seconds=_seconds(settings.get("build_seconds", "")),
            builds_at_once=_number(settings.get("builds_at_once", "")),
            availability_zone=settings.get("availability_zone", ""),
            volume_type=settings.get("volume_type", ""),
        )

    def wants_config_drive(self, kind: HostKind) -> bool:
        """Whether a host of that kind gets its user-data on a config drive too. libvirt/lxc has none: it asks the metadata API."""
        return self.config_drive if self.config_drive is not None else kind != HostKind.CONTAINER


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _truth(settings: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = settings.get(name, "").lower()
    if text not in {"", "true", "false"}:
        raise CloudRefused(f"The cloud's setting {name} must be true or false, not {text!r}.")
    return text == "true" if text else default


def _one_of(settings: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    text = settings.get(name, "") or allowed[0]
    if text not in allowed:
        raise CloudRefused(f"The cloud's setting {name} must be one of {', '.join(allowed)}, not {text!r}.")
    return text


def _networks(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(word)) for word in _words(text))
    except ValueError as error:
        raise CloudRefused(f"The cloud's setting allowed_from must be networks such as 203.0.113.0/24: {error}.") from None


def _addresses(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_address(word)) for word in _words(text))
    except ValueError as error:
        raise CloudRefused(f"The cloud's setting nameservers must be addresses: {error}.") from None


def _opening(word: str) -> Opening:
    protocol, _, ports = word.lower().partition(":")
    first, _, last = ports.partition("-")
    if protocol not in PROTOCOLS or not (ports == "" or first.isdigit()) or not (last == "" or last.isdigit()):
        raise CloudRefused(f"The cloud's setting ingress must be like tcp:443,tcp:8000-9000,udp:53,icmp; {word!r} is not.")
    opening = Opening(protocol=protocol, first=int(first or 0), last=int(last or first or 0))
    if not 0 <= opening.first <= opening.last <= LAST_PORT:
        raise CloudRefused(f"The cloud's setting ingress has a range that is none: {word!r}.")
    return opening


def _seconds(text: str) -> float:
    try:
        seconds = float(text) if text else BUILD_SECONDS
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise CloudRefused(f"The cloud's setting build_seconds must be a number of seconds above 0, not {text!r}.")
    return seconds


def _number(text: str) -> int:
    number = int(text) if text.isdecimal() else 0 if text else BUILDS_AT_ONCE
    if number <= 0:
        raise CloudRefused(f"The cloud's setting builds_at_once must be a number of hosts above 0, not {text!r}.")
    return number
