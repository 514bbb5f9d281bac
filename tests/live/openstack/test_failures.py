"""What goes wrong on an OpenStack, and what becomes of bays then: full, over quota, locked out, without image, half of it killed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from openstack.exceptions import SDKException

from tests.live.openstack.lab import FLAVORS, IMAGES, Lab, world
from tests.live.openstack.scenario import MICROVERSION, Project, Stage, address_of, project_named
from tests.waiting import SECONDS, until

pytest_plugins = ["tests.live.openstack.stage"]
pytestmark = [pytest.mark.openstack, pytest.mark.openstack_long]

CLOUD, IMPATIENT = "failing", "impatient"
BUILD_SECONDS = 8
"""After so long the cloud `impatient` takes a server for stuck."""
PLACES = 3
"""That many hosts of small1-1 fit on their aggregate."""
CACHED_SECONDS = 6
"""The lab's services remember a token they have checked for five seconds."""
Json = dict[str, Any]


@pytest.fixture(scope="module")
def project(lab: Lab, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Two clouds of one project, one of which the operator told to lose patience early."""
    with project_named(lab=lab, name="of-failures", folder=tmp_path_factory.mktemp("failures")) as project:
        add_clouds(stage, project)
        yield project


def add_clouds(stage: Stage, project: Project) -> None:
    stage.add_cloud(project, name=CLOUD, options={"aggregate_kinds": "carina-small=container"})
    stage.add_cloud(project, name=IMPATIENT, options={"build_seconds": str(BUILD_SECONDS)})


@pytest.fixture(autouse=True)
def _no_bay_outlives_its_test(stage: Stage, lab: Lab, project: Project) -> Iterator[None]:
    for cloud in (CLOUD, IMPATIENT):
        stage.sync(cloud)  # what the portal knew last may be from while something was dead
    yield
    lab.heal()
    names = [bay["name"] for bay in stage.user.http.get("bays?limit=200").json()["results"] if bay["cloud"] in {CLOUD, IMPATIENT}]
    for name in names:
        stage.user.http.delete(f"bays/{name}")
    for name in names:
        stage.user.wait_gone(name, every=0.2)


def servers_of(project: Project, bay: Json) -> list[Json]:
    return [thing.answer for thing in project.of(bay) if thing.kind == "server"]


@contextmanager
def somebody_takes(lab: Lab, *, count: int) -> Iterator[None]:
    """Have servers of somebody else on the aggregate of small1-1."""
    compute, image = lab.admin.compute, lab.admin.image.find_image(IMAGES["container"], ignore_missing=False)
    flavor = compute.find_flavor("small1-1", ignore_missing=False)
    made = [compute.create_server(name=f"of-somebody-{n}", flavor_id=flavor.id, image_id=image.id, networks="none") for n in range(count)]
    try:
        for server in made:
            compute.wait_for_server(server, wait=60)
        yield
    finally:
        for server in made:
            compute.delete_server(server)
        for server in made:
            compute.wait_for_delete(server, wait=60)


# --- room and quota -----------------------------------------------------------------------------------------------------------------


def test_a_full_aggregate_is_told_before_anything_is_made(lab: Lab, stage: Stage, project: Project) -> None:
    with somebody_takes(lab, count=PLACES):
        stage.sync(CLOUD)
        problem = stage.refused(name="full", flavor="small1-1", node_count=1, cloud=CLOUD)
    assert problem["code"] == "no_capacity"
    assert "room for 0 more hosts of flavor small1-1" in problem["detail"]
    stage.sync(CLOUD)
    problem = stage.refused(name="four", flavor="small1-1", node_count=PLACES + 1, cloud=CLOUD)
    assert f"room for {PLACES} more hosts" in problem["detail"]
    assert project.everything() == []


def test_room_that_somebody_else_takes_meanwhile_is_told_by_its_code_and_all_is_given_back(
    lab: Lab, stage: Stage, project: Project
) -> None:
    """All of it: of hosts asked for at the same instant Placement can let in more than fit, since it counts in an older snapshot."""
    with stage.no_syncs(CLOUD), somebody_takes(lab, count=PLACES):
        bay = stage.user.create(name="raced", flavor="small1-1", node_count=PLACES, cloud=CLOUD)
        reason = stage.failed("raced")
        assert (reason["code"], reason["user_can_fix"]) == ("no_capacity", True)
        assert "smaller flavor" in reason["advice"]
        given_back(stage, project, bay)
    stage.heal("raced")  # room is back
    stage.active("raced")
    assert {server["OS-EXT-SRV-ATTR:host"] for server in servers_of(project, bay)} == {"fake-lxc2"}
    assert len(servers_of(project, bay)) == PLACES


def test_a_quota_is_told_before_anything_is_made(stage: Stage, project: Project) -> None:
    project.set_quota(compute={"instances": 1})
    try:
        stage.sync(CLOUD)
        problem = stage.refused(name="two", flavor="container1-4", node_count=2, cloud=CLOUD)
    finally:
        project.raise_quota()
        stage.sync(CLOUD)
    assert problem["code"] == "no_capacity"
    assert project.everything() == []


@pytest.mark.parametrize("limit", [{"compute": {"cores": 1}}, {"network": {"port": 1}}], ids=["nova", "neutron"])
def test_a_quota_lowered_meanwhile_is_told_by_its_code_and_all_is_given_back(
    stage: Stage, project: Project, limit: dict[str, dict[str, int]]
) -> None:
    with stage.no_syncs(CLOUD):
        project.set_quota(**limit)
        try:
            bay = stage.user.create(name="over", flavor="container1-4", node_count=3, cloud=CLOUD)
            reason = stage.failed("over")
            assert (reason["code"], reason["user_can_fix"]) == ("cloud_quota", True)
            given_back(stage, project, bay)
        finally:
            project.raise_quota()
    stage.heal("over")
    stage.active("over")
    assert len(servers_of(project, bay)) == 3


def given_back(stage: Stage, project: Project, bay: Json) -> None:
    """Return once nothing of a bay that had no room is left; beat's next sweep takes what the cloud was still deleting."""

    def look() -> bool:
        if project.holds_nothing_of(bay):
            return True
        stage.sweep(bay["cloud"])
        return False

    until(look, what="everything of the bay to be given back", every=1)


# --- credentials --------------------------------------------------------------------------------------------------------------------


def test_a_token_that_becomes_worthless_in_the_middle_of_a_bays_life_is_noticed_by_nobody(stage: Stage, project: Project) -> None:
    stage.user.create(name="token", flavor="container1-4", node_count=1, cloud=CLOUD)
    bay = stage.active("token")["token"]
    with project.connected() as witness:
        old = witness.session.get_token()
        time.sleep(2)  # Keystone counts whole seconds: a token of the same second would outlive the change
        project.revoke_tokens()
        until(lambda: _status_with(witness, token=old) == httpx.codes.UNAUTHORIZED, what="the token to be refused", every=0.5)
    stage.user.resize("token", 3)
    stage.active("token")
    assert len(servers_of(project, bay)) == 3
    operations = stage.user.http.get("bays/token/operations").json()["results"]
    assert {operation["state"] for operation in operations} == {"succeeded"}
    assert not [event for event in stage.events("token") if event["level"] != "info"]


def _status_with(connection: Any, *, token: str | None) -> int:
    url = f"{connection.compute.get_endpoint()}/servers"
    return httpx.get(url, headers={"X-Auth-Token": token or ""}, timeout=SECONDS).status_code


def test_a_changed_password_is_told_with_what_the_operator_must_do_and_a_delete_waits_for_it(stage: Stage, project: Project) -> None:
    stage.user.create(name="locked", flavor="container1-4", node_count=1, cloud=CLOUD)
    bay = stage.active("locked")["locked"]
    with stage.no_syncs(CLOUD):
        project.change_password()
        wait_until_locked_out(project)
        stage.user.create(name="refused", flavor="container1-4", node_count=1, cloud=CLOUD)
        reason = stage.failed("refused")
        assert (reason["code"], reason["user_can_fix"]) == ("cloud_credentials", False)
        assert "manage.py add_cloud" in reason["advice"]
        stage.user.delete("locked")
        reason = stage.waits_for("locked", "cloud_credentials")
        assert "manage.py add_cloud" in reason["advice"]
        assert len(servers_of(project, bay)) == 1
        project.write_entry()
        add_clouds(stage, project)
    stage.user.wait_gone("locked", every=0.2)
    assert project.of(bay) == []


def wait_until_locked_out(project: Project) -> None:
    """Return once Keystone does not know the old password, and no service the token that was made with it."""
    with project.connected() as witness, pytest.raises(SDKException, match="401"):
        witness.authorize()
    time.sleep(CACHED_SECONDS)


# --- images and flavors -------------------------------------------------------------------------------------------------------------


def test_an_image_that_is_deleted_is_told_by_its_code_and_after_the_next_look_beforehand(lab: Lab, stage: Stage, project: Project) -> None:
    kind, flavor = "baremetal", "metal1-16"
    image = lab.admin.image.find_image(IMAGES[kind], ignore_missing=False)
    with stage.no_syncs(CLOUD):
        stage.user.create(name="warm", flavor=flavor, node_count=1, cloud=CLOUD)  # now the portal knows the image by heart
        stage.active("warm")
        lab.admin.image.delete_image(image.id)
        try:
            stage.user.create(name="imageless", flavor=flavor, node_count=1, cloud=CLOUD)
            reason = stage.failed("imageless")
            assert (reason["code"], reason["user_can_fix"]) == ("image_missing", False)
            assert "import it" in reason["advice"]
            stage.sync(CLOUD)
            problem = stage.refused(name="later", flavor=flavor, node_count=1, cloud=CLOUD)
            assert "node image for hosts of kind baremetal is not in" in problem["detail"]
        finally:
            world.ensure(admin=lab.admin)
    stage.sync(CLOUD)
    stage.heal("imageless")
    stage.active("imageless")


def test_a_flavor_that_is_deleted_is_told_by_its_code_and_after_the_next_look_beforehand(lab: Lab, stage: Stage, project: Project) -> None:
    name = "vm1-1"
    metadata, vcpus, memory, disk = FLAVORS[name]
    with stage.no_syncs(CLOUD):
        lab.admin.compute.delete_flavor(lab.admin.compute.find_flavor(name, ignore_missing=False))
        try:
            stage.user.create(name="flavorless", flavor=name, node_count=1, cloud=CLOUD)
            reason = stage.failed("flavorless")
            assert (reason["code"], reason["user_can_fix"]) == ("flavor_missing", True)
            assert "another flavor" in reason["advice"]
            stage.sync(CLOUD)
            problem = stage.refused(name="later", flavor=name, node_count=1, cloud=CLOUD)
            assert problem["errors"]["flavor"]
        finally:
            world.ensure_flavor(admin=lab.admin, name=name, metadata=metadata, vcpus=vcpus, ram=memory, disk=disk)
    for cloud in (CLOUD, IMPATIENT):
        stage.sync(cloud)
    stage.heal("flavorless")
    stage.active("flavorless")


# --- services that die, hang and fail -----------------------------------------------------------------------------------------------


def test_a_server_that_ends_in_error_is_deleted_and_asked_for_again_until_it_runs(lab: Lab, stage: Stage, project: Project) -> None:
    lab.misbehave(host="fake-vm1", spawn="fail")
    bay = stage.user.create(name="fails", flavor="vm1-1", node_count=2, cloud=CLOUD)
    assert "Nova could not start" in stage.met("fails", "host_failed")
    lab.behave()
    stage.active("fails")
    assert [server["status"] for server in servers_of(project, bay)] == ["ACTIVE"] * 2


def test_a_server_stuck_in_build_is_deleted_and_made_anew(lab: Lab, stage: Stage, project: Project) -> None:
    lab.misbehave(host="fake-vm1", spawn="hang")
    bay = stage.user.create(name="stuck", flavor="vm1-1", node_count=1, cloud=IMPATIENT)
    until(lambda: len(servers_of(project, bay)) == 1, what="the first server")
    first = servers_of(project, bay)[0]
    assert f"more than {BUILD_SECONDS} seconds" in stage.met("stuck", "host_failed")
    lab.behave()
    stage.active("stuck")
    assert [server["status"] for server in servers_of(project, bay)] == ["ACTIVE"]
    assert servers_of(project, bay)[0]["id"] != first["id"]


def test_a_bay_deleted_while_its_server_is_stuck_in_build_leaves_nothing(lab: Lab, stage: Stage, project: Project) -> None:
    lab.misbehave(host="fake-vm1", spawn="hang")
    bay = stage.user.create(name="hangs", flavor="vm1-1", node_count=1, cloud=CLOUD)
    until(lambda: [server["OS-EXT-STS:task_state"] for server in servers_of(project, bay)] == ["spawning"], what="a server that hangs")
    stage.user.delete("hangs")
    until(lambda: stage.user.get("hangs")["status"] == "deleting", what="the delete to win")
    lab.behave()
    stage.user.wait_gone("hangs", every=0.2)
    assert project.of(bay) == []


def test_a_nova_compute_killed_in_the_middle_of_a_create_is_survived(lab: Lab, stage: Stage, project: Project) -> None:
    """What it was building stays in BUILD for ever: Nova gives up nothing by itself. The operator's patience does."""
    lab.misbehave(host="fake-vm1", spawn="hang")
    bay = stage.user.create(name="killed", flavor="vm1-1", node_count=2, cloud=IMPATIENT)
    spawning = ["spawning"] * 2
    until(lambda: [server["OS-EXT-STS:task_state"] for server in servers_of(project, bay)] == spawning, what="two servers being built")
    lost = {server["id"] for server in servers_of(project, bay)}
    lab.kill("nova-compute-fake-vm1")
    lab.behave()
    stage.met("killed", "host_failed")
    lab.start_service("nova-compute-fake-vm1")
    stage.active("killed", patience=2 * SECONDS)
    servers = servers_of(project, bay)
    assert [server["status"] for server in servers] == ["ACTIVE"] * 2
    assert not lost & {server["id"] for server in servers}
    assert {address_of(server) for server in servers} == {host["address"] for host in stage.user.hosts("killed")}


def test_neutron_killed_in_the_middle_of_a_create_delays_it_and_makes_nothing_twice(lab: Lab, stage: Stage, project: Project) -> None:
    bay = stage.user.create(name="unplugged", flavor="container1-4", node_count=3, cloud=CLOUD)
    until(lambda: bool(project.servers()), what="the first server", every=0.05)
    lab.kill("neutron-server")
    assert stage.user.get("unplugged")["status"] == "creating"
    lab.start_service("neutron-server")
    stage.active("unplugged", patience=2 * SECONDS)
    assert [server["status"] for server in servers_of(project, bay)] == ["ACTIVE"] * 3
    assert len([thing for thing in project.of(bay) if thing.kind == "ports"]) == 3


def test_a_create_asked_for_while_neutron_is_dead_waits_and_then_succeeds(lab: Lab, stage: Stage, project: Project) -> None:
    lab.kill("neutron-server")
    bay = stage.user.create(name="waits", flavor="container1-4", node_count=1, cloud=CLOUD)
    reason = stage.waits_for("waits", "cloud_unreachable")
    assert "by itself" in reason["advice"]
    lab.start_service("neutron-server")
    stage.active("waits", patience=2 * SECONDS)
    assert len(servers_of(project, bay)) == 1


def test_a_hypervisor_that_refuses_to_delete_makes_a_delete_wait_until_it_obeys(lab: Lab, stage: Stage, project: Project) -> None:
    stage.user.create(name="stays", flavor="vm1-1", node_count=1, cloud=CLOUD)
    bay = stage.active("stays")["stays"]
    lab.misbehave(host="fake-vm1", destroy="refuse")
    stage.user.delete("stays")
    until(lambda: [server["status"] for server in servers_of(project, bay)] == ["ERROR"], what="Nova to give up the delete")
    assert stage.user.get("stays")["status"] == "deleting"
    lab.behave()
    stage.user.wait_gone("stays", every=0.2)
    assert project.of(bay) == []


def test_a_server_switched_off_is_started_again_by_heal(stage: Stage, project: Project) -> None:
    stage.user.create(name="off", flavor="vm1-1", node_count=1, cloud=CLOUD)
    bay = stage.active("off")["off"]
    server = servers_of(project, bay)[0]
    project.lab.admin.compute.post(f"/servers/{server['id']}/action", json={"os-stop": None}, microversion=MICROVERSION)
    until(lambda: servers_of(project, bay)[0]["status"] == "SHUTOFF", what="the server to be off")
    stage.heal("off")
    stage.active("off")
    assert [(each["id"], each["status"]) for each in servers_of(project, bay)] == [(server["id"], "ACTIVE")]
