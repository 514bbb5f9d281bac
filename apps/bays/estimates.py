"""What a change would cost and use, before it is asked for: the same numbers for the form, the API and the check itself."""

from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings

from apps.bays.models import Bay
from apps.bays.selectors import promised_hosts
from apps.bays.spec import BaySpec
from apps.bays.usage import Usage, check_limits, growth_of, usage_after
from apps.coes.base import Coe, load_coe
from apps.common.errors import CarinaError
from apps.hosts.models import Flavor
from apps.hosts.placement import Needs, choose
from apps.tenants.context import Access
from apps.tenants.roles import Permission


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


def estimate_create(*, access: Access, spec: BaySpec) -> Estimate:
    """Return what creating this bay would cost and use, and whether it would be accepted. Changes nothing."""
    access.require(Permission.BAY_READ)
    where = _Where(cloud_name=spec.cloud, needs=needs_of(coe=spec.coe))
    more = _More(flavor=spec.flavor, bays=1, hosts=spec.node_count, new_hosts=spec.node_count)
    return _estimate(access=access, flavor=spec.flavor, count=spec.node_count, more=more, where=where)


def estimate_resize(*, access: Access, bay: Bay, count: int) -> Estimate:
    """Return what the bay would cost and use with `count` hosts. Changes nothing."""
    access.require(Permission.BAY_READ)
    where = _Where(cloud_name=bay.cloud.name, needs=needs_of(coe=load_coe(name=bay.coe)), aggregate_name=bay.aggregate)
    flavor, hosts = growth_of(bay=bay, node_count=count)
    more = _More(flavor=flavor, bays=0, hosts=hosts, new_hosts=count - bay.node_count)
    return _estimate(access=access, flavor=bay.flavor, count=count, more=more, where=where)


def needs_of(*, coe: Coe) -> Needs:
    """Return what an orchestrator needs of the place its hosts go to."""
    return Needs(image=coe.image, os_types=coe.os_types)


@dataclass(frozen=True, kw_only=True)
class _Where:
    """Where new hosts may go; empty names leave the choice open."""

    cloud_name: str
    needs: Needs
    aggregate_name: str = ""


@dataclass(frozen=True, kw_only=True)
class _More:
    """What a change asks for on top: `hosts` as the limits count them, `new_hosts` as clouds do."""

    flavor: Flavor
    bays: int
    hosts: int
    new_hosts: int


def _estimate(*, access: Access, flavor: Flavor, count: int, more: _More, where: _Where) -> Estimate:
    refusal, cloud, room = "", "", 0
    try:
        check_limits(tenant=access.tenant, flavor=more.flavor, more_bays=more.bays, more_hosts=more.hosts)
        if more.new_hosts > 0:
            place = choose(
                flavor=flavor,
                count=more.new_hosts,
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
        usage=usage_after(tenant=access.tenant, flavor=more.flavor, more_bays=more.bays, more_hosts=more.hosts),
        cloud=cloud,
        room=room,
        refusal=refusal,
    )
