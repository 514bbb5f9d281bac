"""Making a bay as it shall be: ordered phases, each of which looks at the world first and then acts on what is missing.

Safe to run twice, from the top, by anyone: nothing is derived from what an earlier run thought it had done. Threads here talk to
clouds only, never to the database.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import timedelta

from apps.bays.models import Bay, Condition, Health, Host
from apps.bays.plan import managers_of, plan_hosts, plan_network
from apps.bays.world import World, world_of
from apps.coes.contracts import EngineNotReady, FormCluster, NodeState, QuorumLost
from apps.common.clock import now
from apps.hosts.contracts import HostSpec, HostState, PowerState
from apps.hosts.tasks import sync_soon
from apps.operations.engine import Outcome
from apps.operations.models import Operation
from apps.operations.registry import PhaseSpec
from apps.operations.run import NotYet, Run
from apps.operations.states import State

HOSTS_AT_ONCE = 8
PATIENCE = 2.0
"""Seconds a phase may wait inside a worker; longer waits are due times in the database."""
LOOK_AGAIN, LOOK_AGAIN_AT_ELECTION = 0.25, 1.0

NETWORK, RETIRE, HOSTS, CLUSTER = "network", "retire", "hosts", "cluster"


class Ensure:
    """Carries out create, resize and heal: they differ only in what is missing."""

    deadline = timedelta(minutes=15)

    def phases(self, *, operation: Operation) -> Sequence[PhaseSpec]:
        """Return the phases of the kind of operation; only some can have hosts to remove."""
        retire = [] if operation.kind == "bay.create" else [PhaseSpec(name=RETIRE, title="Draining and removing hosts", weight=25)]
        return [
            PhaseSpec(name=NETWORK, title="Private network and certificates", weight=10),
            *retire,
            PhaseSpec(name=HOSTS, title="Starting hosts", weight=35),
            PhaseSpec(name=CLUSTER, title="Engines form the cluster", weight=55),
        ]

    def execute(self, run: Run) -> None:
        """Make network, hosts and cluster as the bay's desired columns say."""
        bay = load_bay(run)
        world = world_of(bay=bay)
        with run.phase(NETWORK):
            with run.lease.guard():
                plan_network(bay=bay)
                plan_hosts(bay=bay, all_published=not world.provider.reaches_hosts_directly)
            run.alive()
            world.provider.ensure_network(world.network())
        seen = {state.ref: state for state in world.provider.list_hosts(world.owner)}
        if run.operation.kind != "bay.create":
            with run.phase(RETIRE):
                _retire_surplus(run, world)
                _replace_lost(run, world, seen)
        with run.phase(HOSTS):
            _start_hosts(run, world, seen)
        with run.phase(CLUSTER):
            _form_cluster(run, world)

    def finish(self, *, operation: Operation, outcome: Outcome) -> None:
        """Write how the bay is at rest now."""
        bay = Bay.objects.filter(id=operation.subject_id)
        sync_soon(cloud_id=bay.values_list("cloud_id", flat=True).get())
        if outcome.state == State.SUCCEEDED:
            bay.update(
                condition=Condition.ACTIVE,
                health=Health.HEALTHY,
                reason_code="",
                reason_message="",
                observed_generation=operation.generation,
            )
        elif outcome.state == State.FAILED:
            bay.update(condition=Condition.ERROR, reason_code=outcome.code, reason_message=outcome.message)


def load_bay(run: Run) -> Bay:
    """Return the bay of a run with what the phases need."""
    return Bay.objects.select_related("tenant", "cloud", "authority").get(id=run.subject_id)


def hosts_of(bay: Bay, *states: Host.State) -> list[Host]:
    """Return the bay's live hosts, by number; only those in `states` if any are named."""
    hosts = bay.hosts.exclude(state=Host.State.REMOVED).select_related("group__flavor").order_by("index")
    return list(hosts.filter(state__in=states) if states else hosts)


def remove_host(run: Run, world: World, host: Host) -> None:
    """Delete the host in the cloud and note that it is gone."""
    run.alive()
    world.provider.remove_host(world.owner, host.ref)
    with run.lease.guard():
        host.state, host.removed_at = Host.State.REMOVED, now()
        host.save(update_fields=["state", "removed_at"])


@contextmanager
def patiently() -> Iterator[None]:
    """Turn "the engines are not that far yet" into a wait that costs no worker. An election among managers takes some ten seconds."""
    try:
        yield
    except EngineNotReady as error:
        raise NotYet(str(error), code=error.code, after=LOOK_AGAIN) from error
    except QuorumLost as error:
        raise NotYet(str(error), code=error.code, after=LOOK_AGAIN_AT_ELECTION) from error


def _retire_surplus(run: Run, world: World) -> None:
    surplus = hosts_of(world.bay, Host.State.DRAINING)
    for number, host in enumerate(reversed(surplus)):
        run.step(phase=RETIRE, done=number, total=len(surplus), detail=f"draining {host.hostname}")
        run.alive()
        managers = managers_of(other for other in hosts_of(world.bay) if other.id != host.id)
        with patiently():
            world.coe.retire_node(node=world.node(host), managers=world.nodes(managers), identity=world.identity(), patience=PATIENCE)
        remove_host(run, world, host)
        run.event(code="host.removed", message=f"Host {host.hostname} was drained and removed")


def _replace_lost(run: Run, world: World, seen: dict[str, HostState]) -> None:
    """Delete instances of hosts that their cluster lost although they run; the next phase makes them anew at the same address.

    A lost host that merely stands still is started by the next phase. Each is planned anew as soon as it is dealt with, so that a
    later attempt does not replace it again.
    """
    if run.operation.kind != "bay.heal":
        return
    for host in hosts_of(world.bay, Host.State.LOST):
        state = seen.get(host.ref)
        if state is not None and state.power != PowerState.STOPPED:
            run.alive()
            run.event(code="host.replaced", message=f"Host {host.hostname} is replaced at the same address", level="warning")
            world.provider.remove_host(world.owner, host.ref)
            seen.pop(host.ref)
        with run.lease.guard():
            host.state, host.detail, host.node_id = Host.State.PLANNED, "", ""
            host.save(update_fields=["state", "detail", "node_id"])


def _start_hosts(run: Run, world: World, seen: dict[str, HostState]) -> None:
    wanted = hosts_of(world.bay)
    running = {ref for ref, state in seen.items() if state.power == PowerState.RUNNING}
    missing = [host for host in wanted if host.ref not in running or host.state == Host.State.PLANNED]
    if not missing:
        return
    run.step(
        phase=HOSTS, done=len(wanted) - len(missing), total=len(wanted), detail=f"{len(wanted) - len(missing)} of {len(wanted)} started"
    )
    specs = {host.ref: world.host(host) for host in missing}

    def start(spec: HostSpec) -> HostState:
        run.alive()
        return world.provider.ensure_host(spec)

    with ThreadPoolExecutor(max_workers=HOSTS_AT_ONCE, thread_name_prefix="host") as pool:
        futures: dict[Future[HostState], Host] = {pool.submit(start, specs[host.ref]): host for host in missing}
        for done, future in enumerate(as_completed(futures), start=len(wanted) - len(missing) + 1):
            future.result()
            _note_started(run, futures[future])
            run.step(phase=HOSTS, done=done, total=len(wanted), detail=f"{done} of {len(wanted)} started")


def _note_started(run: Run, host: Host) -> None:
    with run.lease.guard():
        Host.objects.filter(id=host.id, state=Host.State.PLANNED).update(state=Host.State.STARTED)


def _form_cluster(run: Run, world: World) -> None:
    hosts = hosts_of(world.bay)
    order = FormCluster(
        bay=world.bay.name,
        nodes=world.nodes(hosts),
        identity=world.identity(),
        patience=PATIENCE,
        on_progress=lambda done, total, sentence: run.step(phase=CLUSTER, done=done, total=total, detail=sentence),
        alive=run.alive,
    )
    with patiently():
        members = world.coe.form_cluster(order)
    with run.lease.guard():
        _write_members(world, hosts, members)


def _write_members(world: World, hosts: list[Host], members: list[NodeState]) -> None:
    by_name = {member.hostname: member for member in members}
    moment = now()
    for host in hosts:
        host.state, host.detail, host.node_id, host.seen_at = Host.State.READY, "", by_name[host.hostname].node_id, moment
        host.ready_at = host.ready_at or moment
    Host.objects.bulk_update(hosts, ["state", "detail", "node_id", "seen_at", "ready_at"])
    Bay.objects.filter(id=world.bay.id).update(endpoint=world.endpoint(hosts), observed_at=moment)
