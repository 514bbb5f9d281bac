"""What a tenant is limited in, each by the name of its column on the tenant, and the limits that may be asked for or set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.accounts.models import User
from apps.audit.services import Actor, record
from apps.common.errors import Forbidden, InvalidInput
from apps.common.scope import as_system
from apps.tenants.models import Tenant
from apps.tenants.services import lock_tenant

GIB = 1024


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit: `name` is the word of the API, `column` the tenant's column, both counted in `unit`; `ceiling` the most there can be."""

    name: str
    unit: str
    ceiling: int

    @property
    def column(self) -> str:
        """The name of the tenant's column."""
        return f"max_{self.name}"

    @property
    def default(self) -> int:
        """The limit a new tenant starts with."""
        return int(getattr(settings, f"DEFAULT_MAX_{self.name.upper()}"))

    def words(self, number: int) -> str:
        """Return a number with its unit, as people read it."""
        if self.unit == "MiB":
            return f"{number / GIB:,.0f} GiB" if number % GIB == 0 else f"{number:,} MiB"
        one = {"bays": "bay", "hosts": "host", "vCPUs": "vCPU"}
        return f"{number:,} {one.get(self.unit, self.unit) if number == 1 else self.unit}"


LIMITS = {
    limit.column: limit
    for limit in (
        Limit(name="bays", unit="bays", ceiling=100_000),
        Limit(name="hosts", unit="hosts", ceiling=1_000_000),
        Limit(name="vcpus", unit="vCPUs", ceiling=100_000_000),
        Limit(name="memory_mib", unit="MiB", ceiling=1_000_000_000_000),
        Limit(name="disk_gib", unit="GiB", ceiling=1_000_000_000_000),
    )
}
"""By column."""


def set_limits(*, by: User, tenant: Tenant, limits: Mapping[str, object]) -> Tenant:
    """Set limits of a tenant, by the names of its columns, and return it anew; those not named stay. For operators of the portal.

    A limit below what is used takes nothing away: it only stops growth. Raises Forbidden for anybody else, NotFound for a tenant that
    is deleted, InvalidInput for an unknown limit or a number that none can be.
    """
    require_operator(by=by)
    with as_system("limits of a tenant"), transaction.atomic():
        locked = lock_tenant(tenant_id=tenant.id)
        change_limits(tenant=locked, limits=parse_limits(values=limits), by=by.actor)
    return locked


def parse_limits(*, values: Mapping[str, object]) -> dict[str, int]:
    """Return limits by column, checked one by one. Raises InvalidInput naming every one at fault, the first as its detail."""
    faults: dict[str, str] = {}
    checked: dict[str, int] = {}
    for column, value in values.items():
        limit = LIMITS.get(column)
        if limit is None:
            faults[str(column)[:40]] = f"There is no limit “{str(column)[:40]}”; known are: {', '.join(LIMITS)}."
        elif isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit.ceiling:
            faults[column] = f"The limit of {limit.name} must be a whole number between 0 and {limit.ceiling} ({limit.unit})."
        else:
            checked[column] = value
    if faults:
        raise InvalidInput(next(iter(faults.values())), errors=faults)
    return checked


def limits_of(*, tenant: Tenant) -> dict[str, int]:
    """Return the tenant's limits by column."""
    return {column: getattr(tenant, column) for column in LIMITS}


def in_words(*, limits: Mapping[str, int]) -> str:
    """Return limits as a list for a sentence, such as “20 bays, 100 GiB of memory”."""
    kind = {"max_memory_mib": " of memory", "max_disk_gib": " of disk"}
    known = {column: limits[column] for column in LIMITS if column in limits}  # JSON has an order of its own
    return ", ".join(f"{LIMITS[column].words(number)}{kind.get(column, '')}" for column, number in known.items())


def change_limits(*, tenant: Tenant, limits: Mapping[str, int], by: Actor, **data: Any) -> None:
    """Write checked limits to a tenant whose row the caller has locked, with an audit row if any of them is news."""
    before = limits_of(tenant=tenant)
    news = {column: number for column, number in limits.items() if number != before[column]}
    if not news:
        return
    for column, number in news.items():
        setattr(tenant, column, number)
    tenant.save(update_fields=list(news))
    record(
        by=by,
        action="tenant.limits_changed",
        sentence=f"set the limits of {tenant.name} to {in_words(limits=news)}",
        tenant_id=tenant.id,
        target_id=str(tenant.id),
        target_label=tenant.slug,
        data={"from": {column: before[column] for column in news}, "to": news, **data},
    )


def require_operator(*, by: User) -> None:
    """Raise Forbidden unless `by` is an operator of the portal who may sign in."""
    if not (by.is_staff and by.is_active):
        raise Forbidden("Only operators of this portal decide about limits.")
