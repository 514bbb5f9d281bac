"""Replacing a bay's certificate authority, host by host, while everything in the bay runs on.

Where it stands is told by two columns of the bay and by the hosts themselves, never by what an earlier run noted:

- `next_authority` is set: hosts come to serve with certificates of the next authority, and let in clients of both;
- once all do, it becomes the bay's authority, and the one before the `former_authority`;
- `former_authority` is set: hosts come to let in clients of the bay's authority alone, and connections that were opened by certificates of
  the former one end. Once every host has turned down a certificate of the former one, it is retired and its key destroyed.

At every moment one identity is let in by every host, so heal, resize and observation work in the middle of it, too.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from apps.bays.models import Bay, Condition, Host
from apps.bays.plan import managers_of
from apps.bays.reconcile import HOSTS_AT_ONCE, hosts_of, load_bay, patiently
from apps.bays.world import World, world_of
from apps.coes.contracts import ClientIdentity, EngineNotReady, Node, ServerIdentity
from apps.credentials.models import CertificateAuthority
from apps.credentials.services import portal_identity, retire_authority
from apps.operations.engine import Outcome
from apps.operations.models import Operation
from apps.operations.registry import PhaseSpec
from apps.operations.run import Run
from apps.operations.states import State

RENEW, SWITCH, REFUSE = "renew", "switch", "refuse"

PATIENCE = 5.0
"""Seconds a host gets to show a certificate it was given; it takes a fraction of one."""


class Rotate:
    """Carries out the replacement of a bay's authority."""

    deadline = timedelta(minutes=5)
    """It takes seconds; whoever waits for a host that is silent cannot heal the bay meanwhile."""

    def phases(self, *, operation: Operation) -> Sequence[PhaseSpec]:
        """Return the phases of every replacement."""
        del operation
        return [
            PhaseSpec(name=RENEW, title="New certificates for all hosts", weight=50),
            PhaseSpec(name=SWITCH, title="New authority of the bay", weight=5),
            PhaseSpec(name=REFUSE, title="Hosts refuse old certificates", weight=45),
        ]

    def execute(self, run: Run) -> None:
        """Bring the next authority in, and the former one out, from wherever it stands."""
        world = world_of(bay=load_bay(run))
        with run.phase(RENEW), patiently():
            _renew(run, world)
        with run.phase(SWITCH):
            _switch(run, world.bay)
        with run.phase(REFUSE), patiently():
            _refuse(run, world)

    def finish(self, *, operation: Operation, outcome: Outcome) -> None:
        """Write how the bay is at rest now. An error that was there before, and has to do with hosts, stays."""
        bay = Bay.objects.get(id=operation.subject_id)
        if outcome.state == State.FAILED:
            bay.condition, bay.reason_code, bay.reason_message = Condition.ERROR, outcome.code, outcome.message
        elif outcome.state == State.SUCCEEDED:
            bay.observed_generation = operation.generation
            if [host.state for host in hosts_of(bay)] == [Host.State.READY] * bay.node_count:
                bay.condition, bay.reason_code, bay.reason_message = Condition.ACTIVE, "", ""
        bay.save(update_fields=["condition", "reason_code", "reason_message", "observed_generation"])


def _renew(run: Run, world: World) -> None:
    """Have every host serve with a certificate of the next authority and let in clients of both."""
    if world.bay.next_authority is None:
        return
    new = _identity(world.bay.next_authority)
    _replace(run, world, phase=RENEW, cut=False, is_done=lambda node: world.coe.accepts(node=node, identity=new))


def _switch(run: Run, bay: Bay) -> None:
    """Make the next authority the bay's: from here on people get certificates of it."""
    if bay.next_authority is None:
        return
    with run.lease.guard():
        bay.former_authority, bay.authority, bay.next_authority = bay.authority, bay.next_authority, None
        bay.save(update_fields=["former_authority", "authority", "next_authority"])
    run.event(code="ca.switched", message="The bay has a new certificate authority; from now on bundles are of it")


def _refuse(run: Run, world: World) -> None:
    """Have every host let in clients of the bay's authority alone, see that it does, and retire the former one."""
    former = world.bay.former_authority
    if former is None:
        return
    new, old = world.identity(), replace(_identity(former), ca_pem=world.authority.certificate)

    def is_done(node: Node) -> bool:
        return world.coe.accepts(node=node, identity=new) and not world.coe.accepts(node=node, identity=old)

    _replace(run, world, phase=REFUSE, cut=True, is_done=is_done)
    run.alive()
    managers = managers_of(_there(world))
    if managers:  # where none is left, neither is the cluster whose secrets these were: healing makes a new one
        world.coe.replace_secrets(managers=world.nodes(managers), identity=world.identity())
    with run.lease.guard():
        world.bay.former_authority = None
        world.bay.save(update_fields=["former_authority"])
        retire_authority(authority=former)
    run.event(code="ca.retired", message="Every host refuses certificates of the former authority")


def _replace(run: Run, world: World, *, phase: str, cut: bool, is_done: Callable[[Node], bool]) -> None:
    """Give each host that is not done a new certificate, and look again afterwards. Threads here never talk to the database."""
    hosts = _there(world)
    identity = world.identity()
    nodes = {host.ref: world.node(host) for host in hosts}

    def look(host: Host) -> bool:
        run.alive()
        return is_done(nodes[host.ref])

    def give(order: tuple[Host, ServerIdentity]) -> None:
        host, server = order
        run.alive()
        world.coe.replace_certificate(node=nodes[host.ref], identity=identity, server=server, cut=cut, patience=PATIENCE)

    with ThreadPoolExecutor(max_workers=HOSTS_AT_ONCE, thread_name_prefix="certificate") as pool:
        missing = [host for host, done in zip(hosts, pool.map(look, hosts), strict=True) if not done]
        with run.lease.guard():
            orders = [(host, world.server(host)) for host in missing]
        done = len(hosts) - len(missing)
        run.step(phase=phase, done=done, total=len(hosts), detail=f"{done} of {len(hosts)} hosts")
        for _ in pool.map(give, orders):
            done += 1
            run.step(phase=phase, done=done, total=len(hosts), detail=f"{done} of {len(hosts)} hosts")
        behind = [host.hostname for host, is_there in zip(missing, pool.map(look, missing), strict=True) if not is_there]
    if behind:
        raise EngineNotReady(f"{', '.join(behind)} has new certificates and still goes by the old ones.")


def _there(world: World) -> list[Host]:
    """Return the bay's hosts that exist in its cloud. The others get the right files when they are made."""
    refs = {state.ref for state in world.provider.list_hosts(world.owner)}
    return [host for host in hosts_of(world.bay) if host.ref in refs]


def _identity(authority: CertificateAuthority) -> ClientIdentity:
    issued = portal_identity(authority=authority)
    return ClientIdentity(ca_pem=issued.ca_pem, certificate_pem=issued.certificate_pem, key_pem=issued.key_pem)
