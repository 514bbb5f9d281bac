"""A bay's authority is replaced, on a cloud and engines in memory, by workers that die at every call: it always ends as asked."""

import random
from collections.abc import Iterator

import pytest

from apps.bays.access import issue_bundle
from apps.bays.models import Bay, Condition, Host
from apps.bays.rotation import _identity
from apps.bays.services import delete_bay, heal_bay, resize_bay, rotate_ca
from apps.bays.world import world_of
from apps.coes.contracts import ClientIdentity, EngineNotReady, EngineRefused
from apps.common.clock import now
from apps.common.errors import Conflict
from apps.credentials.models import Certificate, CertificateAuthority
from apps.operations import engine
from apps.operations.lease import Lease
from apps.operations.models import Operation
from apps.operations.states import State
from apps.tenants.context import Access
from tests.chaos.lives import asked, assert_as_asked, settle, work
from tests.doubles.faults import Crash
from tests.doubles.memory_coe import engines, running_hosts
from tests.doubles.memory_provider import MemoryCloud

pytestmark = pytest.mark.django_db(transaction=True)


class OldLife:
    """A bay with its authority, a client of it, and hosts as they were before."""

    def __init__(self, access: Access, *, hosts: int = 3) -> None:
        self.id = asked(access, hosts=hosts).id
        work()
        assert self.bay.authority is not None
        self.authority = self.bay.authority
        self.client = _identity(self.authority)
        self.instances = {host.ref: id(running_hosts(ref=host.ref)[0]) for host in self.bay.live_hosts}

    @property
    def bay(self) -> Bay:
        return Bay.objects.select_related("authority", "next_authority", "former_authority").get(id=self.id)

    def assert_rotated(self, *, replaced: frozenset[str] = frozenset()) -> None:
        bay = self.bay
        assert not bay.rotating
        assert bay.authority is not None
        assert bay.authority != self.authority
        for host in bay.live_hosts:
            assert answers(host, bay, _identity(bay.authority))
            for trusted in (self.client.ca_pem, bay.authority.certificate, self.client.ca_pem + bay.authority.certificate):
                old = ClientIdentity(ca_pem=trusted, certificate_pem=self.client.certificate_pem, key_pem=self.client.key_pem)
                assert not answers(host, bay, old), f"{host.hostname} lets the former authority's clients in"
            if host.ref not in replaced:
                assert id(running_hosts(ref=host.ref)[0]) == self.instances[host.ref], "the host is the same, and all that runs on it"
        former = CertificateAuthority.objects.get(id=self.authority.id)
        assert former.key_encrypted == ""
        assert not former.certificates.filter(revoked_at=None).exists()
        assert CertificateAuthority.objects.count() == 2, "one new authority, however often a worker died"


def answers(host: Host, bay: Bay, identity: ClientIdentity) -> bool:
    try:
        engines.of(node=world_of(bay=bay).node(host), identity=identity)
    except EngineRefused:
        return False
    return True


@pytest.fixture
def life(access: Access) -> Iterator[OldLife]:
    yield OldLife(access)


def test_every_host_gets_a_new_certificate_and_what_was_issued_before_is_worthless(
    life: OldLife, world: MemoryCloud, access: Access
) -> None:
    issue_bundle(access=access, reference="web")
    assert rotate_ca(access=access, reference="web").status == "updating"
    assert work() == 0
    assert_as_asked(world, life.id, hosts=3)
    life.assert_rotated()
    assert sum(engines.secrets.values()) == 1
    bundle = issue_bundle(access=access, reference="web")
    assert Certificate.objects.get(id=bundle.certificate_id).authority == life.bay.authority
    operation = Operation.objects.get(kind="bay.rotate_ca")
    assert [phase["state"] for phase in operation.phases] == ["done"] * 3


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["accepts", "certificate", "secrets", "list_hosts"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 6, 7])
def test_it_survives_a_crash_around_every_call(life: OldLife, world: MemoryCloud, access: Access, step: str, nth: int, after: bool) -> None:
    (world if step == "list_hosts" else engines).fail(at=step, nth=nth, error=Crash(), after=after)
    rotate_ca(access=access, reference="web")
    assert work() <= 1
    assert_as_asked(world, life.id, hosts=3)
    life.assert_rotated()


@pytest.mark.parametrize("lines", range(1, 8))
def test_it_survives_a_worker_that_dies_between_phases(
    life: OldLife, world: MemoryCloud, access: Access, monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    """The lease's guard stands before every write: dying at each of them is dying between any two states of the database."""
    real, left = Lease.guard, [lines]

    def guard(lease: Lease) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise Crash
        return real(lease)

    monkeypatch.setattr(Lease, "guard", guard)
    rotate_ca(access=access, reference="web")
    assert work() == 1
    assert_as_asked(world, life.id, hosts=3)
    life.assert_rotated()


@pytest.mark.parametrize("seed", range(15))
def test_it_ends_as_asked_under_random_faults_with_a_host_lost_in_the_middle(world: MemoryCloud, access: Access, seed: int) -> None:
    life, dice = OldLife(access), random.Random(seed)
    engines.fail_at_random(seed=seed, rate=0.1)
    world.fail_at_random(seed=seed + 1, rate=0.05)
    rotate_ca(access=access, reference="web")
    for _ in range(dice.randint(1, 4)):
        for operation_id in Operation.objects.filter(state__in=[State.PENDING, State.WAITING]).values_list("id", flat=True):
            Operation.objects.filter(id=operation_id).update(due_at=now())
            engine.run_operation(operation_id=operation_id)
    world.forget_faults()
    engines.forget_faults()
    victim = dice.choice(life.bay.live_hosts)
    if life.bay.rotating:
        world.vanish(ref=victim.ref)
        Host.objects.filter(id=victim.id).update(state=Host.State.LOST)
        work()  # a host that is not in its cloud is not waited for
        heal_bay(access=access, reference="web")
    settle(access, life.id)
    assert_as_asked(world, life.id, hosts=3)
    life.assert_rotated(replaced=frozenset({victim.ref}))


def test_given_up_half_way_the_bay_can_be_healed_grown_and_the_replacement_be_taken_up_again(
    life: OldLife, world: MemoryCloud, access: Access
) -> None:
    engines.fail(at="certificate", nth=2, error=EngineRefused("no"))
    rotate_ca(access=access, reference="web")
    work()
    assert (life.bay.condition, life.bay.rotating) == (Condition.ERROR, True)
    issue_bundle(access=access, reference="web")
    heal_bay(access=access, reference="web")
    work()
    assert_as_asked(world, life.id, hosts=3)
    resize_bay(access=access, reference="web", node_count=4)
    work()
    assert_as_asked(world, life.id, hosts=4)
    assert life.bay.rotating
    grown = {host.ref for host in life.bay.live_hosts} - set(life.instances)
    rotate_ca(access=access, reference="web")
    work()
    assert_as_asked(world, life.id, hosts=4)
    life.assert_rotated(replaced=frozenset(grown))


def test_a_host_that_is_silent_is_named_and_keeps_the_former_authority_from_being_retired(
    life: OldLife, world: MemoryCloud, access: Access
) -> None:
    host = life.bay.live_hosts[1]
    engines.silent.add(host.ref)
    rotate_ca(access=access, reference="web")
    [operation_id] = Operation.objects.filter(kind="bay.rotate_ca").values_list("id", flat=True)
    engine.run_operation(operation_id=operation_id)
    operation = Operation.objects.get(id=operation_id)
    assert operation.state == State.WAITING
    assert host.hostname in operation.message
    assert CertificateAuthority.objects.get(id=life.authority.id).key_encrypted
    with pytest.raises(Conflict):
        rotate_ca(access=access, reference="web")
    engines.silent.clear()
    work()
    life.assert_rotated()


def test_a_lost_answer_only_means_asking_again(life: OldLife, world: MemoryCloud, access: Access) -> None:
    for step in ("accepts", "certificate", "secrets"):
        engines.fail(at=step, error=EngineNotReady("reset"), after=True)
    rotate_ca(access=access, reference="web")
    work()
    life.assert_rotated()


def test_a_delete_in_the_middle_wins(life: OldLife, world: MemoryCloud, access: Access) -> None:
    engines.fail(at="certificate", nth=2, error=Crash())
    rotate_ca(access=access, reference="web")
    [operation_id] = Operation.objects.filter(kind="bay.rotate_ca").values_list("id", flat=True)
    with pytest.raises(Crash):
        engine.run_operation(operation_id=operation_id)
    delete_bay(access=access, reference="web")
    work()
    assert life.bay.condition == Condition.DELETED
    assert world.hosts == {}


def test_a_second_replacement_is_another_one(life: OldLife, world: MemoryCloud, access: Access) -> None:
    for _ in range(2):
        rotate_ca(access=access, reference="web")
        work()
    assert CertificateAuthority.objects.count() == 3
    assert CertificateAuthority.objects.exclude(key_encrypted="").get() == life.bay.authority
