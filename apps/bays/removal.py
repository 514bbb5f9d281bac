"""Deleting a bay: hosts, network, and a last look by tag that nothing of it is left. It never gives up; it only waits."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from apps.bays.models import Bay, Condition, Health, Host
from apps.bays.reconcile import HOSTS_AT_ONCE, load_bay, pause
from apps.bays.world import World, world_of
from apps.common.clock import now
from apps.hosts.tasks import sync_soon
from apps.operations.engine import Outcome
from apps.operations.models import Operation
from apps.operations.registry import PhaseSpec
from apps.operations.run import NotYet, Run
from apps.operations.states import State

HOSTS, NETWORK, CHECK = "hosts", "network", "check"


class Remove:
    """Carries out the deletion of a bay."""

    deadline = None

    def phases(self, *, operation: Operation) -> Sequence[PhaseSpec]:
        """Return the phases of every deletion."""
        del operation
        return [
            PhaseSpec(name=HOSTS, title="Deleting hosts", weight=70),
            PhaseSpec(name=NETWORK, title="Deleting the private network", weight=20),
            PhaseSpec(name=CHECK, title="Looking for leftovers", weight=10),
        ]

    def execute(self, run: Run) -> None:
        """Delete whatever carries the bay's tags; what is already gone is success."""
        world = world_of(bay=load_bay(run))
        with run.phase(HOSTS):
            _remove_hosts(run, world)
        with run.phase(NETWORK):
            run.alive()
            world.provider.remove_network(world.owner)
        with run.phase(CHECK):
            left = world.provider.leftovers(world.owner)
            if left:
                raise NotYet(f"Still there: {', '.join(left)}.", code="leftovers", after=1.0)

    def finish(self, *, operation: Operation, outcome: Outcome) -> None:
        """Write that the bay is gone; its row stays for the bills."""
        if outcome.state != State.SUCCEEDED:
            return
        moment = now()
        sync_soon(cloud_id=Bay.objects.values_list("cloud_id", flat=True).get(id=operation.subject_id))
        Host.objects.filter(bay_id=operation.subject_id).exclude(state=Host.State.REMOVED).update(
            state=Host.State.REMOVED, removed_at=moment
        )
        Bay.objects.filter(id=operation.subject_id).update(
            condition=Condition.DELETED,
            health=Health.UNKNOWN,
            reason_code="",
            reason_message="",
            endpoint="",
            deleted_at=moment,
            observed_generation=operation.generation,
        )


def _remove_hosts(run: Run, world: World) -> None:
    """Delete every host it knows of, and those only planned: their places may be reserved. Raises NotYet until all are gone."""
    planned = Host.objects.filter(bay=world.bay).exclude(state=Host.State.REMOVED).values_list("ref", flat=True)
    refs = sorted({state.ref for state in world.provider.list_hosts(world.owner)} | set(planned))

    def remove(ref: str) -> bool:
        run.alive()
        return world.provider.remove_host(world.owner, ref)

    gone = 0
    with ThreadPoolExecutor(max_workers=HOSTS_AT_ONCE, thread_name_prefix="host") as pool:
        for is_gone in pool.map(remove, refs):
            gone += is_gone
            run.step(phase=HOSTS, done=gone, total=len(refs), detail=f"{gone} of {len(refs)} deleted")
    if gone < len(refs):
        raise NotYet(f"The cloud is still deleting {len(refs) - gone} of {len(refs)} hosts.", after=pause(run))
