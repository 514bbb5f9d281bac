"""Reading bays: always through a tenant, with all a page or an answer needs loaded in a fixed number of queries."""

import uuid
from collections.abc import Iterable
from uuid import UUID

from django.db.models import OuterRef, Prefetch, Q, QuerySet, Subquery

from apps.bays.models import ALIVE, STATUS_WHILE, Bay, Condition, Host, NodeGroup
from apps.common.errors import NotFound
from apps.hosts.contracts import HostSize
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
    """Return the tenant's live bay with this name or id; raises NotFound for anything else, deleted ones and other tenants' included."""
    access.require(Permission.BAY_READ)
    bay = live_bays(tenant=access.tenant).filter(_named(reference)).first() if "\x00" not in reference else None
    if bay is None:
        raise NotFound(f"There is no bay “{reference[:60]}” in {access.tenant.name}.", code="bay_not_found")
    return bay


def attach_operations(bays: Iterable[Bay]) -> list[Bay]:
    """Return the bays as a list, each with its newest operation, in one query for all."""
    listed = list(bays)
    newest = (
        Operation.objects.filter(subject_id__in=[bay.id for bay in listed])
        .order_by("subject_id", "-preempts", "-created_at")
        .distinct("subject_id")
    )
    by_subject = {operation.subject_id: operation for operation in newest}
    for bay in listed:
        bay.operation = by_subject.get(bay.id)
    return listed


def operations_of(*, bay: Bay) -> QuerySet[Operation]:
    """Return the bay's operations, newest first."""
    return bay.tenant.operations.filter(subject_id=bay.id).order_by("-created_at", "-id")


def events_of(*, bay: Bay) -> QuerySet[Event]:
    """Return what happened to the bay, newest first."""
    return bay.tenant.events.filter(subject_id=bay.id).order_by("-at", "-id")


def promised_by_cloud() -> dict[UUID, HostSize]:
    """Return what accepted bays will still ask of each cloud: hosts wanted that its last look cannot have counted yet."""
    promised: dict[UUID, HostSize] = {}
    groups = (
        NodeGroup.objects.filter(bay__deleted_at=None, bay__delete_requested_at=None)
        .select_related("flavor", "bay__cloud")
        .prefetch_related("hosts")
    )
    for group in groups:
        synced_at = group.bay.cloud.synced_at
        counted = sum(1 for host in group.hosts.all() if host.ready_at is not None and synced_at is not None and host.ready_at < synced_at)
        missing = max(0, group.count - counted)
        before = promised.get(group.bay.cloud_id, HostSize(vcpus=0, memory_mib=0, disk_gib=0, processes=0))
        size = group.flavor.size
        promised[group.bay.cloud_id] = HostSize(
            vcpus=before.vcpus + missing * size.vcpus,
            memory_mib=before.memory_mib + missing * size.memory_mib,
            disk_gib=before.disk_gib + missing * size.disk_gib,
            processes=0,
        )
    return promised


def _named(reference: str) -> Q:
    try:
        return Q(id=uuid.UUID(reference))
    except ValueError:
        return Q(name=reference)
