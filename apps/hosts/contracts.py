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
    STARTING = "starting"
    """Accepted by the cloud and on its way: only time is lacking. A cloud that has been at it for too long says OTHER."""
    GOING = "going"
    """Being deleted by the cloud."""
    OTHER = "other"


class Publishing(StrEnum):
    """How a cloud makes a host reachable from outside its network."""

    PORTS = "ports"
    """A port of the cloud's one public address leads to the host; Carina chooses the port."""
    ADDRESSES = "addresses"
    """The host gets a public address of its own, such as a Neutron floating IP; the cloud chooses the address."""


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
    """The network of one bay: `cidr` is a /24 that nothing else on this cloud uses; empty where bays share a network the cloud has."""

    owner: Owner
    cidr: str
    limits: TenantLimits


@dataclass(frozen=True, kw_only=True)
class HostSize:
    """What a host may use: CPUs (whole), memory in MiB, root disk in GiB, number of processes.

    `volume_gib` is the size of a separate block volume for the engine's data, 0 for none.
    """

    vcpus: int
    memory_mib: int
    disk_gib: int
    processes: int
    volume_gib: int = 0


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
class HostPlace:
    """What is set aside for a host before it exists.

    `address` is the one wanted, empty for "any"; `public` asks for a public address of its own; hosts of a bay that `spread` shall
    be on different servers as far as there are several.
    """

    ref: str
    hostname: str
    address: str = ""
    public: bool = False
    spread: bool = False


@dataclass(frozen=True, kw_only=True)
class HostAddress:
    """What a host is reached by: `address` inside the bay, `public_address` from outside or empty."""

    ref: str
    address: str
    public_address: str = ""


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """One host to be made. `ref` is its name in the cloud and the handle for every later call; `address` was reserved before.

    `cidr` is the bay's own network, empty on a shared one; `flavor` the cloud's own flavor where it has such; `spread` as in `HostPlace`.
    """

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
    flavor: str = ""
    spread: bool = False


@dataclass(frozen=True, kw_only=True)
class HostState:
    """What the cloud knows of one host now."""

    ref: str
    power: PowerState
    address: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class MachineInfo:
    """One physical server of an aggregate and what new hosts may still ask of it (never negative). `up` is false if none may start."""

    name: str
    up: bool
    total_vcpus: int
    total_memory_mib: int
    total_disk_gib: int
    free_vcpus: int
    free_memory_mib: int
    free_disk_gib: int


@dataclass(frozen=True, kw_only=True)
class AggregateInfo:
    """A set of servers set aside for one kind of host, with what is left on it.

    `metadata` is matched against a flavor's extra specs. Totals already contain the operator's over-commit ratios;
    `free_*` is what new hosts may still ask for (never negative). `machines` are its servers one by one, where the cloud tells:
    a host must fit on one of them. A server may be in several aggregates.
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
    machines: tuple[MachineInfo, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FlavorInfo:
    """A size the cloud itself sells hosts in. `extra_specs` decide on which aggregates it lands."""

    ref: str
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    extra_specs: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class QuotaInfo:
    """What the cloud still lets this portal have in all; None is "no limit"."""

    hosts: int | None
    vcpus: int | None
    memory_mib: int | None


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """A node image a cloud holds. `properties` are ours, such as `carina.coe=swarm` and `carina.coe_version=26.1.5`.

    An image for one kind of host only says so by `carina.host_kind`; `ref` is the name a COE asks for and may then occur several times.
    """

    ref: str
    properties: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class CloudFacts:
    """One look at a cloud: what it runs, offers and lacks.

    `unavailable` says for each kind of host it cannot give why, in one sentence a user understands.
    `limitations` are facts a bay's user must know, by code (`no_ip_vs`: Swarm's virtual IPs and ingress mesh do not work).
    `flavors` is None where hosts may have any size. `networks` are those bays could use, by name; `volumes` tells whether there is
    block storage. `warnings` are sentences for the operator about what is set up badly in the cloud.
    """

    version: str
    aggregates: tuple[AggregateInfo, ...]
    images: tuple[ImageInfo, ...]
    unavailable: dict[HostKind, str]
    limitations: tuple[str, ...] = ()
    used_cidrs: tuple[str, ...] = ()
    flavors: tuple[FlavorInfo, ...] | None = None
    quota: QuotaInfo | None = None
    networks: tuple[str, ...] = ()
    volumes: bool = False
    warnings: tuple[str, ...] = ()


class ProviderError(Exception):
    """A cloud did not do what was asked. `str()` is one sentence for the operator's log; `code` is a key of `operations.codes`."""

    code = "cloud_error"
    transient = False
    queued = False
    """Whether only the turn of this call has not come: waiting for it is no trouble and costs a change none of its time."""


class CloudUnreachable(ProviderError):
    """No answer, a broken connection, a 5xx or a 429: the same call may succeed later."""

    code = "cloud_unreachable"
    transient = True


class CloudBusy(ProviderError):
    """The cloud answered that something is still in the way (a conflict, a lock): the same call will succeed later."""

    code = "cloud_busy"
    transient = True


class CloudCrowded(CloudBusy):
    """The cloud carries out as many of our requests as it can; this one was not sent."""

    code = "cloud_crowded"
    queued = True


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


class FlavorMissing(ProviderError):
    """The cloud's flavor for this host is gone, or changed so that it no longer leads to the aggregate."""

    code = "flavor_missing"


class HostFailed(ProviderError):
    """The cloud could not start the host, or has been at it for too long; its remains are deleted and it may be asked for again."""

    code = "host_failed"
    transient = True


class ImageMissing(ProviderError):
    """The node image is not in the cloud."""

    code = "image_missing"
