"""What a change would cost and use, before it is asked for: the same numbers for the form, the API and the check itself."""

from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.db.models import Sum

from apps.bays.models import ALIVE, Bay, NodeGroup
from apps.bays.selectors import promised_hosts
from apps.bays.spec import BaySpec
from apps.coes.base import Coe, load_coe
from apps.common.errors import CarinaError, LimitReached
from apps.hosts.models import Flavor
from apps.hosts.placement import Needs, choose
from apps.tenants.context import Access
from apps.tenants.models import Tenant
from apps.tenants.roles import Permission


@dataclass(frozen=True, kw_only=True)
class Usage:
    """One limit of a tenant: used now, after the change, and the most."""

    name: str
    used: int
    after: int
    limit: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a change means. `refusal` is the sentence with which it would be refused, empty if it would be accepted."""

    currency: str
    price_per_hour: Decimal
    price_per_month: Decimal
    node_count: int
    vcpus: int
    memory_mib: int
    disk_gib: int
    usage: list[Usage]
    cloud: str
    room: int
    refusal: str


def usage_after(*, tenant: Tenant, more_bays: int, more_hosts: int) -> list[Usage]:
    """Return the tenant's limits with what is used now and would be used after."""
    bays = tenant.bays.filter(ALIVE).count()
    hosts = NodeGroup.objects.filter(bay__tenant=tenant, bay__deleted_at=None).aggregate(total=Sum("count"))["total"] or 0
    return [
        Usage(name="bays", used=bays, after=bays + more_bays, limit=tenant.max_bays),
        Usage(name="hosts", used=hosts, after=hosts + more_hosts, limit=tenant.max_hosts),
    ]


def check_limits(*, tenant: Tenant, more_bays: int, more_hosts: int) -> None:
    """Raise LimitReached if the tenant may not have so much more. The caller holds the tenant's row lock."""
    for usage in usage_after(tenant=tenant, more_bays=more_bays, more_hosts=more_hosts):
        if usage.after > usage.limit and usage.after > usage.used:
            raise LimitReached(
                f"{tenant.name} may have {usage.limit} {usage.name} and has {usage.used}; {usage.after} would be too many. "
                "Delete what you no longer need, or ask the operator for more.",
                errors={"node_count" if usage.name == "hosts" else "name": f"At most {usage.limit} {usage.name}."},
            )


def estimate_create(*, access: Access, spec: BaySpec) -> Estimate:
    """Return what creating this bay would cost and use, and whether it would be accepted. Changes nothing."""
    access.require(Permission.BAY_READ)
    where = _Where(cloud_name=spec.cloud, needs=needs_of(coe=spec.coe))
    return _estimate(access=access, flavor=spec.flavor, count=spec.node_count, more_hosts=spec.node_count, more_bays=1, where=where)


def estimate_resize(*, access: Access, bay: Bay, count: int) -> Estimate:
    """Return what the bay would cost and use with `count` hosts. Changes nothing."""
    access.require(Permission.BAY_READ)
    where = _Where(cloud_name=bay.cloud.name, needs=needs_of(coe=load_coe(name=bay.coe)), aggregate_name=bay.aggregate)
    return _estimate(access=access, flavor=bay.flavor, count=count, more_hosts=count - bay.node_count, more_bays=0, where=where)


def needs_of(*, coe: Coe) -> Needs:
    """Return what an orchestrator needs of the place its hosts go to."""
    return Needs(image=coe.image, os_types=coe.os_types)


@dataclass(frozen=True, kw_only=True)
class _Where:
    """Where new hosts may go; empty names leave the choice open."""

    cloud_name: str
    needs: Needs
    aggregate_name: str = ""


def _estimate(*, access: Access, flavor: Flavor, count: int, more_hosts: int, more_bays: int, where: _Where) -> Estimate:
    refusal, cloud, room = "", "", 0
    try:
        check_limits(tenant=access.tenant, more_bays=more_bays, more_hosts=more_hosts)
        if more_hosts > 0:
            place = choose(
                flavor=flavor,
                count=more_hosts,
                cloud_name=where.cloud_name,
                promised=promised_hosts(),
                needs=where.needs,
                aggregate_name=where.aggregate_name,
            )
            cloud, room = place.cloud.name, place.room
    except CarinaError as error:
        refusal = error.detail
    hourly = count * flavor.price_per_hour
    return Estimate(
        currency=settings.CURRENCY,
        price_per_hour=hourly,
        price_per_month=(hourly * settings.HOURS_PER_MONTH).quantize(Decimal("0.01")),
        node_count=count,
        vcpus=count * flavor.vcpus,
        memory_mib=count * flavor.memory_mib,
        disk_gib=count * flavor.disk_gib,
        usage=usage_after(tenant=access.tenant, more_bays=more_bays, more_hosts=more_hosts),
        cloud=cloud,
        room=room,
        refusal=refusal,
    )
