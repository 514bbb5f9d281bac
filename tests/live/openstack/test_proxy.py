"""The proxy breaks exactly the calls it is told to, and what it says it let through happened."""

import time
from collections.abc import Iterator

import pytest
from keystoneauth1.exceptions import ConnectFailure
from openstack.connection import Connection
from openstack.exceptions import HttpException
from openstack.image.v2._proxy import Proxy as Images

from tests.live.openstack.faults import Calls, Fault, Faults, Kind, template
from tests.live.openstack.lab import Lab
from tests.live.openstack.proxy import SERVICES, FaultProxy

pytestmark = pytest.mark.openstack

HAPPENED = [Kind.DROP_AFTER, Kind.TIMEOUT_AFTER]
NEVER_SEEN = [Kind.DROP_BEFORE, Kind.TOO_MANY, Kind.UNAVAILABLE]


@pytest.fixture
def cloud(proxy: FaultProxy) -> Iterator[Connection]:
    with proxy.connect(cloud="carina-reader") as connection:
        yield connection


@pytest.fixture
def groups(lab: Lab) -> Iterator[Connection]:
    """A way past the proxy; security groups called `through-the-proxy` are gone afterwards."""
    with lab.connect() as connection:
        yield connection
        for group in connection.network.security_groups(name="through-the-proxy"):
            connection.network.delete_security_group(group)


@pytest.fixture
def member(proxy: FaultProxy) -> Iterator[Connection]:
    with proxy.connect() as connection:
        connection.authorize()
        yield connection


def test_every_service_is_used_through_the_proxy(proxy: FaultProxy, cloud: Connection) -> None:
    proxy.reset()
    assert list(cloud.compute.flavors(details=False))
    assert list(cloud.network.networks())
    assert list(cloud.image.images())
    assert list(cloud.placement.resource_providers())
    assert {service for service, _, _, status in proxy.counts() if status in {200, 201}} == set(SERVICES)


@pytest.mark.parametrize("kind", HAPPENED)
def test_what_breaks_after_forwarding_has_happened(kind: Kind, proxy: FaultProxy, member: Connection, groups: Connection) -> None:
    proxy.fault(kind=kind, service="network", method="POST", path="/security-groups$")
    with pytest.raises((HttpException, ConnectFailure), match="504" if kind is Kind.TIMEOUT_AFTER else "onnection"):
        member.network.create_security_group(name="through-the-proxy")
    assert len(list(groups.network.security_groups(name="through-the-proxy"))) == 1
    assert proxy.injected() == {kind: 1}


@pytest.mark.parametrize("kind", NEVER_SEEN)
def test_what_breaks_before_forwarding_has_not_happened(kind: Kind, proxy: FaultProxy, member: Connection, groups: Connection) -> None:
    proxy.fault(kind=kind, service="network", method="POST", path="/security-groups$")
    with pytest.raises((HttpException, ConnectFailure), match="onnection" if kind is Kind.DROP_BEFORE else kind.value):
        member.network.create_security_group(name="through-the-proxy")
    assert not list(groups.network.security_groups(name="through-the-proxy"))
    member.network.create_security_group(name="through-the-proxy")  # the fault was for one call


@pytest.mark.parametrize("kind", [Kind.DELAY_BEFORE, Kind.DELAY_AFTER])
def test_a_delayed_call_takes_as_long_as_it_was_told(kind: Kind, proxy: FaultProxy, member: Connection) -> None:
    list(member.network.networks())
    proxy.fault(kind=kind, service="network", path="/networks$", seconds=1.5)
    started = time.monotonic()
    assert list(member.network.networks())
    assert time.monotonic() - started >= 1.5


def test_a_service_that_is_down_is_unavailable(lab: Lab, proxy: FaultProxy, member: Connection) -> None:
    list(member.network.networks())
    lab.kill("neutron-server")
    with pytest.raises(HttpException, match="503"):
        list(member.network.networks())


def test_an_image_passes_through_unchanged(proxy: FaultProxy, member: Connection) -> None:
    content = bytes(range(256)) * 8192  # 2 MiB: more than fits into one read
    images = member.image
    assert isinstance(images, Images)
    image = images.create_image(name="through-the-proxy", disk_format="raw", container_format="bare", data=content)
    try:
        assert b"".join(images.download_image(image, stream=True).iter_content(65536)) == content
    finally:
        images.delete_image(image)


def test_chance_breaks_the_share_it_is_told_and_the_same_calls_for_the_same_seed() -> None:
    def run(seed: int) -> list[Kind | None]:
        faults = Faults(seed=seed)
        faults.by_chance(rate=0.2, kinds=tuple(Kind), services=("compute",), seconds=0)
        chosen = [faults.choose(service="compute", method="GET", path="/servers") for _ in range(1000)]
        assert faults.choose(service="network", method="GET", path="/ports") is None
        return [fault.kind if fault else None for fault in chosen]

    assert run(1) == run(1) != run(2)
    assert 150 < sum(kind is not None for kind in run(1)) < 250
    assert set(run(1)) == {None, *Kind}


def test_a_fault_skips_and_repeats_as_told() -> None:
    faults = Faults(seed=0)
    faults.add(Fault(kind=Kind.UNAVAILABLE, service="compute", method="post", path="/servers$", times=2, skip=1))
    calls = [
        ("GET", "/servers"),
        ("POST", "/servers"),
        ("POST", "/servers/1/action"),
        ("POST", "/servers"),
        ("POST", "/servers"),
        ("POST", "/servers"),
    ]
    chosen = [faults.choose(service="compute", method=method, path=path) for method, path in calls]
    assert [fault is not None for fault in chosen] == [False, False, False, True, True, False]


def test_calls_are_counted_by_what_they_are_not_by_whom_they_name() -> None:
    assert template("/v2.1/servers/7f4b9f6e-6a1c-4f5e-9c53-0e6f4a0d5b11/action") == "/v2.1/servers/{id}/action"
    assert template("/v2.1/flavors/container1-4") == "/v2.1/flavors/{name}"
    assert template("/v2.1/servers/detail") == "/v2.1/servers/detail"
    assert template("/v2.1/os-aggregates/3/action") == "/v2.1/os-aggregates/{id}/action"
    assert template("/") == "/"
    calls = Calls()
    for _ in range(2):
        calls.add(key=("compute", "GET", "/servers/{id}", 200), seconds=0.5, kind=None)
    assert calls.all() == {("compute", "GET", "/servers/{id}", 200): (2, 1.0)}
