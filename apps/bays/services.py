"""Use cases that change what a bay shall be: check, write desired state, operation and audit row, all in one transaction.

Nothing here talks to a cloud. What is accepted here is carried out by the reconciler, whatever happens to this process.
"""

from datetime import timedelta

from django.db import IntegrityError, transaction

from apps.audit.services import Actor
from apps.bays.estimates import needs_of
from apps.bays.leaving import note_leaving
from apps.bays.models import ALIVE, Bay, NodeGroup
from apps.bays.pricing import prices_for
from apps.bays.selectors import get_bay, promised_hosts
from apps.bays.spec import BaySpec, parse_count, parse_name
from apps.bays.usage import check_limits, growth_of
from apps.bays.writes import audit, bump, lock_bay
from apps.coes.base import load_coe
from apps.coes.contracts import Role
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput
from apps.credentials.services import create_authority
from apps.hosts.contracts import HostKind
from apps.hosts.models import Cloud
from apps.hosts.placement import choose
from apps.operations.engine import submit
from apps.operations.selectors import unfinished_of
from apps.tenants.context import Access
from apps.tenants.models import Tenant
from apps.tenants.roles import Permission
from apps.tenants.services import lock_tenant

LIMIT_ON_METAL = timedelta(minutes=90)
"""How long an operation on whole servers may take: each is written anew and boots through its firmware, a quarter of an hour or more."""

WORD_WHILE = {
    "bay.create": "created",
    "bay.resize": "resized",
    "bay.heal": "healed",
    "bay.rotate_ca": "given a new certificate authority",
    "bay.delete": "deleted",
}


@transaction.atomic
def create_bay(*, access: Access, spec: BaySpec) -> Bay:
    """Accept a new bay and return it, `creating`.

    Raises Conflict for a name in use, LimitReached for the tenant's limits, NoRoom or InvalidInput where no cloud can give the hosts.
    """
    access.require(Permission.BAY_CREATE)
    tenant = lock_tenant(tenant_id=access.tenant.id)
    if tenant.bays.filter(ALIVE, name=spec.name).exists():
        raise Conflict(
            f"There is already a bay “{spec.name}” in {tenant.name}.", code="name_taken", errors={"name": "This name is in use."}
        )
    check_limits(tenant=tenant, flavor=spec.flavor, more_bays=1, more_hosts=spec.node_count)
    place = _place(tenant, spec)
    moment = now()
    bay = Bay.objects.create(
        tenant=tenant,
        name=spec.name,
        coe=spec.coe.name,
        coe_version=spec.coe_version,
        cloud=place[0],
        aggregate=place[1],
        expires_at=moment + spec.ttl if spec.ttl else None,
        tags=dict(spec.tags),
        created_by=access.actor.label,
        created_at=moment,
        updated_at=moment,
    )
    for role, count in ((Role.MANAGER, spec.manager_count), (Role.WORKER, spec.node_count - spec.manager_count)):
        NodeGroup.objects.create(tenant=tenant, bay=bay, role=role, flavor=spec.flavor, count=count)
    _submit(bay, kind="bay.create", by=access.actor)
    hosts = f"{spec.node_count} {'host' if spec.node_count == 1 else 'hosts'} of {spec.flavor.name}"
    audit(by=access.actor, bay=bay, action="bay.created", sentence=f"asked for the bay {bay.name} ({spec.coe.title}, {hosts})")
    return bay


@transaction.atomic
def resize_bay(*, access: Access, reference: str, node_count: object, if_match: str | None = None) -> Bay:
    """Accept another number of hosts (managers included). The same number is accepted and changes nothing.

    Raises InvalidInput below the number of managers, Conflict while another operation runs, LimitReached, NoRoom.
    """
    access.require(Permission.BAY_CHANGE)
    tenant = lock_tenant(tenant_id=access.tenant.id)
    bay = lock_bay(access=access, reference=reference, if_match=if_match)
    count = parse_count(node_count)
    _refuse_while_busy(bay)
    managers = bay.manager_count
    if count < managers:
        raise InvalidInput.field(
            "node_count",
            f"The bay has {managers} managers, which must stay for a majority to decide; {managers} hosts is the least.",
            code="below_quorum",
        )
    more = count - bay.node_count
    if more == 0:
        return bay
    if more > 0:
        flavor, growth = growth_of(bay=bay, node_count=count)
        check_limits(tenant=tenant, flavor=flavor, more_hosts=growth)
        choose(
            flavor=bay.flavor,
            count=more,
            cloud_name=bay.cloud.name,
            promised=promised_hosts(),
            needs=needs_of(coe=load_coe(name=bay.coe)),
            aggregate_name=bay.aggregate,
            bar=prices_for(tenant=tenant).why_none,
        )
    before = bay.node_count
    bay.groups.filter(role=Role.WORKER).update(count=count - managers)
    bump(bay=bay)
    note_leaving(bay=bay, at=bay.updated_at)
    _submit(bay, kind="bay.resize", by=access.actor)
    audit(
        by=access.actor,
        bay=bay,
        action="bay.resized",
        sentence=f"asked to resize the bay {bay.name} from {before} to {count} hosts",
        data={"from": before, "to": count},
    )
    return _fresh(access=access, bay=bay)


@transaction.atomic
def rename_bay(*, access: Access, reference: str, name: object, if_match: str | None = None) -> Bay:
    """Give the bay another name; its hosts keep theirs. Raises Conflict for a name in use."""
    access.require(Permission.BAY_CHANGE)
    bay = lock_bay(access=access, reference=reference, if_match=if_match)
    wanted = parse_name(name)
    if wanted == bay.name:
        return bay
    before, bay.name = bay.name, wanted
    try:
        with transaction.atomic():
            bump(bay=bay, fields=("name",))
    except IntegrityError as error:
        raise Conflict(
            f"There is already a bay “{wanted}” in {bay.tenant.name}.", code="name_taken", errors={"name": "This name is in use."}
        ) from error
    audit(
        by=access.actor,
        bay=bay,
        action="bay.renamed",
        sentence=f"renamed the bay {before} to {wanted}",
        data={"from": before, "to": wanted},
    )
    return bay


@transaction.atomic
def heal_bay(*, access: Access, reference: str) -> Bay:
    """Accept the order to make the bay as it shall be: lost hosts are replaced, a failed operation is tried again."""
    access.require(Permission.BAY_CHANGE)
    bay = lock_bay(access=access, reference=reference, if_match=None)
    _refuse_while_busy(bay)
    _submit(bay, kind="bay.heal", by=access.actor)
    audit(by=access.actor, bay=bay, action="bay.healed", sentence=f"asked to heal the bay {bay.name}")
    return _fresh(access=access, bay=bay)


@transaction.atomic
def rotate_ca(*, access: Access, reference: str) -> Bay:
    """Accept the order to replace the bay's certificate authority, after which no certificate issued before opens the bay.

    What runs in the bay is not touched. A replacement that was given up half-way is taken up where it was left. Raises Conflict while
    another operation runs, or before the bay has an authority and an endpoint.
    """
    access.require(Permission.BAY_CHANGE)
    bay = lock_bay(access=access, reference=reference, if_match=None)
    _refuse_while_busy(bay)
    if bay.authority_id is None or not bay.endpoint:
        raise Conflict(
            f"The bay {bay.name} was never ready, so it has no certificates to replace; heal or delete it.", code="bay_not_ready"
        )
    if not bay.rotating:
        bay.next_authority = create_authority(tenant=bay.tenant, name=f"{bay.name} bay CA of {now():%Y-%m-%d}")
    bump(bay=bay, fields=("next_authority",))
    submit(tenant=bay.tenant, kind="bay.rotate_ca", subject_id=bay.id, generation=bay.generation, by=access.actor)
    audit(
        by=access.actor,
        bay=bay,
        action="bay.ca_rotated",
        sentence=f"asked to replace the certificate authority of the bay {bay.name}; certificates issued before stop working",
    )
    return _fresh(access=access, bay=bay)


@transaction.atomic
def delete_bay(*, access: Access, reference: str, if_match: str | None = None) -> Bay:
    """Accept the deletion of a bay at any time; a running operation gives way. Raises Conflict if it is being deleted already."""
    access.require(Permission.BAY_DELETE)
    bay = lock_bay(access=access, reference=reference, if_match=if_match)
    delete_locked(bay=bay, by=access.actor)
    return _fresh(access=access, bay=bay)


def delete_locked(*, bay: Bay, by: Actor) -> None:
    """Accept the deletion of a bay whose row the caller has locked."""
    if bay.delete_requested_at is not None:
        seconds = (now() - bay.delete_requested_at).total_seconds()
        raise Conflict(
            f"The bay {bay.name} is already being deleted, since {seconds:.0f} s; wait for it to be gone.", code="already_deleting"
        )
    bay.delete_requested_at = now()
    bump(bay=bay, fields=("delete_requested_at",))
    note_leaving(bay=bay, at=bay.delete_requested_at)
    submit(tenant=bay.tenant, kind="bay.delete", subject_id=bay.id, generation=bay.generation, by=by, preempts=True)
    audit(by=by, bay=bay, action="bay.deleted", sentence=f"asked to delete the bay {bay.name} with its {bay.node_count} hosts")


def delete_expired_bays() -> int:
    """Accept the deletion of bays whose time to live is over; return how many."""
    expired = Bay.objects.filter(ALIVE, delete_requested_at=None, expires_at__lte=now()).values_list("id", flat=True)
    count = 0
    for bay_id in expired:
        with transaction.atomic():
            bay = Bay.objects.select_for_update(of=("self",), skip_locked=True).filter(ALIVE, id=bay_id, delete_requested_at=None).first()
            if bay is not None:
                delete_locked(bay=bay, by=Actor.system("expiry"))
                count += 1
    return count


def _submit(bay: Bay, *, kind: str, by: Actor) -> None:
    on_metal = bay.groups.filter(count__gt=0, flavor__host_kind=HostKind.BAREMETAL).exists()
    limit = LIMIT_ON_METAL if on_metal else None
    submit(tenant=bay.tenant, kind=kind, subject_id=bay.id, generation=bay.generation, by=by, limit=limit)


def _place(tenant: Tenant, spec: BaySpec) -> tuple[Cloud, str]:
    found = choose(
        flavor=spec.flavor,
        count=spec.node_count,
        cloud_name=spec.cloud,
        promised=promised_hosts(),
        needs=needs_of(coe=spec.coe),
        bar=prices_for(tenant=tenant).why_none,
    )
    return found.cloud, found.aggregate.name if found.aggregate else ""


def _refuse_while_busy(bay: Bay) -> None:
    running = unfinished_of(subject_id=bay.id).first()
    if running is not None:
        word = WORD_WHILE[running.kind]
        raise Conflict(f"The bay {bay.name} is being {word} right now ({running.progress} %); wait until that is done.", code="bay_busy")


def _fresh(*, access: Access, bay: Bay) -> Bay:
    return get_bay(access=access, reference=str(bay.id))
