"""What crosses the border to a cloud: frozen dataclasses and a short family of errors, no models.

A provider receives and returns only these. Whatever is made outside carries `Owner` in its name and in its tags, so that it is
found again by anyone, after any crash, without a row of ours that remembers it.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class HostKind(StrEnum):
    """What a host is to the machine below it; decides isolation, speed and price."""

    CONTAINER = "container"
    VM = "vm"
    BAREMETAL = "baremetal"


class PowerState(StrEnum):
    """What the cloud says of an instance. `OTHER` is anything in between or broken; `HostState.detail` has the cloud's own word."""

    RUNNING = "running"
    STOPPED = "stopped"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose a thing outside is: the tags it carries.

    `installation` tells portals apart that share one cloud; `tenant` and `bay` are the hex ids of our rows.
    """

    installation: str
    tenant: str
    bay: str


@dataclass(frozen=True, kw_only=True)
class TenantLimits:
    """The ceiling the cloud itself holds for one tenant (second line behind our own quota). MiB for memory."""

    hosts: int
    vcpus: int
    memory_mib: int
    processes: int


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """The private network of one bay: `cidr` is a /24 that nothing else on this cloud uses."""

    owner: Owner
    cidr: str
    limits: TenantLimits


@dataclass(frozen=True, kw_only=True)
class HostSize:
    """What a host may use: CPUs (whole), memory in MiB, root disk in GiB, number of processes."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    processes: int


@dataclass(frozen=True, kw_only=True)
class HostFile:
    """A file that lies on the host before it boots. `mode` is octal text such as "0600"; owner is root."""

    path: str
    content: bytes = field(repr=False)
    mode: str = "0644"


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A port of the cloud's public address that leads to one TCP port of a host."""

    address: str
    port: int
    host_port: int


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """One host to be made. `ref` is its name in the cloud and the handle for every later call; `address` is inside `cidr`."""

    owner: Owner
    ref: str
    hostname: str
    kind: HostKind
    image: str
    size: HostSize
    cidr: str
    address: str
    files: tuple[HostFile, ...]
    publication: Publication | None = None
    aggregate: str = ""


@dataclass(frozen=True, kw_only=True)
class HostState:
    """What the cloud knows of one host now."""

    ref: str
    power: PowerState
    address: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class AggregateInfo:
    """A set of servers set aside for one kind of host, with what is left on it.

    `metadata` is matched against a flavor's extra specs. Totals already contain the operator's over-commit ratios;
    `free_*` is what new hosts may still ask for (never negative).
    """

    name: str
    host_kind: HostKind
    metadata: dict[str, str]
    servers: int
    total_vcpus: int
    total_memory_mib: int
    total_disk_gib: int
    free_vcpus: int
    free_memory_mib: int
    free_disk_gib: int


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """A node image a cloud holds. `properties` are ours, such as `carina.coe=swarm` and `carina.coe_version=26.1.5`."""

    ref: str
    properties: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class CloudFacts:
    """One look at a cloud: what it runs, offers and lacks.

    `unavailable` says for each kind of host it cannot give why, in one sentence a user understands.
    `limitations` are facts a bay's user must know, by code (`no_ip_vs`: Swarm's virtual IPs and ingress mesh do not work).
    """

    version: str
    aggregates: tuple[AggregateInfo, ...]
    images: tuple[ImageInfo, ...]
    unavailable: dict[HostKind, str]
    limitations: tuple[str, ...] = ()
    used_cidrs: tuple[str, ...] = ()


class ProviderError(Exception):
    """A cloud did not do what was asked. `str()` is one sentence for the operator's log; `code` is a key of `operations.codes`."""

    code = "cloud_error"
    transient = False


class CloudUnreachable(ProviderError):
    """No answer, a broken connection, a 5xx or a 429: the same call may succeed later."""

    code = "cloud_unreachable"
    transient = True


class CloudBusy(ProviderError):
    """The cloud answered that something is still in the way (a conflict, a lock): the same call will succeed later."""

    code = "cloud_busy"
    transient = True


class CloudRefused(ProviderError):
    """The cloud understood and said no (bad request, forbidden): the same call will fail again."""

    code = "cloud_refused"


class CloudCredentialsRejected(ProviderError):
    """Our certificate, token or permission on the socket is not accepted."""

    code = "cloud_credentials"


class NoCapacity(ProviderError):
    """The cloud has no room for this host."""

    code = "no_capacity"


class QuotaExceeded(ProviderError):
    """A limit set in the cloud for this tenant is reached."""

    code = "cloud_quota"


class ImageMissing(ProviderError):
    """The node image is not in the cloud."""

    code = "image_missing"
