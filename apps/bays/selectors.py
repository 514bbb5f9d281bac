"""Reading bays: always through a tenant, with all a page or an answer needs loaded in a fixed number of queries."""

import uuid
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet, Subquery

from apps.bays.models import ALIVE, STATUS_WHILE, Bay, Condition, Host, NodeGroup
from apps.bays.pricing import cost_of, prices_for
from apps.common.errors import NotFound
from apps.common.scope import as_system
from apps.hosts.placement import Promise
from apps.operations.models import Event, Operation
from apps.operations.states import UNFINISHED
from apps.tenants.context import Access
from apps.tenants.models import Tenant
from apps.tenants.roles import Permission

_GROUPS = Prefetch("groups", queryset=NodeGroup.objects.select_related("flavor").order_by("role"))
_HOSTS = Prefetch("hosts", queryset=Host.objects.exclude(state=Host.State.REMOVED).select_related("group").order_by("index"))


def bays_of(*, access: Access) -> QuerySet[Bay]:
    """Return the tenant's bays that are not deleted, newest first. Raises Forbidden without bay:read."""
    access.require(Permission.BAY_READ)
    return live_bays(tenant=access.tenant).order_by("-created_at", "-id")


def live_bays(*, tenant: Tenant) -> QuerySet[Bay]:
    """Return the tenant's bays that are not deleted, with groups, hosts and cloud."""
    return tenant.bays.filter(ALIVE).select_related("cloud", "tenant").prefetch_related(_GROUPS, _HOSTS)


def having_status(*, bays: QuerySet[Bay], status: str) -> QuerySet[Bay]:
    """Return those of `bays` whose `Bay.status` is `status`, decided by the database; none for a word that is no status."""
    unfinished = Operation.objects.filter(subject_id=OuterRef("id"), state__in=UNFINISHED).order_by("-preempts", "-created_at")
    kinds = [kind for kind, word in STATUS_WHILE.items() if word == status]
    at_rest = Q(pending_kind=None, condition=status) if status in Condition.values else Q(pk__in=[])
    return bays.annotate(pending_kind=Subquery(unfinished.values("kind")[:1])).filter(Q(pending_kind__in=kinds) | at_rest)


def get_bay(*, access: Access, reference: str) -> Bay:
    """Return the tenant's live bay with this name or id and its newest operation.

    Raises NotFound for anything else, deleted ones and other tenants' included. The operation is read first: one that ends between
    the two reads then looks as if it still ran, and whoever watches looks again; the other way round it would look done while the bay
    does not show it yet, and nobody would look again.
    """
    access.require(Permission.BAY_READ)
    bay = None
    if "\x00" not in reference and (
        known := access.tenant.bays.filter(ALIVE).filter(_named(reference)).values_list("id", flat=True).first()
    ):
        operation = _newest_operations([known]).get(known)
        bay = live_bays(tenant=access.tenant).filter(id=known).first()
    if bay is None:
        raise NotFound(f"There is no bay “{reference[:60]}” in {access.tenant.name}.", code="bay_not_found")
    bay.operation = operation
    return bay


def bays_with_operations(*, access: Access) -> list[Bay]:
    """Return all of the tenant's live bays with their newest operations, newest bay first; operations are read first, see `get_bay`."""
    bays = bays_of(access=access)
    newest = _newest_operations(list(bays.values_list("id", flat=True)))
    listed = list(bays)
    for bay in listed:
        if bay.id in newest:  # one that was created between the two reads asks for its operation itself
            bay.operation = newest[bay.id]
    _price(listed, tenant=access.tenant)
    return listed


def bays_named(*, access: Access, ids: Sequence[UUID]) -> list[Bay]:
    """Return the tenant's live bays with these ids, in this order, each with its newest operation, which is read first (see `get_bay`)."""
    newest = _newest_operations(list(ids))
    found = {bay.id: bay for bay in bays_of(access=access).filter(id__in=ids)}
    for bay in found.values():
        bay.operation = newest.get(bay.id)
    _price(found.values(), tenant=access.tenant)
    return [found[bay_id] for bay_id in ids if bay_id in found]


def operations_of(*, bay: Bay) -> QuerySet[Operation]:
    """Return the bay's operations, newest first."""
    return bay.tenant.operations.filter(subject_id=bay.id).order_by("-created_at", "-id")


def events_of(*, bay: Bay) -> QuerySet[Event]:
    """Return what happened to the bay, newest first."""
    return bay.tenant.events.filter(subject_id=bay.id).order_by("-at", "-id")


def promised_hosts() -> list[Promise]:
    """Return what accepted bays will still ask of clouds: hosts wanted that the cloud's last look cannot have counted yet.

    A bay that could not be made and is not being tried again wants nothing until somebody tries again.
    """
    unfinished = Operation.objects.filter(subject_id=OuterRef("bay_id"), state__in=UNFINISHED)
    given_up = Q(bay__condition=Condition.ERROR, bay__observed_generation=0) & ~Exists(unfinished)
    groups = (
        NodeGroup.objects.filter(bay__deleted_at=None, bay__delete_requested_at=None)
        .exclude(given_up)
        .select_related("flavor", "bay__cloud")
        .prefetch_related(_HOSTS)
    )
    promised = []
    with as_system("hosts promised to all"):
        found = list(groups)
    for group in found:
        synced_at = group.bay.cloud.synced_at
        counted = sum(1 for host in group.hosts.all() if host.ready_at is not None and synced_at is not None and host.ready_at < synced_at)
        if group.count > counted:
            promised.append(
                Promise(cloud_id=group.bay.cloud_id, aggregate=group.bay.aggregate, size=group.flavor.size, count=group.count - counted)
            )
    return promised


def _price(bays: Iterable[Bay], *, tenant: Tenant) -> None:
    prices = prices_for(tenant=tenant)
    for bay in bays:
        bay.price = cost_of(prices=prices, hosts=bay.wanted)


def _named(reference: str) -> Q:
    try:
        return Q(id=uuid.UUID(reference))
    except ValueError:
        return Q(name=reference)


def _newest_operations(bay_ids: list[UUID]) -> dict[UUID, Operation]:
    found = Operation.objects.filter(subject_id__in=bay_ids).order_by("subject_id", "-preempts", "-created_at").distinct("subject_id")
    return {operation.subject_id: operation for operation in found}
