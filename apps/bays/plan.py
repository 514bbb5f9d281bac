"""From desired to planned: which hosts a bay has on paper, their numbers, the addresses and ports Carina chooses, and its network.

Everything here is database only, in the transaction of a held lease; running it twice plans nothing twice.
"""

import ipaddress
import random
from collections.abc import Iterable

from django.conf import settings

from apps.bays.leaving import staying_and_surplus
from apps.bays.models import ALIVE, Bay, Host, NodeGroup
from apps.coes.contracts import Role
from apps.common.clock import now
from apps.common.scope import as_system
from apps.credentials.services import create_authority
from apps.hosts.contracts import HostAddress, Publishing
from apps.hosts.models import Cloud
from apps.hosts.providers.base import Provider

FIRST_HOST = 10
"""Hosts of a bay start at .10 of its /24; .1 is the gateway."""


class NothingLeft(Exception):
    """An address range or a port range is used up; `code` is a key of `operations.codes`."""

    transient = True

    def __init__(self, sentence: str, *, code: str) -> None:
        super().__init__(sentence)
        self.code = code


def plan_network(*, bay: Bay, own_network: bool) -> None:
    """Give the bay a certificate authority, and where it has a network of its own a /24, unless it has them. Raises NothingLeft."""
    fields = []
    if bay.cidr is None and own_network:
        bay.cidr = free_cidr(cloud=bay.cloud)
        fields.append("cidr")
    if bay.authority_id is None:
        bay.authority = create_authority(tenant=bay.tenant, name=f"{bay.name} bay CA")
        fields.append("authority")
    if fields:
        bay.save(update_fields=fields)


def plan_hosts(*, bay: Bay, provider: Provider, engine_port: int) -> None:
    """Insert rows for hosts that are wanted and missing, and mark the surplus (highest numbers first) as draining. Raises NothingLeft."""
    live = list(bay.hosts.exclude(state=Host.State.REMOVED).select_related("group").order_by("index"))
    taken = {host.index for host in live}
    for group in bay.groups.order_by("role"):
        staying, surplus = staying_and_surplus(group=group, live=live)
        for host in surplus:
            host.state = Host.State.DRAINING
            host.save(update_fields=["state"])
        for _ in range(group.count - len(staying)):
            index = next(number for number in range(1, 245) if number not in taken)
            taken.add(index)
            host = _new_host(bay=bay, group=group, index=index)
            if _is_published(bay=bay, provider=provider, index=index):
                _publish(host, publishing=provider.publishing, engine_port=engine_port)
            host.save()


def note_addresses(*, hosts: Iterable[Host], addresses: Iterable[HostAddress]) -> None:
    """Write down what the cloud reserved for hosts, where it is news."""
    known = {address.ref: address for address in addresses}
    for host in hosts:
        reserved = known[host.ref]
        published = reserved.public_address or host.published_address
        if (host.address, host.published_address) != (reserved.address, published):
            host.address, host.published_address = reserved.address, published
            host.save(update_fields=["address", "published_address"])


def free_cidr(*, cloud: Cloud) -> str:
    """Return a /24 of settings.BAY_NETWORKS that neither the cloud, this machine nor another live bay uses. Raises NothingLeft.

    The choice is random: two portals on one machine do not know each other's next choice, and would otherwise make the same.
    """
    used = [ipaddress.IPv4Network(cidr, strict=False) for cidr in cloud.used_cidrs if ":" not in cidr]
    with as_system("networks in use"):
        used += [ipaddress.IPv4Network(cidr) for cidr in Bay.objects.filter(ALIVE).values_list("cidr", flat=True) if cidr]
    candidates = list(ipaddress.IPv4Network(settings.BAY_NETWORKS).subnets(new_prefix=24))
    for candidate in random.sample(candidates, len(candidates)):
        if not any(candidate.overlaps(network) for network in used):
            return str(candidate)
    raise NothingLeft(f"Every /24 of {settings.BAY_NETWORKS} is in use.", code="no_network_left")


def free_port(*, cloud: Cloud) -> int:
    """Return the lowest port of the cloud's public range that no live host has. Raises NothingLeft."""
    first, _, last = cloud.public_ports.partition("-")
    mine = Host.objects.filter(cloud=cloud, published_address=cloud.public_address, published_port__isnull=False)
    with as_system("ports in use"):
        used = set(mine.exclude(state=Host.State.REMOVED).values_list("published_port", flat=True))
    for port in range(int(first), int(last) + 1):
        if port not in used:
            return port
    raise NothingLeft(f"Every public port of {cloud.public_ports} is in use.", code="no_port_left")


def ref_of(*, bay: Bay, index: int) -> str:
    """Return the name of the bay's host `index` in the cloud: the same for a replacement, so that it is found again."""
    return f"bay-{bay.id.hex[:10]}-n{index}"


def managers_of(hosts: Iterable[Host]) -> list[Host]:
    """Return the managers among hosts, by number."""
    return [host for host in hosts if host.role == Role.MANAGER]


def _new_host(*, bay: Bay, group: NodeGroup, index: int) -> Host:
    return Host(
        tenant=bay.tenant,
        bay=bay,
        cloud=bay.cloud,
        group=group,
        index=index,
        ref=ref_of(bay=bay, index=index),
        hostname=f"{bay.name}-{index}",
        address=str(ipaddress.ip_network(bay.cidr)[FIRST_HOST + index - 1]) if bay.cidr else None,
        created_at=now(),
    )


def _is_published(*, bay: Bay, provider: Provider, index: int) -> bool:
    """Whether the host is reachable from outside: all where the portal itself is outside, else the first one if users need it."""
    if not provider.reaches_hosts_directly:
        return True
    users_are_outside = bool(bay.cloud.public_address) if provider.publishing == Publishing.PORTS else provider.own_networks
    return index == 1 and users_are_outside


def _publish(host: Host, *, publishing: Publishing, engine_port: int) -> None:
    if publishing == Publishing.PORTS:
        host.published_address, host.published_port = host.cloud.public_address, free_port(cloud=host.cloud)
    else:  # the cloud says the address when it reserves it
        host.published_port = engine_port
