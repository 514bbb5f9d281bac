"""What every provider promises (`apps/hosts/providers/base.py`), shown on each: the double in memory, a real Incus, a real OpenStack.

Where clouds differ, `tests.contracts.clouds.Cloud` says how, and each is held to what is right for it.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network, ip_network
from typing import TypeVar
from uuid import uuid4

import pytest

from apps.hosts.contracts import (
    CloudBusy,
    CloudRefused,
    CloudUnreachable,
    FlavorMissing,
    HostKind,
    ImageMissing,
    NetworkSpec,
    Owner,
    PowerState,
    ProviderError,
    Publishing,
    QuotaExceeded,
    TenantLimits,
)
from apps.hosts.providers.base import Provider
from tests.contracts.bays import PATIENCE_SECONDS, ROOMY, Bay, until_gone, until_running
from tests.contracts.clouds import Cloud, IncusUnderTest, MemoryCloudUnderTest
from tests.contracts.clouds_openstack import OpenStackUnderTest

MakeBay = Callable[..., Bay]
Result = TypeVar("Result")
CLOUDS: dict[str, Callable[[], Cloud]] = {
    "memory": MemoryCloudUnderTest,
    "slow memory": partial(MemoryCloudUnderTest, slow_starts=2),
    "incus": IncusUnderTest,
    "openstack": partial(OpenStackUnderTest, own_networks=False),
    "openstack with own networks": partial(OpenStackUnderTest, own_networks=True),
}
MARKS = {
    "incus": [pytest.mark.incus],
    "openstack": [pytest.mark.openstack],
    "openstack with own networks": [pytest.mark.openstack, pytest.mark.openstack_long],
}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, [])) for name in CLOUDS])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    cloud = CLOUDS[request.param]()
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
        cidr = _free_cidr(provider, bays) if provider.own_networks else ""
        network = NetworkSpec(owner=owner, cidr=cidr, limits=limits)
        bays.append(Bay(network=network, image=cloud.image, flavor=cloud.flavor, size=cloud.size))
        return bays[-1]

    yield make
    for bay in bays:
        until_gone(provider, bay.owner, *bay.refs)
        provider.remove_network(bay.owner)
        assert provider.leftovers(bay.owner) == []


def _free_cidr(provider: Provider, bays: list[Bay]) -> str:
    taken = [ip_network(cidr, strict=False) for cidr in provider.discover().used_cidrs]
    taken += [IPv4Network(bay.network.cidr) for bay in bays]
    while True:
        cidr = IPv4Network(f"10.{64 + secrets.randbelow(64)}.{secrets.randbelow(256)}.0/24")
        if not any(cidr.overlaps(other) for other in taken):
            return str(cidr)


@pytest.fixture
def bay(make_bay: MakeBay) -> Bay:
    return make_bay()


def until_it_succeeds(step: Callable[[], Result]) -> Result:
    """As the engine does: what is transient is tried again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return step()
        except ProviderError as error:
            if not error.transient or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"that did not come true within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.2)


def ran(provider: Provider, bay: Bay) -> list[tuple[str, PowerState]]:
    return [(state.ref, state.power) for state in provider.list_hosts(bay.owner)]


def test_a_host_asked_for_runs_at_its_address_with_its_files(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    (state,) = until_running(provider, spec)
    assert (state.ref, state.power, state.address) == (spec.ref, PowerState.RUNNING, spec.address)
    assert cloud.real_address(spec) == spec.address
    for file in spec.files:
        assert cloud.read_file(spec, file.path) == file.content


def test_a_host_is_listed_as_soon_as_it_was_asked_for(provider: Provider, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    state = provider.ensure_host(spec)
    assert state.power in {PowerState.STARTING, PowerState.RUNNING}
    assert [(each.ref, each.address) for each in provider.list_hosts(bay.owner)] == [(spec.ref, spec.address)]


def test_asking_twice_makes_one_of_each(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    for _ in range(2):
        (spec,) = bay.prepare(provider, spread=True)
        until_running(provider, spec)
        everything = cloud.everything_of(bay.owner)
    assert ran(provider, bay) == [(spec.ref, PowerState.RUNNING)]
    assert cloud.everything_of(bay.owner) == everything


def test_the_same_places_get_the_same_addresses_whoever_asks(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    provider.ensure_network(bay.network)
    places = [bay.place(number) for number in (1, 2, 3)]
    first = provider.reserve(bay.network, places)
    assert [address.ref for address in first] == [place.ref for place in places]
    assert len({address.address for address in first}) == 3
    if provider.own_networks:
        assert [address.address for address in first] == [place.address for place in places]
    again = cloud.provider().reserve(bay.network, [*places[1:], bay.place(4)])
    assert again[:2] == first[1:]
    assert again[2].address not in {address.address for address in first}


def test_an_address_that_was_taken_away_in_the_cloud_is_replaced(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    if not cloud.chooses_addresses:
        assert provider.reserve(bay.network, [bay.place()])[0].address == spec.address
        return
    cloud.take_away(spec)
    (anew,) = until_it_succeeds(lambda: cloud.provider().reserve(bay.network, [bay.place()]))
    assert anew.address
    until_it_succeeds(lambda: until_running(provider, replace(spec, address=anew.address)))
    assert cloud.real_address(spec) == anew.address


def test_a_wanted_address_that_is_taken_is_replaced_or_waited_for(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (first,) = bay.prepare(provider, 1)
    wish = replace(bay.place(2), address=first.address)
    if not cloud.chooses_addresses:
        assert provider.reserve(bay.network, [wish])[0].address == first.address, "a number, and Carina's to choose"
    elif provider.own_networks:
        with pytest.raises(CloudBusy):
            provider.reserve(bay.network, [wish])
    else:
        assert provider.reserve(bay.network, [wish])[0].address not in {"", first.address}


def test_a_worker_that_died_after_the_create_is_finished_by_the_next(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    cloud.crash_after_create(spec)
    assert [state.power in cloud.after_crash for state in provider.list_hosts(bay.owner)] == [True]
    until_running(cloud.provider(), spec)
    assert ran(provider, bay) == [(spec.ref, PowerState.RUNNING)]
    assert cloud.read_file(spec, spec.files[0].path) == spec.files[0].content


def test_a_host_found_stopped_runs_again_with_new_files_where_the_cloud_can(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    until_running(provider, spec)
    cloud.power_off(spec)
    assert [state.power for state in cloud.provider().list_hosts(bay.owner)] == [PowerState.STOPPED]
    renewed = replace(spec, files=(replace(spec.files[0], content=b"renewed\n"), *spec.files[1:]))
    until_running(cloud.provider(), renewed)
    wanted = b"renewed\n" if cloud.rewrites_files else spec.files[0].content
    assert cloud.read_file(spec, spec.files[0].path) == wanted


def test_a_host_that_runs_keeps_its_files(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    until_running(provider, spec)
    until_running(provider, replace(spec, files=(replace(spec.files[0], content=b"renewed\n"),)))
    assert cloud.read_file(spec, spec.files[0].path) == spec.files[0].content


def test_five_hosts_are_made_side_by_side(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    specs = bay.prepare(provider, *range(1, 6), spread=True)
    with ThreadPoolExecutor(5) as pool:
        states = list(pool.map(provider.ensure_host, specs))
    assert {state.power for state in states} <= {PowerState.RUNNING, PowerState.STARTING}
    until_running(provider, *specs)
    assert {(state.ref, state.address) for state in provider.list_hosts(bay.owner)} == {(spec.ref, spec.address) for spec in specs}
    assert {cloud.real_address(spec) for spec in specs} == {spec.address for spec in specs}


def test_workers_asking_for_the_same_host_at_once_make_one(cloud: Cloud, provider: Provider, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    workers = [cloud.provider() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda worker: until_it_succeeds(lambda: until_running(worker, spec)), workers))
    # Where a cloud cannot be asked for "this one, once", the surplus is found at the next look, and goes: with the host, if it must.
    wait_until(lambda: [ref for ref, _ in ran(cloud.provider(), bay)] == [spec.ref])
    wait_until(lambda: len([thing for thing in provider.leftovers(bay.owner) if spec.ref in thing and "port" not in thing]) == 1)
    until_it_succeeds(lambda: until_running(cloud.provider(), spec))
    wait_until(lambda: ran(cloud.provider(), bay) == [(spec.ref, PowerState.RUNNING)])
    assert cloud.real_address(spec) == spec.address


def test_a_bay_nobody_made_has_no_hosts_and_no_leftovers(provider: Provider, bay: Bay) -> None:
    assert provider.list_hosts(bay.owner) == []
    assert provider.leftovers(bay.owner) == []
    assert bay.owner not in provider.owners()


def test_removing_what_is_gone_or_never_was_is_success(provider: Provider, bay: Bay) -> None:
    assert provider.remove_host(bay.owner, bay.ref())
    provider.remove_network(bay.owner)
    (spec,) = bay.prepare(provider)
    until_running(provider, spec)
    until_gone(provider, bay.owner, spec.ref)
    assert provider.remove_host(bay.owner, spec.ref)
    for _ in range(2):
        provider.remove_network(bay.owner)
    assert provider.leftovers(bay.owner) == []


def test_a_host_that_is_being_removed_is_not_one_that_runs(provider: Provider, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    until_running(provider, spec)
    if provider.remove_host(bay.owner, spec.ref):
        assert provider.list_hosts(bay.owner) == []
    else:
        assert {state.power for state in provider.list_hosts(bay.owner)} <= {PowerState.GOING}


def test_a_replaced_host_keeps_its_place(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider, public=provider.publishing == Publishing.ADDRESSES)
    until_running(provider, spec)
    before = bay.reserved[spec.ref]
    until_gone(provider, bay.owner, spec.ref, keep_place=True)
    assert provider.list_hosts(bay.owner) == []
    place = bay.place(public=provider.publishing == Publishing.ADDRESSES)
    assert cloud.provider().reserve(bay.network, [place]) == [before]
    until_running(provider, spec)
    assert cloud.real_address(spec) == spec.address


def test_a_removed_bay_leaves_nothing_in_the_cloud(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    specs = bay.prepare(provider, 1, 2, spread=True, public=provider.publishing == Publishing.ADDRESSES)
    until_running(provider, *specs)
    assert len(provider.leftovers(bay.owner)) >= 3
    assert bay.owner in provider.owners()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda spec: until_gone(provider, bay.owner, spec.ref), specs))
    assert bool(provider.leftovers(bay.owner)) == bool(cloud.everything_of(bay.owner)) is True
    provider.remove_network(bay.owner)
    assert provider.leftovers(bay.owner) == []
    assert bay.owner not in provider.owners()
    assert cloud.everything_of(bay.owner) == set()


def test_places_nobody_used_go_with_the_network(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    bay.prepare(provider, 1, 2, 3, public=provider.publishing == Publishing.ADDRESSES)
    provider.remove_network(bay.owner)
    assert provider.leftovers(bay.owner) == []
    assert cloud.everything_of(bay.owner) == set()


def test_a_network_with_hosts_is_not_removed(provider: Provider, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    provider.ensure_host(spec)
    with pytest.raises(CloudBusy):
        provider.remove_network(bay.owner)
    assert len(provider.list_hosts(bay.owner)) == 1


def test_a_strangers_host_of_the_same_name_is_never_touched(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    cloud.make_foreign_host(spec)
    if cloud.names_are_unique:
        with pytest.raises(CloudRefused):
            provider.ensure_host(spec)
    else:
        until_running(provider, spec)
    until_gone(provider, bay.owner, spec.ref)
    assert provider.list_hosts(bay.owner) == []
    assert spec.ref in cloud.everything_of(bay.owner)
    cloud.drop_foreign(spec)


def test_a_strangers_network_of_the_same_name_is_never_touched(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    cloud.make_foreign_network(bay.network)
    before = cloud.everything_of(bay.owner)
    assert before
    if cloud.names_are_unique:
        with pytest.raises(CloudRefused):
            provider.ensure_network(bay.network)
    else:
        bay.prepare(provider)
    provider.remove_network(bay.owner)
    assert provider.leftovers(bay.owner) == []
    assert cloud.everything_of(bay.owner) == before
    cloud.drop_foreign(bay.network)


def test_another_bays_host_is_not_removed_by_its_name(provider: Provider, make_bay: MakeBay) -> None:
    mine = make_bay()
    yours = make_bay(tenant=mine.owner.tenant)
    (spec,) = yours.prepare(provider)
    provider.ensure_host(spec)
    assert provider.remove_host(mine.owner, spec.ref)
    assert [state.ref for state in provider.list_hosts(yours.owner)] == [spec.ref]


def test_bays_of_one_tenant_come_and_go_at_once(cloud: Cloud, provider: Provider, make_bay: MakeBay) -> None:
    first = make_bay()
    bays = [first, *(make_bay(tenant=first.owner.tenant) for _ in range(3))]
    for going in bays[:2]:
        until_running(provider, *going.prepare(provider))

    def come(bay: Bay) -> None:
        worker = cloud.provider()
        until_it_succeeds(lambda: until_running(worker, *bay.prepare(worker)))

    def go(bay: Bay) -> None:
        worker = cloud.provider()
        until_gone(worker, bay.owner, bay.ref())
        until_it_succeeds(lambda: worker.remove_network(bay.owner))

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(work, bay) for work, bay in zip((go, go, come, come), bays, strict=True)]
        for job in jobs:
            job.result()
    for bay in bays[2:]:
        assert ran(provider, bay) == [(bay.ref(), PowerState.RUNNING)]
    for bay in bays[:2]:
        assert provider.leftovers(bay.owner) == []


def test_a_restart_keeps_the_address(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    until_running(provider, spec)
    cloud.restart(spec)
    assert cloud.real_address(spec) == spec.address
    seen = cloud.provider().list_hosts(bay.owner)
    assert [(state.power, state.address) for state in seen] == [(PowerState.RUNNING, spec.address)]


def test_a_published_host_answers_also_after_a_restart_and_not_when_it_is_gone(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    spec = bay.published(provider, spec, address="127.0.0.1", port=cloud.free_port())
    until_running(provider, spec)
    assert cloud.serves(spec)
    cloud.restart(spec)
    assert cloud.serves(spec)
    until_gone(provider, bay.owner, spec.ref)
    assert not cloud.serves(spec)


def test_a_missing_publication_is_added_to_a_host_that_runs(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    until_running(provider, spec)
    spec = bay.published(provider, spec, address="127.0.0.1", port=cloud.free_port())
    until_running(provider, spec)
    assert cloud.serves(spec)


def test_capacity_falls_with_every_host_and_rises_again(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    def room() -> tuple[int, int, int]:
        aggregates = provider.discover().aggregates
        found = next(each for each in aggregates if cloud.aggregate in {"", each.name})
        return found.free_vcpus, found.free_memory_mib, found.free_disk_gib

    (spec,) = bay.prepare(provider)
    # A disk larger than what images and the pool's own bookkeeping may take: what is free is the less of what is unpromised and unused.
    spec = replace(spec, size=spec.size if spec.flavor else replace(spec.size, disk_gib=40))
    before = room()
    until_running(provider, spec)
    during = room()
    # At least: others may use the same cloud at the same time.
    assert before[0] - during[0] >= spec.size.vcpus
    assert before[1] - during[1] >= spec.size.memory_mib
    assert during[2] < before[2]
    until_gone(provider, bay.owner, spec.ref)
    wait_until(lambda: room()[1] > during[1])  # a cloud may give the room back a moment after the host has gone from its list


def test_the_cloud_says_what_it_is_and_why_it_lacks_other_kinds(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    bay.prepare(provider)
    facts = provider.discover()
    assert any(word[0].isdigit() for word in facts.version.split())
    assert cloud.image in {image.ref for image in facts.images}
    assert set(facts.unavailable) == cloud.lacks
    assert all(sentence.endswith(".") for sentence in facts.unavailable.values())
    if provider.own_networks:
        assert bay.network.cidr in facts.used_cidrs
    assert all(0 <= each.free_vcpus <= each.total_vcpus for each in facts.aggregates)
    assert (facts.flavors is None) == (not cloud.flavor)
    assert cloud.flavor in {"", *(flavor.ref for flavor in facts.flavors or ())}


def test_a_reached_limit_is_said_and_makes_nothing(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    bay.network = cloud.limit_hosts(bay.network, 1)
    first, second = bay.prepare(provider, 1, 2)
    until_running(provider, first)
    with pytest.raises(QuotaExceeded):
        until_it_succeeds(lambda: provider.ensure_host(second))
    assert [state.ref for state in cloud.provider().list_hosts(bay.owner)] == [first.ref]


def test_limits_below_what_is_used_do_not_stop_what_runs(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    specs = bay.prepare(provider, 1, 2)
    until_running(provider, *specs)
    provider.ensure_network(cloud.limit_hosts(bay.network, 1))
    assert provider.ensure_host(specs[0]).power is PowerState.RUNNING


def test_a_missing_image_is_said_and_makes_nothing(provider: Provider, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    with pytest.raises(ImageMissing):
        provider.ensure_host(replace(spec, image="no-such-image"))
    assert provider.list_hosts(bay.owner) == []


def test_a_flavor_that_is_gone_is_said_where_the_cloud_has_such(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    if not cloud.flavor:
        assert provider.discover().flavors is None
        return
    for flavor in ("", str(uuid4())):
        with pytest.raises(FlavorMissing):
            provider.ensure_host(replace(spec, flavor=flavor))
    assert provider.list_hosts(bay.owner) == []


def test_a_kind_of_host_the_cloud_lacks_is_refused(provider: Provider, cloud: Cloud, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    for kind in HostKind:
        if kind in cloud.lacks:
            with pytest.raises(CloudRefused):
                provider.ensure_host(replace(spec, kind=kind))
        else:
            assert kind not in provider.discover().unavailable
    assert provider.list_hosts(bay.owner) == []


def test_a_cloud_that_does_not_answer_is_unreachable_and_that_may_pass(cloud: Cloud, bay: Bay) -> None:
    nobody = cloud.unreachable_provider()
    for call in (
        nobody.discover,
        nobody.owners,
        lambda: nobody.list_hosts(bay.owner),
        lambda: nobody.ensure_network(bay.network),
        lambda: nobody.ensure_host(bay.host()),
        lambda: nobody.remove_host(bay.owner, bay.ref()),
    ):
        with pytest.raises(CloudUnreachable) as caught:
            call()
        assert caught.value.transient
    assert nobody.diagnose(bay.owner, bay.ref()) == ""


def test_a_host_tells_the_operator_about_itself_and_a_missing_one_tells_nothing(provider: Provider, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    assert provider.diagnose(bay.owner, spec.ref) == ""
    until_running(provider, spec)
    assert isinstance(provider.diagnose(bay.owner, spec.ref), str)
