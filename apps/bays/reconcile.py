"""Making a bay as it shall be: ordered phases, each of which looks at the world first and then acts on what is missing.

Safe to run twice, from the top, by anyone: nothing is derived from what an earlier run thought it had done. Threads here talk to
clouds only, never to the database.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import timedelta

from apps.bays.leftovers import release_soon
from apps.bays.models import Bay, Condition, Health, Host
from apps.bays.plan import managers_of, note_addresses, plan_hosts, plan_network
from apps.bays.world import World, world_of
from apps.coes.contracts import EngineNotReady, FormCluster, NodeState, QuorumLost
from apps.common.clock import now
from apps.hosts.contracts import HostSpec, HostState, PowerState, ProviderError
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
FASTEST_LOOK, SLOWEST_LOOK, LOOK_SHARE = 0.5, 5.0, 0.1
NETWORK_SETTLED_SECONDS, NETWORK_SETTLED_SHARE = 30.0, 0.5
"""How long a network that was there is not looked at again: so long, or, for an operation that waits long, this share of its age."""

ON_THE_WAY = (PowerState.STARTING, PowerState.GOING)
"""What only time changes. A cloud that has been starting a host for too long says so by another state."""

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
        world = world_of(bay=load_bay(run))
        if not run.settled(NETWORK, for_seconds=max(NETWORK_SETTLED_SECONDS, NETWORK_SETTLED_SHARE * run.age)):
            with run.phase(NETWORK):
                _prepare_network(run, world)
        try:
            self._make(run, world)
        except ProviderError:
            run.unsettle(NETWORK)
            raise

    def _make(self, run: Run, world: World) -> None:
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
            release_soon(bay_id=operation.subject_id)


def load_bay(run: Run) -> Bay:
    """Return the bay of a run with what the phases need."""
    return Bay.objects.select_related("tenant", "cloud", "authority", "next_authority", "former_authority").get(id=run.subject_id)


def hosts_of(bay: Bay, *states: Host.State) -> list[Host]:
    """Return the bay's live hosts, by number; only those in `states` if any are named."""
    hosts = bay.hosts.exclude(state=Host.State.REMOVED).select_related("group__flavor").order_by("index")
    return list(hosts.filter(state__in=states) if states else hosts)


def pause(run: Run) -> float:
    """Return after how many seconds to look at the cloud again: often at first, less often at what takes long anyway."""
    return min(SLOWEST_LOOK, max(FASTEST_LOOK, run.age * LOOK_SHARE))


def remove_host(run: Run, world: World, host: Host) -> None:
    """Delete the host in the cloud and note that it is gone; raises NotYet while the cloud is still at it."""
    run.alive()
    if not world.provider.remove_host(world.owner, host.ref):
        raise NotYet(f"The cloud is still deleting {host.hostname}.", after=pause(run))
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


def _prepare_network(run: Run, world: World) -> None:
    """Plan what is missing on paper, then have network and addresses: certificates name addresses, so these come before any host."""
    if sum(host.address is not None for host in hosts_of(world.bay)) < world.bay.node_count:
        world.provider.admit()
    with run.lease.guard():
        plan_network(bay=world.bay, own_network=world.provider.own_networks)
        plan_hosts(bay=world.bay, provider=world.provider, engine_port=world.coe.engine_port)
    run.alive()
    world.provider.ensure_network(world.network())
    hosts = hosts_of(world.bay)
    run.alive()
    addresses = world.provider.reserve(world.network(), [world.place(host) for host in hosts])
    with run.lease.guard():
        note_addresses(hosts=hosts, addresses=addresses)


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
            if not world.provider.remove_host(world.owner, host.ref, keep_place=True):
                raise NotYet(f"The cloud is still deleting {host.hostname}.", after=pause(run))
            run.event(code="host.replaced", message=f"Host {host.hostname} is replaced at the same address", level="warning")
            seen.pop(host.ref)
        with run.lease.guard():
            host.state, host.detail, host.node_id = Host.State.PLANNED, "", ""
            host.save(update_fields=["state", "detail", "node_id"])


def _start_hosts(run: Run, world: World, seen: dict[str, HostState]) -> None:
    """Have the cloud start what does not run; raises NotYet until it says that all run."""
    wanted = hosts_of(world.bay)
    powers = {host.ref: seen[host.ref].power if host.ref in seen else None for host in wanted}
    missing = [host for host in wanted if powers[host.ref] not in {*ON_THE_WAY, PowerState.RUNNING} or host.state == Host.State.PLANNED]
    specs = {host.ref: world.host(host) for host in missing}

    def start(spec: HostSpec) -> HostState:
        run.alive()
        return world.provider.ensure_host(spec)

    _say_started(run, powers)
    with ThreadPoolExecutor(max_workers=HOSTS_AT_ONCE, thread_name_prefix="host") as pool:
        futures: dict[Future[HostState], Host] = {pool.submit(start, specs[host.ref]): host for host in missing}
        for future in as_completed(futures):
            powers[futures[future].ref] = future.result().power
            _note_started(run, futures[future])
            _say_started(run, powers)
    waiting = [host.hostname for host in wanted if powers[host.ref] != PowerState.RUNNING]
    if waiting:
        raise NotYet(f"The cloud is still starting {', '.join(waiting)}.", after=pause(run))


def _say_started(run: Run, powers: Mapping[str, PowerState | None]) -> None:
    running = sum(power == PowerState.RUNNING for power in powers.values())
    run.step(phase=HOSTS, done=running, total=len(powers), detail=f"{running} of {len(powers)} started")


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
