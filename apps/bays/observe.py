"""Asking active bays how they are: the cluster itself says which hosts it still has. Changes nothing outside."""

from uuid import UUID

import structlog
from django.db import transaction

from apps.bays.models import ALIVE, Bay, Condition, Health, Host
from apps.bays.plan import managers_of
from apps.bays.reconcile import hosts_of
from apps.bays.world import World, world_of
from apps.coes.contracts import EngineError, NodeHealth, NodeState
from apps.common.clock import now
from apps.hosts.contracts import PowerState, ProviderError
from apps.operations.codes import code_named
from apps.operations.models import Event, Operation
from apps.operations.selectors import unfinished_of
from apps.operations.states import UNFINISHED

log = structlog.get_logger(__name__)


def due_bays() -> list[UUID]:
    """Return the bays that are at rest and should be asked."""
    busy = Operation.objects.filter(state__in=UNFINISHED).values("subject_id")
    return list(Bay.objects.filter(ALIVE, condition=Condition.ACTIVE).exclude(id__in=busy).values_list("id", flat=True))


def observe_bay(*, bay_id: UUID) -> None:
    """Ask one bay's cluster for its members and write what it says, unless an operation took the bay over meanwhile."""
    bay = Bay.objects.select_related("tenant", "cloud", "authority").filter(ALIVE, id=bay_id, condition=Condition.ACTIVE).first()
    if bay is None or bay.authority is None:
        return
    world = world_of(bay=bay)
    hosts = hosts_of(bay)
    try:
        members = world.coe.observe(managers=world.nodes(managers_of(hosts)), identity=world.identity())
    except EngineError as error:
        _write(bay=bay, hosts=hosts, members=None, powers=_powers(world), sentence=str(error))
        return
    powers = None if all(member.health == NodeHealth.READY for member in members) else _powers(world)
    _write(bay=bay, hosts=hosts, members=members, powers=powers, sentence="")


def _powers(world: World) -> dict[str, PowerState] | None:
    try:
        return {state.ref: state.power for state in world.provider.list_hosts(world.owner)}
    except ProviderError as error:
        log.warning("cloud_does_not_tell", bay=str(world.bay.id), code=error.code, error=str(error))
        return None


@transaction.atomic
def _write(*, bay: Bay, hosts: list[Host], members: list[NodeState] | None, powers: dict[str, PowerState] | None, sentence: str) -> None:
    locked = Bay.objects.select_for_update().get(id=bay.id)
    if locked.generation != bay.generation or unfinished_of(subject_id=bay.id).exists():
        return  # services lock the bay's row before they submit: what was seen is older than what is wanted now
    known = {member.hostname: member for member in members or []}
    for host in hosts:
        _write_host(host, known.get(host.hostname), power=_power_of(host, powers), asked=members is not None)
    lost = [host.hostname for host in hosts if host.state == Host.State.LOST]
    health, code, message = Health.HEALTHY, "", ""
    if members is None:
        health, code, message = Health.UNREACHABLE, "engine_not_ready", sentence
    elif lost:
        health, code = Health.DEGRADED, "host_lost"
        message = f"{', '.join(lost)}: {code_named(code=code).title}"
    if (locked.health, locked.reason_code) != (health, code):
        words = {
            Health.HEALTHY: "All hosts answer again",
            Health.UNREACHABLE: f"The cluster does not answer: {sentence}",
            Health.DEGRADED: message,
        }
        Event.objects.create(
            tenant_id=bay.tenant_id,
            subject_id=bay.id,
            at=now(),
            code=f"health.{health}",
            message=words[health],
            level="info" if health == Health.HEALTHY else "warning",
        )
    Bay.objects.filter(id=bay.id).update(health=health, reason_code=code, reason_message=message, observed_at=now())


def _power_of(host: Host, powers: dict[str, PowerState] | None) -> str:
    if powers is None:
        return ""  # not asked, or no answer
    return powers[host.ref].value if host.ref in powers else "gone"


def _write_host(host: Host, member: NodeState | None, *, power: str, asked: bool) -> None:
    if member is not None and member.health == NodeHealth.READY:
        host.state, host.detail, host.seen_at, host.node_id = Host.State.READY, "", now(), member.node_id
    elif asked or power in {"stopped", "gone"}:
        reasons = {"stopped": "The host is stopped.", "gone": "The host is no longer in the cloud."}
        host.state = Host.State.LOST
        host.detail = reasons.get(power, member.detail if member is not None and member.detail else "The cluster no longer reaches it.")
    else:
        return  # the whole cluster is silent and the cloud says the host runs: nothing is known of this one
    host.save(update_fields=["state", "detail", "seen_at", "node_id"])
