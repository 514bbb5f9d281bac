"""What every provider promises (`apps/hosts/providers/base.py`), shown on each: the double in memory and a real Incus."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from uuid import uuid4

import pytest

from apps.hosts.contracts import (
    CloudBusy,
    CloudRefused,
    CloudUnreachable,
    HostKind,
    ImageMissing,
    NetworkSpec,
    Owner,
    PowerState,
    ProviderError,
    Publication,
    QuotaExceeded,
    TenantLimits,
)
from apps.hosts.providers.base import Provider
from tests.contracts.bays import ROOMY, SMALL, Bay
from tests.contracts.clouds import Cloud, IncusUnderTest, MemoryCloudUnderTest

MakeBay = Callable[..., Bay]


@pytest.fixture(params=["memory", pytest.param("incus", marks=pytest.mark.incus)])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    cloud: Cloud = MemoryCloudUnderTest() if request.param == "memory" else IncusUnderTest()
    yield cloud
    cloud.close()


@pytest.fixture
def provider(cloud: Cloud) -> Provider:
    return cloud.provider()


@pytest.fixture
def make_bay(cloud: Cloud, provider: Provider) -> Iterator[MakeBay]:
    """Describe a bay (nothing is made yet); whatever a test makes of it is removed afterwards."""
    bays: list[Bay] = []

    def make(*, tenant: str = "", limits: TenantLimits = ROOMY) -> Bay:
        owner = Owner(installation="c0de", tenant=tenant or uuid4().hex, bay=uuid4().hex)
        taken = [ip_network(cidr, strict=False) for cidr in provider.discover().used_cidrs]
        taken += [IPv4Network(bay.network.cidr) for bay in bays]
        while True:
            cidr = IPv4Network(f"10.{64 + secrets.randbelow(64)}.{secrets.randbelow(256)}.0/24")
            if not any(cidr.overlaps(other) for other in taken):
                break
        bays.append(Bay(network=NetworkSpec(owner=owner, cidr=str(cidr), limits=limits), image=cloud.image))
        return bays[-1]

    yield make
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda spec: provider.remove_host(spec.owner, spec.ref), [spec for bay in bays for spec in bay.hosts]))
    for bay in bays:
        provider.remove_network(bay.owner)
        assert provider.leftovers(bay.owner) == []


@pytest.fixture
def bay(make_bay: MakeBay) -> Bay:
    return make_bay()


def until_it_succeeds(step: Callable[[], object]) -> None:
    """As the engine does: what is transient is tried again."""
    for _ in range(30):
        try:
            step()
        except ProviderError as error:
            if not error.transient:
                raise
        else:
            return
    pytest.fail("still failing after thirty attempts")


def test_a_host_asked_for_runs_at_its_address_with_its_files(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    spec = bay.host()
    provider.ensure_network(bay.network)
    state = provider.ensure_host(spec)
    assert (state.ref, state.power, state.address) == (spec.ref, PowerState.RUNNING, spec.address)
    assert cloud.real_address(spec) == spec.address
    for file in spec.files:
        assert cloud.read_file(spec, file.path) == file.content


def test_asking_twice_makes_one_of_each(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    spec = bay.host()
    for _ in range(2):
        provider.ensure_network(bay.network)
        provider.ensure_host(spec)
        everything = cloud.everything_of(bay.owner)
    assert [(state.ref, state.power) for state in provider.list_hosts(bay.owner)] == [(spec.ref, PowerState.RUNNING)]
    assert cloud.everything_of(bay.owner) == everything


def test_a_worker_that_died_after_the_create_is_finished_by_the_next(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    spec = bay.host()
    provider.ensure_network(bay.network)
    cloud.crash_after_create(spec)
    assert [state.power for state in provider.list_hosts(bay.owner)] == [PowerState.STOPPED]
    assert cloud.provider().ensure_host(spec).power is PowerState.RUNNING
    assert len(provider.list_hosts(bay.owner)) == 1
    assert cloud.read_file(spec, spec.files[0].path) == spec.files[0].content


def test_a_host_found_stopped_gets_its_files_again_and_runs(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    spec = bay.host()
    provider.ensure_network(bay.network)
    provider.ensure_host(spec)
    cloud.power_off(spec)
    renewed = replace(spec, files=(replace(spec.files[0], content=b"renewed\n"), *spec.files[1:]))
    assert provider.ensure_host(renewed).power is PowerState.RUNNING
    assert cloud.read_file(spec, spec.files[0].path) == b"renewed\n"


def test_a_host_that_runs_keeps_its_files(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    spec = bay.host()
    provider.ensure_network(bay.network)
    provider.ensure_host(spec)
    provider.ensure_host(replace(spec, files=(replace(spec.files[0], content=b"renewed\n"),)))
    assert cloud.read_file(spec, spec.files[0].path) == spec.files[0].content


def test_five_hosts_are_made_side_by_side(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    specs = [bay.host(number) for number in range(1, 6)]
    provider.ensure_network(bay.network)
    with ThreadPoolExecutor(5) as pool:
        states = list(pool.map(provider.ensure_host, specs))
    assert {state.power for state in states} == {PowerState.RUNNING}
    assert {(state.ref, state.address) for state in provider.list_hosts(bay.owner)} == {(spec.ref, spec.address) for spec in specs}
    assert {cloud.real_address(spec) for spec in specs} == {spec.address for spec in specs}


def test_two_workers_asking_for_the_same_host_at_once_make_one(cloud: Cloud, provider: Provider, bay: Bay) -> None:
    spec = bay.host()
    provider.ensure_network(bay.network)
    workers = [cloud.provider() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda worker: until_it_succeeds(lambda: worker.ensure_host(spec)), workers))
    assert [(state.ref, state.power) for state in provider.list_hosts(bay.owner)] == [(spec.ref, PowerState.RUNNING)]


def test_a_bay_nobody_made_has_no_hosts_and_no_leftovers(provider: Provider, bay: Bay) -> None:
    assert provider.list_hosts(bay.owner) == []
    assert provider.leftovers(bay.owner) == []


def test_removing_what_is_gone_or_never_was_is_success(provider: Provider, bay: Bay) -> None:
    spec = bay.host()
    provider.remove_host(bay.owner, spec.ref)
    provider.remove_network(bay.owner)
    provider.ensure_network(bay.network)
    provider.ensure_host(spec)
    for _ in range(2):
        provider.remove_host(bay.owner, spec.ref)
    for _ in range(2):
        provider.remove_network(bay.owner)
    assert provider.leftovers(bay.owner) == []


def test_a_removed_bay_leaves_nothing_in_the_cloud(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    specs = [bay.host(1), bay.host(2)]
    provider.ensure_network(bay.network)
    for spec in specs:
        provider.ensure_host(spec)
    assert len(provider.leftovers(bay.owner)) >= 3
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda spec: provider.remove_host(bay.owner, spec.ref), specs))
    assert provider.leftovers(bay.owner) != []
    provider.remove_network(bay.owner)
    assert provider.leftovers(bay.owner) == []
    assert cloud.everything_of(bay.owner) == set()


def test_a_network_with_hosts_is_not_removed(provider: Provider, bay: Bay) -> None:
    provider.ensure_network(bay.network)
    provider.ensure_host(bay.host())
    with pytest.raises(CloudBusy):
        provider.remove_network(bay.owner)
    assert len(provider.list_hosts(bay.owner)) == 1


def test_a_strangers_host_of_the_same_name_is_never_touched(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    spec = bay.host()
    provider.ensure_network(bay.network)
    cloud.make_foreign_host(spec)
    with pytest.raises(CloudRefused):
        provider.ensure_host(spec)
    provider.remove_host(bay.owner, spec.ref)
    assert provider.list_hosts(bay.owner) == []
    assert spec.ref in cloud.everything_of(bay.owner)
    cloud.drop_foreign(spec)


def test_a_strangers_network_of_the_same_name_is_never_touched(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    cloud.make_foreign_network(bay.network)
    before = cloud.everything_of(bay.owner)
    with pytest.raises(CloudRefused):
        provider.ensure_network(bay.network)
    provider.remove_network(bay.owner)
    assert cloud.everything_of(bay.owner) >= before
    cloud.drop_foreign(bay.network)


def test_another_bays_host_is_not_removed_by_its_name(provider: Provider, make_bay: MakeBay) -> None:
    mine = make_bay()
    yours = make_bay(tenant=mine.owner.tenant)
    provider.ensure_network(yours.network)
    provider.ensure_host(yours.host())
    provider.remove_host(mine.owner, yours.host().ref)
    assert [state.ref for state in provider.list_hosts(yours.owner)] == [yours.host().ref]


def test_bays_of_one_tenant_come_and_go_at_once(cloud: Cloud, provider: Provider, make_bay: MakeBay) -> None:
    first = make_bay()
    bays = [first, *(make_bay(tenant=first.owner.tenant) for _ in range(3))]
    for going in bays[:2]:
        provider.ensure_network(going.network)
        provider.ensure_host(going.host())

    def come(bay: Bay) -> None:
        worker = cloud.provider()

        def both() -> None:
            worker.ensure_network(bay.network)
            worker.ensure_host(bay.host())

        until_it_succeeds(both)

    def go(bay: Bay) -> None:
        worker = cloud.provider()
        worker.remove_host(bay.owner, bay.host().ref)
        until_it_succeeds(lambda: worker.remove_network(bay.owner))

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(work, bay) for work, bay in zip((go, go, come, come), bays, strict=True)]
        for job in jobs:
            job.result()
    for bay in bays[2:]:
        assert [state.power for state in provider.list_hosts(bay.owner)] == [PowerState.RUNNING]
    for bay in bays[:2]:
        assert provider.leftovers(bay.owner) == []


def test_a_restart_keeps_the_address(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    spec = bay.host()
    provider.ensure_network(bay.network)
    provider.ensure_host(spec)
    cloud.restart(spec)
    assert cloud.real_address(spec) == spec.address
    assert [(state.power, state.address) for state in provider.list_hosts(bay.owner)] == [(PowerState.RUNNING, spec.address)]


def test_a_published_port_answers_also_after_a_restart_and_is_gone_with_its_host(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    spec = replace(bay.host(), publication=Publication(address="127.0.0.1", port=cloud.free_port(), host_port=2376))
    provider.ensure_network(bay.network)
    provider.ensure_host(spec)
    assert cloud.serves(spec)
    cloud.restart(spec)
    assert cloud.serves(spec)
    provider.remove_host(bay.owner, spec.ref)
    assert not cloud.serves(spec)


def test_a_missing_publication_is_added_to_a_host_that_runs(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    provider.ensure_network(bay.network)
    provider.ensure_host(bay.host())
    spec = replace(bay.host(), publication=Publication(address="127.0.0.1", port=cloud.free_port(), host_port=2376))
    provider.ensure_host(spec)
    assert cloud.serves(spec)


def test_capacity_falls_with_every_host_and_rises_again(provider: Provider, bay: Bay) -> None:
    # A disk larger than what images and the pool's own bookkeeping may take: what is free is the less of what is unpromised and unused.
    spec = bay.host(size=replace(SMALL, disk_gib=40))
    provider.ensure_network(bay.network)
    before = provider.discover().aggregates[0]
    provider.ensure_host(spec)
    during = provider.discover().aggregates[0]
    # At least: others may use the same Incus at the same time.
    assert before.free_vcpus - during.free_vcpus >= spec.size.vcpus
    assert before.free_memory_mib - during.free_memory_mib >= spec.size.memory_mib
    assert during.free_disk_gib < before.free_disk_gib
    provider.remove_host(bay.owner, spec.ref)
    assert provider.discover().aggregates[0].free_memory_mib > during.free_memory_mib


def test_the_cloud_says_what_it_is_and_why_it_lacks_other_kinds(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    provider.ensure_network(bay.network)
    facts = provider.discover()
    assert facts.version.split()[1][0].isdigit()
    assert cloud.image in {image.ref for image in facts.images}
    assert set(facts.unavailable) == {HostKind.VM, HostKind.BAREMETAL}
    assert all(sentence.endswith(".") for sentence in facts.unavailable.values())
    assert bay.network.cidr in facts.used_cidrs
    assert all(0 <= each.free_vcpus <= each.total_vcpus for each in facts.aggregates)


def test_a_reached_limit_of_the_tenant_is_said_and_makes_nothing(provider: Provider, make_bay: MakeBay) -> None:
    bay = make_bay(limits=TenantLimits(hosts=1, vcpus=20, memory_mib=8192, processes=20000))
    provider.ensure_network(bay.network)
    provider.ensure_host(bay.host(1))
    with pytest.raises(QuotaExceeded):
        provider.ensure_host(bay.host(2))
    assert [state.ref for state in provider.list_hosts(bay.owner)] == [bay.host(1).ref]


def test_limits_below_what_is_used_do_not_stop_what_runs(provider: Provider, bay: Bay) -> None:
    provider.ensure_network(bay.network)
    provider.ensure_host(bay.host(1))
    provider.ensure_host(bay.host(2))
    lower = replace(bay.network, limits=TenantLimits(hosts=1, vcpus=1, memory_mib=256, processes=500))
    provider.ensure_network(lower)
    assert provider.ensure_host(bay.host(1)).power is PowerState.RUNNING


def test_a_missing_image_is_said_and_makes_nothing(provider: Provider, bay: Bay) -> None:
    provider.ensure_network(bay.network)
    with pytest.raises(ImageMissing):
        provider.ensure_host(replace(bay.host(), image="no-such-image"))
    assert provider.list_hosts(bay.owner) == []


def test_a_kind_of_host_the_cloud_lacks_is_refused(provider: Provider, bay: Bay) -> None:
    provider.ensure_network(bay.network)
    with pytest.raises(CloudRefused):
        provider.ensure_host(replace(bay.host(), kind=HostKind.VM))
    assert provider.list_hosts(bay.owner) == []


def test_a_cloud_that_does_not_answer_is_unreachable_and_that_may_pass(cloud: Cloud, bay: Bay) -> None:
    nobody = cloud.unreachable_provider()
    for call in (nobody.discover, lambda: nobody.list_hosts(bay.owner), lambda: nobody.ensure_host(bay.host())):
        with pytest.raises(CloudUnreachable) as caught:
            call()
        assert caught.value.transient
    assert nobody.diagnose(bay.owner, bay.host().ref) == ""


def test_a_host_tells_the_operator_about_itself_and_a_missing_one_tells_nothing(provider: Provider, bay: Bay) -> None:
    provider.ensure_network(bay.network)
    assert provider.diagnose(bay.owner, bay.host().ref) == ""
    provider.ensure_host(bay.host())
    assert isinstance(provider.diagnose(bay.owner, bay.host().ref), str)
