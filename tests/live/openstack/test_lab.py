"""The OpenStack that other tests rely on does what Nova, Neutron and Placement do, and breaks when told."""

import time
from collections.abc import Iterator

import pytest
from keystoneauth1.exceptions import ConnectFailure
from openstack.connection import Connection
from openstack.exceptions import ForbiddenException, SDKException

from carina_portal.embedded.layout import EmbeddedError
from tests.live.openstack.lab import FLAVORS, Lab
from tests.live.openstack.lab import lab as lab_module
from tests.live.openstack.servers import Servers, servers, wait_for

pytestmark = pytest.mark.openstack


@pytest.fixture
def carina(lab: Lab) -> Iterator[Connection]:
    with lab.connect(cloud="carina") as connection:
        yield connection


@pytest.fixture
def mine(lab: Lab, carina: Connection) -> Iterator[Servers]:
    with servers(carina) as made:
        yield made
        lab.heal()


def test_every_flavor_lands_on_the_aggregate_whose_metadata_it_names(lab: Lab, mine: Servers) -> None:
    metadata = {name: aggregate.metadata["container_host"] for aggregate in lab.admin.compute.aggregates() for name in aggregate.hosts}
    wanted = {name: container_host for name, (container_host, *_) in FLAVORS.items() if container_host}
    booted = {name: mine.boot(f"lands-{name}", flavor=name) for name in wanted}
    for server in booted.values():
        assert mine.wait(server, "ACTIVE", "ERROR") == "ACTIVE"
    assert {name: metadata[lab.admin.compute.get_server(server).compute_host] for name, server in booted.items()} == wanted


def test_a_full_aggregate_takes_no_more(mine: Servers) -> None:
    booted = [mine.boot(f"full-{number}", flavor="small1-1") for number in range(4)]
    assert sorted(mine.wait(server, "ACTIVE", "ERROR") for server in booted) == ["ACTIVE", "ACTIVE", "ACTIVE", "ERROR"]
    refused = next(server for server in booted if mine.status(server) == "ERROR")
    assert mine.fault(refused)["message"].startswith("No valid host was found")


def test_a_server_on_a_hanging_hypervisor_stays_in_build_until_that_behaves(lab: Lab, mine: Servers) -> None:
    lab.misbehave(host="fake-lxc2", spawn="hang")
    server = mine.boot("hangs", flavor="small1-1")
    wait_for(lambda: lab.admin.compute.get_server(server).task_state, "spawning")
    time.sleep(2)
    assert mine.status(server) == "BUILD"
    lab.behave(host="fake-lxc2")
    assert mine.wait(server, "ACTIVE", "ERROR") == "ACTIVE"


def test_a_hypervisor_that_fails_puts_the_server_into_error(lab: Lab, mine: Servers) -> None:
    lab.misbehave(host="fake-lxc2", spawn="fail")
    server = mine.boot("fails", flavor="small1-1")
    assert mine.wait(server, "ACTIVE", "ERROR") == "ERROR"
    assert mine.fault(server)["code"] == 500


def test_a_hypervisor_that_refuses_to_delete_keeps_the_server(lab: Lab, mine: Servers) -> None:
    server = mine.boot("stays", flavor="small1-1")
    mine.wait(server, "ACTIVE")
    lab.misbehave(host="fake-lxc2", destroy="refuse")
    mine.delete(server)
    assert mine.wait(server, "ERROR", "gone") == "ERROR"
    lab.behave()
    mine.delete(server)
    assert mine.wait(server, "gone") == "gone"


def test_a_killed_hypervisor_is_noticed_and_knows_its_servers_when_it_is_back(lab: Lab, mine: Servers) -> None:
    server = mine.boot("survives", flavor="small1-1")
    mine.wait(server, "ACTIVE")
    lab.kill("nova-compute-fake-lxc2")
    wait_for(lambda: next(lab.admin.compute.services(binary="nova-compute", host="fake-lxc2")).state, "down")
    lab.start_service("nova-compute-fake-lxc2")
    assert next(lab.admin.compute.services(binary="nova-compute", host="fake-lxc2")).state == "up"
    assert mine.status(server) == "ACTIVE"
    mine.delete(server)
    assert mine.wait(server, "gone", "ERROR") == "gone"
    assert server not in (lab.place.state / "nova" / "fake-lxc2" / "instances.json").read_text()


def test_a_killed_api_answers_again_once_it_is_started(lab: Lab, carina: Connection) -> None:
    lab.kill("neutron-server")
    with pytest.raises(ConnectFailure):
        list(carina.network.networks())
    lab.start_service("neutron-server")
    assert {network.name for network in carina.network.networks()} >= {"carina-net", "public"}


def test_only_who_may_sees_aggregates_and_capacity(lab: Lab, carina: Connection) -> None:
    with pytest.raises(ForbiddenException):
        list(carina.compute.aggregates())
    with lab.connect(cloud="carina-reader") as reader:
        assert "carina-lxc" in {aggregate.name for aggregate in reader.compute.aggregates()}
        assert set(lab.hosts) <= {provider.name for provider in reader.placement.resource_providers()}


def test_a_stranger_sees_no_server_of_mine_and_a_wrong_password_nothing(lab: Lab, mine: Servers) -> None:
    server = mine.boot("private", flavor="vm1-1")
    with lab.connect(cloud="stranger") as stranger:
        assert server not in {found.id for found in stranger.compute.servers()}
    with lab.connect(cloud="broken") as broken, pytest.raises(SDKException, match="401"):
        broken.authorize()


def test_a_network_of_ones_own_has_a_router_and_floating_addresses(carina: Connection) -> None:
    network = carina.network.create_network(name="own")
    subnet = carina.network.create_subnet(name="own", network_id=network.id, ip_version=4, cidr="192.168.77.0/24")
    public = carina.network.find_network("public", ignore_missing=False)
    router = carina.network.create_router(name="own", external_gateway_info={"network_id": public.id})
    try:
        carina.network.add_interface_to_router(router, subnet=subnet.id)
        port = carina.network.create_port(network_id=network.id, fixed_ips=[{"subnet_id": subnet.id, "ip_address": "192.168.77.10"}])
        address = carina.network.create_ip(floating_network_id=public.id, port_id=port.id)
        assert (address.fixed_ip_address, address.floating_ip_address[:6]) == ("192.168.77.10", "10.90.")
        carina.network.delete_ip(address)
        carina.network.delete_port(port)
        carina.network.remove_interface_from_router(router, subnet=subnet.id)
    finally:
        carina.network.delete_router(router)
        carina.network.delete_network(network)


def test_a_second_lab_on_the_machine_is_told_who_holds_the_first(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    second = Lab(state=tmp_path_factory.mktemp("second"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(EmbeddedError, match=str(lab.place.state)):
        patch.setattr(lab_module, "LOCK_SECONDS", 0)
        second.start()
