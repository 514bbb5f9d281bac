"""Several clouds in one portal: one with networks of each bay's own behind floating IPs, one with a network that all share."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import httpx
import pytest

from tests.live.openstack.lab import Lab
from tests.live.openstack.scenario import EXTERNAL, Project, Stage, addresses_in, certificate_of, project_named

pytest_plugins = ["tests.live.openstack.stage"]
pytestmark = pytest.mark.openstack

SHARED, OWN = "shared-nets", "own-nets"
PUBLIC = ip_network("10.90.0.0/22")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def projects(lab: Lab, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Project]]:
    """Two clouds, each a project of its own."""
    folder = tmp_path_factory.mktemp("clouds")
    with project_named(lab=lab, name="of-shared", folder=folder) as shared, project_named(lab=lab, name="of-own", folder=folder) as own:
        stage.add_cloud(shared, name=SHARED)
        stage.add_cloud(own, name=OWN, external_network=EXTERNAL)
        yield {SHARED: shared, OWN: own}


@pytest.fixture(scope="module")
def bay(stage: Stage, projects: dict[str, Project]) -> Iterator[Json]:
    """A bay with a network of its own."""
    stage.user.create(name="routed", node_count=2, flavor="container1-4", cloud=OWN)
    yield stage.active("routed")["routed"]
    if stage.user.http.get("bays/routed").is_success:
        stage.gone("routed")


def kinds_of(project: Project, bay: Json) -> dict[str, int]:
    counted: dict[str, int] = {}
    for thing in project.of(bay):
        counted[thing.kind] = counted.get(thing.kind, 0) + 1
    return counted


def test_a_bay_of_the_other_kind_of_cloud_has_network_subnet_router_group_and_floating_ips(projects: dict[str, Project], bay: Json) -> None:
    project = projects[OWN]
    found = kinds_of(project, bay)
    hosts_and_leg = found.pop("ports")
    assert found == {"server": 2, "networks": 1, "subnets": 1, "routers": 1, "security-groups": 1, "floatingips": 2}
    assert hosts_and_leg >= 2
    router = next(thing.answer for thing in project.of(bay) if thing.kind == "routers")
    legs = [port for port in project.networking("ports") if port["device_id"] == router["id"]]
    subnet = next(thing.answer for thing in project.of(bay) if thing.kind == "subnets")
    assert [leg["fixed_ips"][0]["subnet_id"] for leg in legs if leg["device_owner"] == "network:router_interface"] == [subnet["id"]]
    assert router["external_gateway_info"]["external_fixed_ips"][0]["ip_address"] in map(str, PUBLIC)


def test_its_published_address_is_the_floating_ip_and_in_the_certificate(stage: Stage, projects: dict[str, Project], bay: Json) -> None:
    project = projects[OWN]
    leads_to = {each["port_id"]: each["floating_ip_address"] for each in project.networking("floatingips")}
    servers = {thing.name: thing.answer for thing in project.of(bay) if thing.kind == "server"}
    floating = {port["device_id"]: leads_to[port["id"]] for port in project.networking("ports") if port["id"] in leads_to}
    hosts = stage.user.hosts("routed")
    assert {host["published"] for host in hosts} == {f"{address}:2376" for address in floating.values()}
    assert all(ip_address(address) in PUBLIC for address in floating.values())
    for server in servers.values():
        inside = next(each["addr"] for each in next(iter(server["addresses"].values())) if each["OS-EXT-IPS:type"] == "fixed")
        assert addresses_in(certificate_of(server)) == {inside, floating[server["id"]], "127.0.0.1"}
    assert bay["endpoint"] == f"tcp://{next(host['published'] for host in hosts if host['number'] == 1)}"


def test_only_what_the_operator_allows_comes_in_from_outside(projects: dict[str, Project], bay: Json) -> None:
    group = next(thing.answer for thing in projects[OWN].of(bay) if thing.kind == "security-groups")
    incoming = [rule for rule in group["security_group_rules"] if rule["direction"] == "ingress"]
    assert [rule["remote_ip_prefix"] for rule in incoming if rule["remote_group_id"] == group["id"]] == [None]
    from_outside = [rule for rule in incoming if rule["remote_group_id"] is None]
    open_ports = [(rule["protocol"], rule["port_range_min"], rule["port_range_max"]) for rule in from_outside]
    assert ("tcp", 2376, 2376) in open_ports
    closed = {("tcp", 22), ("tcp", 2377), ("tcp", 7946), ("udp", 7946), ("udp", 4789)}
    reachable = {(protocol, port) for protocol, port in closed for how, low, high in open_ports if how == protocol and low <= port <= high}
    assert not reachable
    for port in projects[OWN].networking("ports"):
        if port["device_owner"].startswith("compute:"):
            assert port["security_groups"] == [group["id"]]
            assert port["port_security_enabled"]


def test_a_bay_goes_to_the_cloud_that_was_chosen(stage: Stage, projects: dict[str, Project]) -> None:
    made = {cloud: stage.user.create(name=f"in-{cloud}", node_count=1, flavor="vm1-1", cloud=cloud) for cloud in (SHARED, OWN)}
    stage.active(*(bay["name"] for bay in made.values()))
    for cloud, bay in made.items():
        assert bay["cloud"] == cloud
        other = projects[OWN if cloud == SHARED else SHARED]
        assert kinds_of(projects[cloud], bay)["server"] == 1
        assert other.of(bay) == []
    stage.gone(*(bay["name"] for bay in made.values()))
    assert all(projects[cloud].of(bay) == [] for cloud, bay in made.items())


def test_an_unknown_cloud_is_refused_by_name(stage: Stage, projects: dict[str, Project]) -> None:
    problem = stage.refused(name="nowhere", node_count=1, flavor="vm1-1", cloud="atlantis")
    assert "There is no cloud “atlantis”" in problem["detail"]
    assert SHARED in problem["detail"]


def test_clouds_are_listed_with_their_region_health_and_age(stage: Stage, projects: dict[str, Project]) -> None:
    url = f"{stage.portal.stack.base_url}/api/v1/clouds"
    answer = httpx.get(url, headers={"Authorization": stage.user.http.headers["Authorization"]}).raise_for_status()
    listed = {cloud["name"]: cloud for cloud in answer.json()["results"]}
    for name in (SHARED, OWN):
        assert (listed[name]["provider"], listed[name]["region"], listed[name]["healthy"]) == ("openstack", "RegionOne", True)
        assert listed[name]["synced_at"]
        assert listed[name]["host_kinds"] == ["baremetal", "container", "vm"]


def test_the_form_asks_for_a_cloud_only_where_there_are_several(stage: Stage, projects: dict[str, Project]) -> None:
    page = form_of(stage)
    assert 'name="cloud"' in page
    assert f'value="{SHARED}"' in page
    assert f'value="{OWN}"' in page
    rows = "from apps.hosts.models import Cloud\n"
    stage.portal.shell(f"{rows}Cloud.objects.exclude(name={SHARED!r}).update(enabled=False)")
    try:
        assert 'name="cloud"' not in form_of(stage)
    finally:
        stage.portal.shell(f"{rows}Cloud.objects.update(enabled=True)")


def test_a_deleted_bay_leaves_none_of_its_network(stage: Stage, projects: dict[str, Project], bay: Json) -> None:
    assert projects[OWN].of(bay)
    stage.gone("routed")
    assert projects[OWN].everything() == []


def form_of(stage: Stage) -> str:
    """The page on which the demo user asks for a bay."""
    return stage.portal.shell(
        "from django.test import Client; from apps.accounts.models import User\n"
        "client = Client(SERVER_NAME='127.0.0.1'); client.force_login(User.objects.get(email='demo@example.com'))\n"
        "answer = client.get('/t/demo/bays/new/'); assert answer.status_code == 200, answer.status_code\n"
        "print(answer.content.decode())"
    )
