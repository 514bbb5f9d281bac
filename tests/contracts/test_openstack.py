"""What is true of the provider `openstack` alone, on a real OpenStack: answers that are lost, calls that are counted, surplus that goes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest
import requests
from requests.adapters import HTTPAdapter
from structlog.testing import capture_logs

from apps.hosts.contracts import CloudCrowded, CloudRefused, CloudUnreachable, HostFailed, NetworkSpec, Owner, PowerState
from apps.hosts.providers.base import Provider
from apps.hosts.providers.openstack.naming import mark
from tests.contracts.bays import ROOMY, Bay, until_gone, until_running
from tests.contracts.clouds_openstack import COMPUTE, OpenStackUnderTest

pytestmark = pytest.mark.openstack
CALLS_PER_BAY = 12
"""Besides polling (lists of servers, one for all bays) and the token."""


@pytest.fixture
def cloud() -> Iterator[OpenStackUnderTest]:
    cloud = OpenStackUnderTest(own_networks=False)
    yield cloud
    cloud.close()


@pytest.fixture
def provider(cloud: OpenStackUnderTest) -> Provider:
    return cloud.provider()


@pytest.fixture
def bay(cloud: OpenStackUnderTest, provider: Provider) -> Iterator[Bay]:
    owner = Owner(installation="c0de", tenant=uuid4().hex, bay=uuid4().hex)
    network = NetworkSpec(owner=owner, cidr="", limits=ROOMY)
    bay = Bay(network=network, image=cloud.image, flavor=cloud.flavor, size=cloud.size)
    yield bay
    until_gone(provider, bay.owner, *bay.refs)
    provider.remove_network(bay.owner)
    assert provider.leftovers(bay.owner) == []


class Faults:
    """Between the provider and the cloud: lets requests through and loses answers, or gives others instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.after: dict[str, int] = {}
        """By "POST /servers" (end of the path): the status to answer after it was carried out, 0 for none at all."""
        self.met: list[str] = []
        real = HTTPAdapter.send

        def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **options: object) -> requests.Response:
            answer = real(adapter, request, **options)  # type: ignore[arg-type]
            what = f"{request.method} /{request.path_url.partition('?')[0].rpartition('/')[2]}"
            if what not in self.after:
                return answer
            status = self.after.pop(what)
            self.met.append(what)
            answer.close()
            if not status:
                raise requests.ConnectionError("the answer was lost", request=request)
            lost = requests.Response()
            lost.status_code, lost.request, lost.url, lost._content = status, request, str(request.url), b""
            return lost

        monkeypatch.setattr(HTTPAdapter, "send", send)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


@pytest.mark.parametrize("status", [504, 0], ids=["504 after accepting", "answer lost"])
def test_a_server_that_was_accepted_without_an_answer_is_the_only_one(
    provider: Provider, cloud: OpenStackUnderTest, bay: Bay, faults: Faults, status: int
) -> None:
    (spec,) = bay.prepare(provider)
    assert provider.list_hosts(bay.owner) == []
    faults.after["POST /servers"] = status
    with pytest.raises(CloudUnreachable) as caught:
        provider.ensure_host(spec)
    assert caught.value.transient
    until_running(provider, spec)
    servers = cloud.user.compute.get("/servers/detail", params={"name": spec.ref}, microversion=COMPUTE).json()["servers"]
    assert len(servers) == 1
    assert faults.met == ["POST /servers"]


@pytest.mark.parametrize("what", ["POST /ports", "POST /security-groups", "POST /os-server-groups", "POST /security-group-rules"])
def test_what_was_made_without_an_answer_is_found_and_not_made_twice(
    provider: Provider, cloud: OpenStackUnderTest, bay: Bay, faults: Faults, what: str
) -> None:
    faults.after[what] = 504
    for _ in range(2):
        try:
            bay.prepare(provider, 1, 2, spread=True)
        except CloudUnreachable:
            continue
    first = bay.prepare(provider, 1, 2, spread=True)
    if faults.met:  # a network without port security has no security groups
        assert faults.met == [what]
    ports = cloud.user.network.get("/ports", params={"description": mark(bay.owner)}).json()["ports"]
    assert sorted(port["fixed_ips"][0]["ip_address"] for port in ports) == sorted(spec.address for spec in first)
    groups = cloud.user.network.get("/security-groups", params={"description": mark(bay.owner)}).json()["security_groups"]
    assert len(groups) <= 1
    spreads = cloud.user.compute.get("/os-server-groups", microversion=COMPUTE).json()["server_groups"]
    assert sum(group["name"] == mark(bay.owner) for group in spreads) == 1


def test_a_second_server_of_a_host_goes_on_sight(provider: Provider, cloud: OpenStackUnderTest, bay: Bay) -> None:
    (spec,) = bay.prepare(provider)
    until_running(provider, spec)
    kept = cloud.user.compute.get("/servers/detail", params={"name": spec.ref}, microversion=COMPUTE).json()["servers"][0]
    network = cloud.user.network.get("/ports", params={"device_id": kept["id"]}).json()["ports"][0]["network_id"]
    surplus = {key: kept[key] for key in ("name", "metadata", "tags")} | {
        "imageRef": kept["image"]["id"],
        "flavorRef": spec.flavor,
        "networks": [{"uuid": network}],
    }
    cloud.user.compute.post("/servers", json={"server": surplus}, microversion=COMPUTE).raise_for_status()
    another = cloud.provider()
    states = another.list_hosts(bay.owner)
    assert [(state.ref, state.power, state.address) for state in states] == [(spec.ref, PowerState.RUNNING, spec.address)]
    until_gone(provider, bay.owner, spec.ref, keep_place=True)
    assert all(spec.ref not in thing for thing in provider.leftovers(bay.owner) if thing.startswith("server "))


def test_a_bay_of_three_hosts_costs_few_calls(provider: Provider, bay: Bay) -> None:
    provider.list_hosts(bay.owner)  # the token, and the versions of the services
    with capture_logs() as lines:
        specs = bay.prepare(provider, 1, 2, 3)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(provider.ensure_host, specs))
        until_running(provider, *specs)
    calls = [f"{line['method']} {line['path']}" for line in lines if line["event"] == "openstack_request"]
    lists = [call for call in calls if call.endswith("/servers/detail")]
    others = [call for call in calls if call not in lists and not call.endswith(("/v3", "/v2.1", "/v2.0", "GET /"))]
    print(f"calls to make a bay of three hosts: {len(others)}, and {len(lists)} lists of servers: {others}")
    assert len(others) <= CALLS_PER_BAY
    assert sum(call.startswith("POST ") and call.endswith("/ports") for call in others) == 1


def test_a_host_that_builds_for_too_long_is_taken_away_and_said(cloud: OpenStackUnderTest, bay: Bay) -> None:
    impatient = cloud.provider(build_seconds="0.5")
    (spec,) = bay.prepare(impatient)
    with cloud.building_takes_for_ever(), pytest.raises(HostFailed, match="building"):
        until_running(impatient, spec)
    until_gone(impatient, bay.owner, spec.ref)


def test_no_more_hosts_are_begun_than_the_cloud_shall_build_at_a_time(cloud: OpenStackUnderTest, bay: Bay) -> None:
    one_at_a_time = cloud.provider(builds_at_once="1")
    (spec,) = bay.prepare(one_at_a_time)
    one_at_a_time.admit()
    with cloud.building_takes_for_ever():
        one_at_a_time.ensure_host(spec)
        with pytest.raises(CloudCrowded, match="starting 1 other"):
            one_at_a_time.admit()
    until_running(one_at_a_time, spec)
    one_at_a_time.admit()


def test_a_host_with_a_volume_gets_one_or_is_refused_where_the_cloud_has_none(
    provider: Provider, cloud: OpenStackUnderTest, bay: Bay
) -> None:
    (spec,) = bay.prepare(provider)
    wish = replace(spec, size=replace(spec.size, volume_gib=1))
    if not provider.discover().volumes:
        print("this OpenStack has no block storage: making, attaching and deleting volumes was not run")
        with pytest.raises(CloudRefused, match="block storage"):
            provider.ensure_host(wish)
        assert provider.list_hosts(bay.owner) == []
        return
    until_running(provider, wish)
    assert any(thing == f"volume {spec.ref}" for thing in provider.leftovers(bay.owner))
    until_gone(provider, bay.owner, spec.ref)
    assert not any(thing.startswith("volume") for thing in provider.leftovers(bay.owner))
