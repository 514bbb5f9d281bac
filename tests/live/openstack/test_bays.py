"""Bays on OpenStack, seen by Nova's and Neutron's own words as the administrator: where hosts land, what they carry, what is left."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.openstack.lab import Lab
from tests.live.openstack.scenario import Found, Project, Stage, address_of, addresses_in, certificate_of, moment, project_named
from tests.waiting import until

pytest_plugins = ["tests.live.openstack.stage"]
pytestmark = pytest.mark.openstack

CLOUD = "lab"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def project(lab: Lab, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project_named(lab=lab, name="of-bays", folder=tmp_path_factory.mktemp("bays")) as project:
        stage.add_cloud(project, name=CLOUD)
        yield project


@pytest.fixture(scope="module")
def bays(stage: Stage, project: Project) -> Iterator[dict[str, Json]]:
    """One bay of each kind of host; that of containers has three managers."""
    stage.user.create(name="boxes", node_count=3, manager_count=3, flavor="container1-4", cloud=CLOUD)
    stage.user.create(name="machines", node_count=1, flavor="vm1-1", cloud=CLOUD)
    stage.user.create(name="metal", node_count=1, flavor="metal1-16", cloud=CLOUD)
    yield stage.active("boxes", "machines", "metal")
    left = [name for name in ("boxes", "machines", "metal") if stage.user.http.get(f"bays/{name}").is_success]
    stage.gone(*left)


def servers_of(project: Project, bay: Json) -> list[Json]:
    return [thing.answer for thing in project.of(bay) if thing.kind == "server"]


def ports_of(project: Project, bay: Json) -> dict[str, Json]:
    return {thing.name: thing.answer for thing in project.of(bay) if thing.kind == "ports"}


def test_hosts_of_every_kind_land_on_the_aggregate_set_aside_for_it(project: Project, bays: dict[str, Json]) -> None:
    landed = {name: [server["OS-EXT-SRV-ATTR:host"] for server in servers_of(project, bay)] for name, bay in bays.items()}
    assert landed == {"boxes": ["fake-lxc1"] * 3, "machines": ["fake-vm1"], "metal": ["fake-bm1"]}


def test_three_managers_are_in_one_server_group_that_spreads_them(project: Project, bays: dict[str, Json]) -> None:
    groups = [thing.answer for thing in project.of(bays["boxes"]) if thing.kind == "server group"]
    assert [group["policy"] for group in groups] == ["soft-anti-affinity"]
    assert set(groups[0]["members"]) == {server["id"] for server in servers_of(project, bays["boxes"])}
    assert not [thing for thing in project.of(bays["machines"]) if thing.kind == "server group"]  # one host has nobody to be apart from


def test_everything_in_the_project_carries_the_mark_of_its_bay(project: Project, bays: dict[str, Json]) -> None:
    marked = {thing.id for bay in bays.values() for thing in project.of(bay)}
    assert {thing.id for thing in project.everything()} == marked
    for bay in bays.values():
        for server in servers_of(project, bay):
            assert server["metadata"]["carina_bay"] == bay["id"].replace("-", "")
            assert f"carina-bay-{bay['id'].replace('-', '')}" in server["tags"]


def test_ports_are_there_before_the_servers_and_the_certificate_names_their_address(
    stage: Stage, project: Project, bays: dict[str, Json]
) -> None:
    for name, bay in bays.items():
        ports, servers = ports_of(project, bay), servers_of(project, bay)
        shown = {host["address"] for host in stage.user.hosts(name)}
        assert {address_of(server) for server in servers} == shown
        for server in servers:
            port = ports[server["name"]]
            assert port["device_id"] == server["id"]
            assert port["fixed_ips"][0]["ip_address"] == address_of(server)
            assert moment(port["created_at"]) <= moment(server["created"])
            assert addresses_in(certificate_of(server)) == {address_of(server), "127.0.0.1"}


def test_a_user_is_sent_to_the_first_managers_address(stage: Stage, bays: dict[str, Json]) -> None:
    first = next(host for host in stage.user.hosts("boxes") if host["number"] == 1)
    assert bays["boxes"]["endpoint"] == f"tcp://{first['address']}:2376"


def test_a_server_deleted_behind_our_back_comes_back_at_the_same_address(stage: Stage, project: Project, bays: dict[str, Json]) -> None:
    bay = bays["boxes"]
    before, lost = {server["name"]: server for server in servers_of(project, bay)}, servers_of(project, bay)[1]
    delete_as_administrator(project, server=lost)
    stage.heal("boxes")
    stage.active("boxes")
    after = {server["name"]: server for server in servers_of(project, bay)}
    assert after.keys() == before.keys()
    assert {name: address_of(server) for name, server in after.items()} == {name: address_of(server) for name, server in before.items()}
    assert [name for name, server in after.items() if server["id"] != before[name]["id"]] == [lost["name"]]
    assert ports_of(project, bay)[lost["name"]]["device_id"] == after[lost["name"]]["id"]


def test_a_port_deleted_behind_our_back_is_made_anew_with_a_certificate_for_its_address(
    stage: Stage, project: Project, bays: dict[str, Json]
) -> None:
    bay = bays["machines"]
    server, port = servers_of(project, bay)[0], next(iter(ports_of(project, bay).values()))
    delete_as_administrator(project, server=server)
    network = project.lab.admin.network
    network.delete_port(port["id"])
    taken = network.create_port(network_id=port["network_id"], name="takes-the-address", fixed_ips=port["fixed_ips"])
    stage.heal("machines")
    stage.active("machines")
    made, anew = servers_of(project, bay)[0], next(iter(ports_of(project, bay).values()))
    network.delete_port(taken.id)
    assert anew["id"] != port["id"]
    assert address_of(made) == anew["fixed_ips"][0]["ip_address"] != port["fixed_ips"][0]["ip_address"]
    assert address_of(made) in addresses_in(certificate_of(made))
    assert stage.user.hosts("machines")[0]["address"] == address_of(made)


def test_a_deleted_bay_leaves_nothing_and_what_is_a_strangers_stays(stage: Stage, project: Project, bays: dict[str, Json]) -> None:
    bay = bays["boxes"]
    strangers = things_of_a_stranger(project, like=servers_of(project, bay)[0])
    stage.gone("boxes")
    assert project.of(bay) == []
    assert {thing.id for thing in strangers} <= {thing.id for thing in project.everything()}
    stage.sweep(CLOUD)
    assert {thing.id for thing in strangers} <= {thing.id for thing in project.everything()}


def test_deleting_a_bay_whose_server_and_port_are_gone_already_is_success(stage: Stage, project: Project, bays: dict[str, Json]) -> None:
    for name in ("machines", "metal"):
        delete_as_administrator(project, server=servers_of(project, bays[name])[0])
    project.lab.admin.network.delete_port(next(iter(ports_of(project, bays["metal"]).values()))["id"])
    stage.gone("machines", "metal")
    assert project.of(bays["machines"]) + project.of(bays["metal"]) == []


def test_a_resized_bay_has_as_many_servers_and_ports_as_hosts(stage: Stage, project: Project) -> None:
    stage.user.create(name="grows", node_count=1, flavor="container1-4", cloud=CLOUD)
    bay = stage.active("grows")["grows"]
    for count in (3, 1):
        stage.user.resize("grows", count)
        stage.active("grows")
        assert (len(servers_of(project, bay)), len(ports_of(project, bay))) == (count, count)
    stage.gone("grows")
    assert project.of(bay) == []


def delete_as_administrator(project: Project, *, server: Json) -> None:
    project.lab.admin.compute.delete_server(server["id"])
    until(lambda: server["id"] not in {each["id"] for each in project.servers()}, what=f"{server['name']} to be gone")


def things_of_a_stranger(project: Project, *, like: Json) -> list[Found]:
    """Make a server, a port, a security group and a server group that another user of the project could have, named like ours."""
    before = {thing.id for thing in project.everything()}
    with project.connected() as stranger:
        network = stranger.network.find_network("carina-net", ignore_missing=False)
        stranger.network.create_port(network_id=network.id, name=like["name"], description="carina")
        stranger.network.create_security_group(name=f"carina-{like['metadata']['carina_bay'][:12]}", description="mine")
        stranger.compute.create_server_group(name="carina", policies=["affinity"])
        server = stranger.compute.create_server(
            name=like["name"], flavor_id=flavor_id(stranger, "vm1-1"), image_id=like["image"]["id"], networks=[{"uuid": network.id}]
        )
        stranger.compute.wait_for_server(server, wait=60)
    return [thing for thing in project.everything() if thing.id not in before]


def flavor_id(connection: Any, name: str) -> str:
    return str(connection.compute.find_flavor(name, ignore_missing=False).id)
