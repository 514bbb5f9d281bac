"""The port to clouds. Every provider passes `tests/contracts/test_provider.py`; adding one is copying a neighbour and a line
in `PROVIDERS`.

All methods may be called twice, at once, by anyone: they look first and act only on what is missing. None keeps state between calls but
a connection pool, and for a few seconds what the cloud has just said. All may raise `ProviderError`; transient ones are retried by
the engine, never inside a provider for longer than a few seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

from apps.hosts.contracts import CloudFacts, HostAddress, HostPlace, HostSpec, HostState, NetworkSpec, Owner, Publishing


@dataclass(frozen=True, kw_only=True)
class CloudAccess:
    """How a provider reaches its cloud: `settings` are the operator's plain options, `secrets` are decrypted only for this object."""

    name: str
    installation: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)


class Provider(Protocol):
    """One cloud."""

    reaches_hosts_directly: bool
    """Whether the portal can open TCP connections to host addresses. If not, every host is published."""

    own_networks: bool
    """Whether every bay gets a network of its own, whose range Carina chooses. If not, all share one the cloud has."""

    publishing: Publishing
    """How a host is published, if it is."""

    def __init__(self, access: CloudAccess) -> None: ...

    def discover(self) -> CloudFacts:
        """Ask the cloud what it is, offers, and has left. One look, no cache."""
        ...

    def admit(self) -> None:
        """Return if a bay may begin with new hosts now; raises CloudCrowded while the cloud starts as many as it shall at a time."""
        ...

    def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the bay's isolated network (and the tenant's project, with its limits) exist as `spec` says.

        Hosts of a bay reach each other and the public internet; never hosts of other bays nor services of the machines below.
        """
        ...

    def reserve(self, spec: NetworkSpec, places: Sequence[HostPlace]) -> list[HostAddress]:
        """Set aside what must be known before a host boots: its addresses, in the order of `places`. The network exists.

        The same places get the same addresses on every call until the host is removed, unless one was taken away in the cloud. An
        address that is wanted but taken is replaced by another one, where the cloud chooses addresses.
        """
        ...

    def ensure_host(self, spec: HostSpec) -> HostState:
        """Make the host exist with its files in place, and started. Its place was reserved.

        Returns RUNNING once the cloud says so (not: once it booted), or STARTING when that takes longer than a moment: then look by
        `list_hosts`, and call again when it says neither. An instance of that ref that already exists is kept: its missing publication
        is added, files are written again only while it is stopped and if the cloud can, and it is started if stopped. What the cloud
        failed to start is deleted and the reason raised. Callable from several threads at once for different hosts.
        """
        ...

    def list_hosts(self, owner: Owner) -> list[HostState]:
        """Every host in the cloud that carries the bay's tags, whatever its state, in one call to the cloud. Empty where there is none.

        What is told may be a second old, and in a cloud with many bays one call may serve all of them.
        """
        ...

    def remove_host(self, owner: Owner, ref: str, *, keep_place: bool = False) -> bool:
        """Stop and delete the host with its disk, publication and place; a host that is not there is success. Never a stranger's.

        Returns whether it is gone; False means the cloud is still at it: call again. `keep_place` leaves its addresses reserved, for
        a replacement.
        """
        ...

    def remove_network(self, owner: Owner) -> None:
        """Delete the bay's network, firewall rules, and the tenant's project if nothing else is in it; what is not there is success."""
        ...

    def leftovers(self, owner: Owner) -> list[str]:
        """Everything in the cloud that still carries the bay's tags or name, in words ("network cb1f…"). Empty after a complete delete."""
        ...

    def owners(self) -> list[Owner]:
        """Whose things are in the cloud: everybody of this installation with at least one thing that carries their tags."""
        ...

    def diagnose(self, owner: Owner, ref: str) -> str:
        """The last lines of the host's own log on its engine, for the operator; empty if the cloud cannot tell. Never raises."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


PROVIDERS: dict[str, str] = {
    "incus": "apps.hosts.providers.incus.IncusProvider",
    "openstack": "apps.hosts.providers.openstack.OpenStackProvider",
}


def load_provider(*, kind: str) -> type[Provider]:
    """Return the class of the provider `kind`; raises KeyError for a name that is not in `PROVIDERS`."""
    module, _, name = PROVIDERS[kind].rpartition(".")
    provider: type[Provider] = getattr(import_module(module), name)
    return provider
