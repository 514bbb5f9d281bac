"""What a change would cost and use, before it is asked for: the same numbers for the form, the API and the check itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from apps.bays.models import Bay
from apps.bays.pricing import Figure, Hosts, Month, Prices, Quote, prices_for
from apps.bays.selectors import promised_hosts
from apps.bays.spec import BaySpec
from apps.bays.usage import Usage, check_limits, growth_of, usage_after
from apps.coes.base import Coe, load_coe
from apps.coes.contracts import Role
from apps.common.errors import CarinaError
from apps.hosts.models import Cloud, Flavor
from apps.hosts.placement import Needs, choose, usable_clouds
from apps.tenants.context import Access
from apps.tenants.roles import Permission


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a change means. `refusal` is the sentence with which it would be refused, empty if it would be accepted.

    Amounts are None where the hosts have no price in the tenant's currency. `remaining` is what is left of budgets and credit now, for who
    may see that.
    """

    quote: Quote
    remaining: Sequence[Figure]
    node_count: int
    vcpus: int
    memory_mib: int
    disk_gib: int
    usage: list[Usage]
    cloud: str
    room: int
    refusal: str

    @property
    def currency(self) -> str:
        """The currency of all amounts."""
        return self.quote.after.currency

    @property
    def month(self) -> Month:
        """The month whose price is named."""
        return self.quote.after.month

    @property
    def price_per_hour(self) -> Decimal | None:
        """What an hour costs once the change is made."""
        return self.quote.after.per_hour

    @property
    def price_per_month(self) -> Decimal | None:
        """What the whole month costs with the change made."""
        return self.quote.after.per_month


def estimate_create(*, access: Access, spec: BaySpec) -> Estimate:
    """Return what creating this bay would cost and use, and whether it would be accepted. Changes nothing."""
    access.require(Permission.BAY_READ)
    where = _Where(cloud_name=spec.cloud, needs=needs_of(coe=spec.coe))
    more = _More(flavor=spec.flavor, bays=1, hosts=spec.node_count, new_hosts=spec.node_count)
    return _estimate(access=access, sizes=[(spec.flavor, spec.node_count)], more=more, where=where)


def estimate_resize(*, access: Access, bay: Bay, count: int) -> Estimate:
    """Return what the bay would cost and use with `count` hosts. Changes nothing."""
    access.require(Permission.BAY_READ)
    where = _Where(cloud_name=bay.cloud.name, needs=needs_of(coe=load_coe(name=bay.coe)), aggregate_name=bay.aggregate, bay=bay)
    flavor, hosts = growth_of(bay=bay, node_count=count)
    more = _More(flavor=flavor, bays=0, hosts=hosts, new_hosts=count - bay.node_count)
    workers = max(0, count - bay.manager_count)
    sizes = [(group.flavor, workers if group.role == Role.WORKER else group.count) for group in bay.groups.all()]
    return _estimate(access=access, sizes=sizes, more=more, where=where)


def needs_of(*, coe: Coe) -> Needs:
    """Return what an orchestrator needs of the place its hosts go to."""
    return Needs(image=coe.image, os_types=coe.os_types)


@dataclass(frozen=True, kw_only=True)
class _Where:
    """Where new hosts may go; empty names leave the choice open. `bay` is the one they come to, None for a new one."""

    cloud_name: str
    needs: Needs
    aggregate_name: str = ""
    bay: Bay | None = None


@dataclass(frozen=True, kw_only=True)
class _More:
    """What a change asks for on top: `hosts` as the limits count them, `new_hosts` as clouds do."""

    flavor: Flavor
    bays: int
    hosts: int
    new_hosts: int


def _estimate(*, access: Access, sizes: Sequence[tuple[Flavor, int]], more: _More, where: _Where) -> Estimate:
    prices = prices_for(tenant=access.tenant)
    cloud, room, refusal = _place(access=access, more=more, where=where, prices=prices)
    likely = cloud or (where.bay.cloud if where.bay is not None else _likely_cloud(where.cloud_name))
    hosts = [Hosts(flavor=flavor, cloud=likely, count=count) for flavor, count in sizes if count]
    return Estimate(
        quote=prices.quote(hosts=hosts, instead_of=where.bay.id if where.bay is not None else None),
        remaining=prices.remaining() if access.may(Permission.BILLING_READ) else (),
        node_count=sum(count for _, count in sizes),
        vcpus=sum(count * flavor.vcpus for flavor, count in sizes),
        memory_mib=sum(count * flavor.memory_mib for flavor, count in sizes),
        disk_gib=sum(count * flavor.disk_gib for flavor, count in sizes),
        usage=usage_after(tenant=access.tenant, flavor=more.flavor, more_bays=more.bays, more_hosts=more.hosts),
        cloud=cloud.name if cloud is not None else "",
        room=room,
        refusal=refusal,
    )


def _place(*, access: Access, more: _More, where: _Where, prices: Prices) -> tuple[Cloud | None, int, str]:
    """Return where new hosts would go, how many there is room for, and the sentence with which all of it would be refused."""
    try:
        check_limits(tenant=access.tenant, flavor=more.flavor, more_bays=more.bays, more_hosts=more.hosts)
        if more.new_hosts > 0:
            place = choose(
                flavor=more.flavor,
                count=more.new_hosts,
                cloud_name=where.cloud_name,
                promised=promised_hosts(),
                needs=where.needs,
                aggregate_name=where.aggregate_name,
                bar=prices.why_none,
            )
            return place.cloud, place.room, ""
    except CarinaError as error:
        return None, 0, error.detail
    return None, 0, ""


def _likely_cloud(name: str) -> Cloud | None:
    """Return the cloud whose prices to name where no place was found: the one asked for, else the first that hosts come from."""
    clouds = usable_clouds()
    return next((cloud for cloud in clouds if cloud.name == name), clouds[0] if clouds and not name else None)
