"""Bays as the provider contract suite asks a cloud for them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from apps.hosts.contracts import (
    HostAddress,
    HostFile,
    HostKind,
    HostPlace,
    HostSize,
    HostSpec,
    HostState,
    NetworkSpec,
    Owner,
    PowerState,
    Publication,
    Publishing,
    TenantLimits,
)
from apps.hosts.providers.base import Provider

SMALL = HostSize(vcpus=1, memory_mib=256, disk_gib=2, processes=500)
ROOMY = TenantLimits(hosts=10, vcpus=20, memory_mib=8192, processes=20000)
PATIENCE_SECONDS, PAUSE_SECONDS = 150.0, 0.2
ENGINE_PORT = 2376


@dataclass(kw_only=True)
class Bay:
    """What one bay asks of a cloud. `flavor` and `size` are what hosts of it have; addresses are known once they are reserved."""

    network: NetworkSpec
    image: str
    flavor: str = ""
    size: HostSize = SMALL
    reserved: dict[str, HostAddress] = field(default_factory=dict)
    refs: set[str] = field(default_factory=set)

    @property
    def owner(self) -> Owner:
        return self.network.owner

    def ref(self, number: int = 1) -> str:
        return f"web-{number}-{self.owner.bay[:6]}"

    def place(self, number: int = 1, *, public: bool = False, spread: bool = False) -> HostPlace:
        """What is reserved for a host; its address is wanted where the bay has a network of its own."""
        self.refs.add(self.ref(number))
        address = f"{self.network.cidr.rpartition('.')[0]}.{10 + number}" if self.network.cidr else ""
        return HostPlace(ref=self.ref(number), hostname=f"web-{number}", address=address, public=public, spread=spread)

    def prepare(self, provider: Provider, *numbers: int, public: bool = False, spread: bool = False) -> list[HostSpec]:
        """Make the network, reserve places for hosts, and return how these are then asked for."""
        provider.ensure_network(self.network)
        places = [self.place(number, public=public, spread=spread) for number in numbers or (1,)]
        self.reserved |= {address.ref: address for address in provider.reserve(self.network, places)}
        return [self.host(number, spread=spread) for number in numbers or (1,)]

    def host(self, number: int = 1, *, spread: bool = False) -> HostSpec:
        """How a host is asked for; its address is a guess unless it was reserved."""
        place = self.place(number)
        known = self.reserved.get(place.ref)
        files = (
            HostFile(path="/etc/docker/tls/ca.pem", content=b"certificate of host %d\n" % number),
            HostFile(path="/srv/carina/deep/down.txt", content=b"folders are made\n", mode="0600"),
        )
        return HostSpec(
            owner=self.owner,
            ref=place.ref,
            hostname=place.hostname,
            kind=HostKind.CONTAINER,
            image=self.image,
            size=self.size,
            cidr=self.network.cidr,
            address=known.address if known else place.address,
            files=files,
            flavor=self.flavor,
            spread=spread,
        )

    def published(self, provider: Provider, spec: HostSpec, *, address: str, port: int) -> HostSpec:
        """The host as it is published by this cloud: at a port of `address`, or at the public address it then gets."""
        if provider.publishing == Publishing.PORTS:
            return replace(spec, publication=Publication(address=address, port=port, host_port=ENGINE_PORT))
        place = HostPlace(ref=spec.ref, hostname=spec.hostname, address=spec.address, public=True)
        (reserved,) = provider.reserve(self.network, [place])
        assert reserved.address == spec.address
        return replace(spec, publication=Publication(address=reserved.public_address, port=ENGINE_PORT, host_port=ENGINE_PORT))


def until_running(provider: Provider, *specs: HostSpec) -> list[HostState]:
    """Ask for hosts and look, as the reconciler does, until all of them run."""
    states = {spec.ref: provider.ensure_host(spec) for spec in specs}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        waiting = [spec for spec in specs if states[spec.ref].power != PowerState.RUNNING]
        if not waiting:
            return [states[spec.ref] for spec in specs]
        assert time.monotonic() < deadline, f"not running after {PATIENCE_SECONDS:.0f} s: {[states[spec.ref] for spec in waiting]}"
        if any(states[spec.ref].power == PowerState.STARTING for spec in waiting):
            time.sleep(PAUSE_SECONDS)
        listed = {state.ref: state for state in provider.list_hosts(specs[0].owner)}
        for spec in waiting:
            state = listed.get(spec.ref)
            states[spec.ref] = state if state and state.power in {PowerState.RUNNING, PowerState.STARTING} else provider.ensure_host(spec)


def until_gone(provider: Provider, owner: Owner, *refs: str, keep_place: bool = False) -> None:
    """Remove hosts, as the reconciler does, until the cloud says they are gone."""
    left: Sequence[str] = refs
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := [ref for ref in left if not provider.remove_host(owner, ref, keep_place=keep_place)]:
        if time.monotonic() > deadline:
            pytest.fail(f"not gone after {PATIENCE_SECONDS:.0f} s: {left}")
        time.sleep(PAUSE_SECONDS)
