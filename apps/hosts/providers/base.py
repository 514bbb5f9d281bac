"""The port to clouds. Every provider passes `tests/contracts/test_provider.py`; adding one is copying a neighbour and a line
in `PROVIDERS`.

All methods may be called twice, at once, by anyone: they look first and act only on what is missing. None keeps state between calls
but a connection pool. All may raise `ProviderError`; transient ones are retried by the engine, never inside a provider for longer than
a few seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

from apps.hosts.contracts import CloudFacts, HostSpec, HostState, NetworkSpec, Owner


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

    def __init__(self, access: CloudAccess) -> None: ...

    def discover(self) -> CloudFacts:
        """Ask the cloud what it is, offers, and has left. One look, no cache."""
        ...

    def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the bay's isolated network (and the tenant's project, with its limits) exist as `spec` says.

        Hosts of a bay reach each other and the public internet; never hosts of other bays nor services of the machines below.
        """
        ...

    def ensure_host(self, spec: HostSpec) -> HostState:
        """Make the host exist with its files in place, and started; return once the cloud says it runs (not: once it booted).

        An instance of that ref that already exists is kept: its missing publication is added, files are written again only while
        it is stopped, and it is started if stopped. Callable from several threads at once for different hosts.
        """
        ...

    def list_hosts(self, owner: Owner) -> list[HostState]:
        """Every host in the cloud that carries the bay's tags, whatever its state, in one call to the cloud. Empty where there is none."""
        ...

    def remove_host(self, owner: Owner, ref: str) -> None:
        """Stop and delete the host with its disk and publication; a host that is not there is success. Never one without the bay's tags."""
        ...

    def remove_network(self, owner: Owner) -> None:
        """Delete the bay's network, firewall rules, and the tenant's project if nothing else is in it; what is not there is success."""
        ...

    def leftovers(self, owner: Owner) -> list[str]:
        """Everything in the cloud that still carries the bay's tags or name, in words ("network cb1f…"). Empty after a complete delete."""
        ...

    def diagnose(self, owner: Owner, ref: str) -> str:
        """The last lines of the host's own log on its engine, for the operator; empty if the cloud cannot tell. Never raises."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


PROVIDERS: dict[str, str] = {
    "incus": "apps.hosts.providers.incus.IncusProvider",
}


def load_provider(*, kind: str) -> type[Provider]:
    """Return the class of the provider `kind`; raises KeyError for a name that is not in `PROVIDERS`."""
    module, _, name = PROVIDERS[kind].rpartition(".")
    provider: type[Provider] = getattr(import_module(module), name)
    return provider
