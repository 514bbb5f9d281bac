"""The double fails when and how it is told; what it does otherwise is in the contract suite."""

from collections.abc import Iterator

import pytest

from apps.hosts.contracts import CloudBusy, CloudUnreachable, NetworkSpec, Owner, PowerState, ProviderError
from apps.hosts.providers.base import CloudAccess
from tests.contracts.bays import ROOMY, Bay
from tests.doubles.faults import Crash
from tests.doubles.memory_provider import MemoryCloud, MemoryProvider, cloud_named, forget_clouds

ACCESS = CloudAccess(name="faults", installation="c0de", settings={}, secrets={})


@pytest.fixture
def cloud() -> Iterator[MemoryCloud]:
    yield cloud_named(name=ACCESS.name)
    forget_clouds()


@pytest.fixture
def bay(cloud: MemoryCloud) -> Bay:
    owner = Owner(installation="c0de", tenant="a" * 32, bay="b" * 32)
    return Bay(network=NetworkSpec(owner=owner, cidr="10.64.0.0/24", limits=ROOMY), image="node-swarm")


def test_a_fault_before_the_effect_prevents_it_and_one_after_hides_it(cloud: MemoryCloud, bay: Bay) -> None:
    provider = MemoryProvider(ACCESS)
    provider.ensure_network(bay.network)
    cloud.fail(at="ensure_host.create", error=CloudUnreachable("gone"))
    with pytest.raises(CloudUnreachable):
        provider.ensure_host(bay.host())
    assert cloud.hosts == {}
    cloud.fail(at="ensure_host.start", error=CloudUnreachable("answer lost"), after=True)
    with pytest.raises(CloudUnreachable):
        provider.ensure_host(bay.host())
    assert [state.power for state in provider.list_hosts(bay.owner)] == [PowerState.RUNNING]


def test_the_nth_call_fails_and_no_other(cloud: MemoryCloud, bay: Bay) -> None:
    provider = MemoryProvider(ACCESS)
    cloud.fail(at="ensure_network", nth=2, error=CloudBusy("second"))
    provider.ensure_network(bay.network)
    with pytest.raises(CloudBusy):
        provider.ensure_network(bay.network)
    provider.ensure_network(bay.network)


def test_a_crash_is_not_caught_as_an_error_and_leaves_half_a_host(cloud: MemoryCloud, bay: Bay) -> None:
    provider = MemoryProvider(ACCESS)
    provider.ensure_network(bay.network)
    cloud.fail(at="ensure_host.push", error=Crash())
    with pytest.raises(Crash):
        provider.ensure_host(bay.host())
    assert [state.power for state in provider.list_hosts(bay.owner)] == [PowerState.STOPPED]
    assert not issubclass(Crash, Exception)


def test_chance_can_be_repeated(cloud: MemoryCloud, bay: Bay) -> None:
    def outcomes() -> list[str]:
        cloud.fail_at_random(seed=4, rate=0.4)
        provider, found = MemoryProvider(ACCESS), []
        for _ in range(40):
            try:
                provider.ensure_network(bay.network)
            except ProviderError as error:
                found.append(type(error).__name__)
            else:
                found.append("ok")
        return found

    first = outcomes()
    assert first == outcomes()
    assert {"ok", "CloudUnreachable", "CloudBusy"} == set(first)


def test_hosts_vanish_and_stop_on_command(cloud: MemoryCloud, bay: Bay) -> None:
    provider = MemoryProvider(ACCESS)
    provider.ensure_network(bay.network)
    for number in (1, 2):
        provider.ensure_host(bay.host(number))
    cloud.vanish(ref=bay.host(1).ref)
    cloud.stop(ref=bay.host(2).ref)
    assert [(state.ref, state.power) for state in provider.list_hosts(bay.owner)] == [(bay.host(2).ref, PowerState.STOPPED)]


def test_an_unknown_step_is_a_mistake_of_the_test(cloud: MemoryCloud) -> None:
    with pytest.raises(ValueError, match="is no step"):
        cloud.fail(at="ensure_hosts", error=Crash())
