"""Where hosts of a bay may connect to: each other, the public internet, a resolver. Nothing else, in particular not the machine below.

Written as a list of what is allowed. A list of what is refused would also hit the bay's own traffic on a machine whose bridges pass
through iptables (`bridge-nf-call-iptables`, set by every Docker engine), because Incus sorts refusals before permissions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network, summarize_address_range
from pathlib import Path
from typing import Any

# The IANA IPv4 special-purpose registry (RFC 6890): everything that is not globally reachable, cloud metadata and carrier NAT included.
NOT_PUBLIC = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
LAST = IPv4Address("255.255.255.255")
DNS_PORT = "53"

Rule = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What of the machine below matters to a bay: its own IPv4 addresses, and the resolvers hosts can ask directly.

    Without `nameservers` hosts ask Incus' own resolver on the bay's gateway, which costs half a second when the network starts.
    """

    addresses: tuple[IPv4Address, ...]
    nameservers: tuple[IPv4Address, ...]


def is_public(address: IPv4Address) -> bool:
    """Whether `address` lies in what bays may connect to."""
    return not any(address in block for block in NOT_PUBLIC)


def public_ranges() -> str:
    """All globally reachable addresses, as the ranges an ACL understands."""
    ranges, start = [], 0
    for block in NOT_PUBLIC:
        first, last = int(block.network_address), int(block.broadcast_address)
        if first > start:
            ranges.append(f"{IPv4Address(start)}-{IPv4Address(first - 1)}")
        start = last + 1
    return ",".join(ranges)


def gateway_of(cidr: str) -> str:
    """The machine's address in the bay's network: the first."""
    return str(ip_network(cidr)[1])


def bay_members(cidr: str) -> str:
    """The addresses of the bay's hosts: the gateway (the first) is left out, since it is the machine."""
    network = ip_network(cidr)
    return f"{network[2]}-{network[-2]}"


def egress_rules(*, cidr: str, surroundings: Surroundings) -> list[Rule]:
    """The network ACL of a bay.

    The machine's own public addresses lie inside "the public internet" and must be refused by name; no host of a bay ever has one,
    so this refusal cannot hit the bay's own traffic.
    """
    rules = [
        {"action": "allow", "destination": bay_members(cidr), "state": "enabled"},
        {"action": "allow", "destination": public_ranges(), "state": "enabled"},
    ]
    for nameserver in surroundings.nameservers:
        rules += [
            {"action": "allow", "destination": str(nameserver), "destination_port": DNS_PORT, "protocol": protocol, "state": "enabled"}
            for protocol in ("tcp", "udp")
        ]
    own = [str(address) for address in surroundings.addresses if is_public(address)]
    if own:
        rules.append({"action": "reject", "destination": ",".join(own), "state": "enabled"})
    return rules


def resolv_conf(*, cidr: str, nameservers: Sequence[IPv4Address]) -> bytes:
    """The hosts' /etc/resolv.conf."""
    servers = [str(server) for server in nameservers] or [gateway_of(cidr)]
    return "".join(f"nameserver {server}\n" for server in servers).encode()


def own_addresses() -> tuple[IPv4Address, ...]:
    """This machine's IPv4 addresses."""
    return addresses_in(fib_trie=_text("/proc/net/fib_trie"))


def server_addresses(*, states: Iterable[dict[str, Any]]) -> tuple[IPv4Address, ...]:
    """A remote server's IPv4 addresses, from what it says of the states of its networks."""
    found = {IPv4Address(address["address"]) for state in states for address in state.get("addresses") or [] if address["family"] == "inet"}
    return tuple(sorted(found))


def local_nameservers() -> tuple[IPv4Address, ...]:
    """This machine's resolvers as far as hosts of a bay can reach them; none where all run on the machine itself."""
    addresses = own_addresses()
    for source in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        nameservers = usable_nameservers(resolv_conf_text=_text(source), addresses=addresses)
        if nameservers:
            return nameservers
    return ()


def usable_nameservers(*, resolv_conf_text: str, addresses: Sequence[IPv4Address]) -> tuple[IPv4Address, ...]:
    """The IPv4 resolvers in a resolv.conf that a host of a bay can reach: not on the machine itself."""
    servers = []
    for line in resolv_conf_text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and "%" not in words[1]:
            server = ip_address(words[1])
            if isinstance(server, IPv4Address) and not server.is_loopback and server not in addresses:
                servers.append(server)
    return tuple(servers[:3])


def local_routes() -> list[str]:
    """The IPv4 networks this machine has routes to (but the default route), which no bay may use for itself."""
    routes = []
    for line in _text("/proc/net/route").splitlines()[1:]:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[column]), "little") for column in (1, 7))
        if mask:
            last = destination | (~mask & int(LAST))
            routes += [str(block) for block in summarize_address_range(IPv4Address(destination), IPv4Address(last))]
    return routes


def addresses_in(*, fib_trie: str) -> tuple[IPv4Address, ...]:
    """Read the machine's own addresses out of /proc/net/fib_trie."""
    # The kernel's trie prints an address, then the kinds of route below it; "host LOCAL" is an address of this machine.
    found: set[IPv4Address] = set()
    last = ""
    for line in fib_trie.splitlines():
        text = line.strip()
        if text.startswith(("|-- ", "+-- ")):
            last = text[4:].split("/")[0].split()[0]
        elif text.endswith("host LOCAL"):
            found.add(IPv4Address(last))
    return tuple(sorted(found))


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
