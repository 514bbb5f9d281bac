"""What may be asked for: a bay's description, checked value by value with a sentence for each rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings

from apps.bays.tags import parse_tags
from apps.coes.base import COES, Coe, load_coe
from apps.common.errors import InvalidInput
from apps.common.names import check_name
from apps.hosts.models import Flavor

SHORTEST_TTL, LONGEST_TTL = timedelta(minutes=10), timedelta(days=365)
FIELDS = ("name", "coe", "coe_version", "flavor", "node_count", "manager_count", "cloud", "ttl", "tags")


@dataclass(frozen=True, kw_only=True)
class BaySpec:
    """A bay as it was asked for, every value allowed in itself. `cloud` is empty for "wherever there is room"."""

    name: str
    coe: Coe
    coe_version: str
    flavor: Flavor
    node_count: int
    manager_count: int
    cloud: str
    ttl: timedelta | None
    tags: Mapping[str, str]


def parse_spec(*, data: Mapping[str, Any]) -> BaySpec:
    """Return the spec that `data` (a JSON object) describes; raises InvalidInput naming every field at fault, the first as its detail."""
    refuse_unknown(data=data, allowed=FIELDS)
    faults: dict[str, InvalidInput] = {}

    def checked(field: str, check: Any, *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except InvalidInput as fault:
            faults[field] = fault
            return None

    name = checked("name", parse_name, data.get("name", ""))
    coe = checked("coe", parse_coe, data.get("coe", ""))
    version = checked("coe_version", parse_version, coe, data.get("coe_version", "")) if coe else ""
    flavor = checked("flavor", parse_flavor, data.get("flavor", ""))
    count = checked("node_count", parse_count, data.get("node_count", 1))
    managers = checked("manager_count", parse_managers, data.get("manager_count"), coe, count) if coe and count else 0
    cloud = checked("cloud", parse_text, "cloud", "" if data.get("cloud") is None else data["cloud"])
    ttl = checked("ttl", parse_ttl, data.get("ttl"))
    tags = checked("tags", lambda value: parse_tags(value=value), data.get("tags", {}))
    if faults:
        first = next(iter(faults.values()))
        raise InvalidInput(first.detail, code=first.code, errors={field: fault.detail for field, fault in faults.items()})
    return BaySpec(
        name=name,
        coe=coe,
        coe_version=version,
        flavor=flavor,
        node_count=count,
        manager_count=managers,
        cloud=cloud,
        ttl=ttl,
        tags=tags,
    )


def refuse_unknown(*, data: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Raise InvalidInput if `data` has a key that is not in `allowed`: a misspelt option must not be silently without effect."""
    for key in data:
        if key not in allowed:
            raise InvalidInput.field(
                str(key)[:40], f"Unknown field “{str(key)[:40]}”; allowed are: {', '.join(allowed)}.", code="field_unknown"
            )


def parse_name(value: object) -> str:
    """Return an allowed bay name."""
    return check_name(name=parse_text("name", value))


def parse_text(field: str, value: object) -> str:
    """Return `value` if it is text."""
    if not isinstance(value, str):
        raise InvalidInput.field(field, f"The {field} must be text.", code="type")
    return value


def parse_coe(value: object) -> Coe:
    """Return the COE of that name."""
    name = parse_text("coe", value)
    if name not in COES:
        raise InvalidInput.field("coe", f"There is no orchestrator “{name[:40]}”; known are: {', '.join(COES)}.", code="coe_unknown")
    return load_coe(name=name)


def parse_version(coe: Coe, value: object) -> str:
    """Return a version of the COE; empty text means its default."""
    name = parse_text("coe_version", value)
    if not name:
        return next(version.name for version in coe.versions if version.default)
    if name not in {version.name for version in coe.versions}:
        known = ", ".join(version.name for version in coe.versions)
        raise InvalidInput.field(
            "coe_version", f"{coe.title} has no version “{name[:40]}” here; known are: {known}.", code="version_unknown"
        )
    return name


def parse_flavor(value: object) -> Flavor:
    """Return the enabled flavor of that name."""
    name = parse_text("flavor", value)
    flavor = Flavor.objects.filter(name=name, enabled=True).first() if name.isprintable() and "\x00" not in name else None
    if flavor is None:
        known = ", ".join(Flavor.objects.filter(enabled=True).order_by("host_kind", "memory_mib").values_list("name", flat=True))
        raise InvalidInput.field("flavor", f"There is no flavor “{name[:40]}”; known are: {known}.", code="flavor_unknown")
    return flavor


def parse_count(value: object) -> int:
    """Return a number of hosts a bay may have."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput.field("node_count", "The number of hosts must be a whole number, written without quotes.", code="type")
    if not 1 <= value <= settings.MAX_HOSTS_PER_BAY:
        raise InvalidInput.field(
            "node_count",
            f"A bay has between 1 and {settings.MAX_HOSTS_PER_BAY} hosts; {str(value)[:20]} is not possible.",
            code="node_count_range",
        )
    return value


def parse_managers(value: object, coe: Coe, node_count: int) -> int:
    """Return how many of the hosts are managers: 1 unless asked otherwise; an odd number so that a majority survives the loss of one."""
    if value is None:
        return coe.manager_counts[0]
    if isinstance(value, bool) or not isinstance(value, int) or value not in coe.manager_counts:
        allowed = ", ".join(str(count) for count in coe.manager_counts)
        raise InvalidInput.field(
            "manager_count", f"The number of managers of {coe.title} must be one of {allowed}.", code="manager_count_range"
        )
    if value > node_count:
        raise InvalidInput.field(
            "manager_count", f"{value} managers need at least {value} hosts; you asked for {node_count}.", code="manager_count_range"
        )
    return value


def parse_ttl(value: object) -> timedelta | None:
    """Return after how long the bay is deleted by itself, from seconds; None for never."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput.field("ttl", "The time to live must be a whole number of seconds.", code="type")
    if not SHORTEST_TTL.total_seconds() <= value <= LONGEST_TTL.total_seconds():
        raise InvalidInput.field(
            "ttl", "The time to live must be between 600 seconds (10 minutes) and 31536000 (a year).", code="ttl_range"
        )
    return timedelta(seconds=value)
