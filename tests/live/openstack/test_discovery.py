"""Discovery against a real OpenStack: what a portal sees of it with each kind of credential, beside what its admin sees."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from openstack.connection import Connection

from apps.hosts.clouds import secrets_of, sync_cloud
from apps.hosts.contracts import CloudCredentialsRejected, CloudFacts, CloudRefused, CloudUnreachable, HostKind
from apps.hosts.models import Cloud
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.openstack import OpenStackProvider, transport
from apps.hosts.providers.openstack.clouds_yaml import read_clouds_file, settings_and_secrets
from tests.live.openstack.lab import Lab
from tests.live.openstack.servers import wait_for

pytestmark = pytest.mark.openstack
KINDS = "carina-small=container"
MOST_CALLS = 12
PATIENCE = "120"
"""Seconds an answer may take: all of OpenStack and all other tests share this machine."""


def provider(lab: Lab, *, entry: str = "carina", looker: str = "", **options: str) -> OpenStackProvider:
    found = read_clouds_file(path=lab.clouds_yaml, entry=entry)[0]
    looking = read_clouds_file(path=lab.clouds_yaml, entry=looker)[0] if looker else None
    settings, secrets = settings_and_secrets(entry=found, discovery=looking)
    given = {"network": "carina-net", "aggregate_kinds": KINDS, "timeout": PATIENCE, **options}
    return OpenStackProvider(CloudAccess(name="lab", installation="discovery", settings={**settings, **given}, secrets=secrets))


def look(lab: Lab, **options: str) -> CloudFacts:
    opened = provider(lab, **options)
    try:
        return opened.discover()
    finally:
        opened.close()


@pytest.fixture
def admin(lab: Lab) -> Iterator[Connection]:
    with lab.connect(cloud="admin") as connection:
        yield connection


@pytest.mark.parametrize("looker", ["admin", "carina-reader"])
def test_aggregates_come_with_kind_metadata_and_servers(lab: Lab, admin: Connection, looker: str) -> None:
    facts = look(lab, looker=looker)
    seen = {each.name: (each.metadata, {machine.name for machine in each.machines}) for each in facts.aggregates}
    for aggregate in admin.compute.aggregates():
        assert seen[aggregate.name] == (dict(aggregate.metadata), set(aggregate.hosts or []))
    kinds = {each.name: each.host_kind for each in facts.aggregates}
    assert kinds["carina-lxc"] == kinds["carina-small"] == HostKind.CONTAINER
    assert (kinds["carina-vm"], kinds["carina-baremetal"]) == (HostKind.VM, HostKind.BAREMETAL)
    assert facts.version.startswith("OpenStack Nova 2.")


def test_what_is_free_is_what_placement_says(lab: Lab, admin: Connection) -> None:
    facts = look(lab, looker="carina-reader")
    small = next(each for each in facts.aggregates if each.name == "carina-small")
    provider_id = next(each.id for each in admin.placement.resource_providers() if each.name == "fake-lxc2")
    inventory = admin.placement.get(f"/resource_providers/{provider_id}/inventories").json()["inventories"]["VCPU"]
    used = admin.placement.get(f"/resource_providers/{provider_id}/usages", microversion="1.29").json()["usages"].get("VCPU", 0)
    capacity = int((inventory["total"] - inventory["reserved"]) * inventory["allocation_ratio"])
    assert (small.total_vcpus, small.free_vcpus) == (capacity, capacity - used)


def test_a_member_alone_sees_what_flavors_and_quota_tell(lab: Lab) -> None:
    facts = look(lab)
    assert "may not read aggregates" in facts.warnings[0]
    kinds = {each.metadata.get("container_host", ""): each.host_kind for each in facts.aggregates}
    assert (kinds["lxc"], kinds["vm"], kinds["baremetal"]) == (HostKind.CONTAINER, HostKind.VM, HostKind.BAREMETAL)
    assert facts.quota is not None
    assert all(each.free_vcpus == facts.quota.vcpus for each in facts.aggregates)


def test_flavors_come_with_extra_specs_and_one_without_is_warned_of(lab: Lab) -> None:
    facts = look(lab, looker="carina-reader")
    specs = {each.name: each.extra_specs for each in facts.flavors or ()}
    assert specs["container1-4"] == {"aggregate_instance_extra_specs:container_host": "lxc"}
    assert specs["plain1-1"] == {}
    assert any("plain1-1 asks nothing of an aggregate" in warning for warning in facts.warnings)


def test_node_images_networks_and_quota_are_seen(lab: Lab, admin: Connection) -> None:
    facts = look(lab, looker="carina-reader")
    assert {image.properties["carina.host_kind"] for image in facts.images if image.ref == "carina-node-swarm"} >= set(HostKind)
    assert "carina-net" in facts.networks
    assert "public" not in facts.networks, "it leads out; no bay is on it"
    with lab.connect(cloud="carina") as portal:
        absolute = portal.compute.get("/limits").json()["limits"]["absolute"]
    assert facts.quota is not None
    assert facts.quota.vcpus == absolute["maxTotalCores"] - absolute["totalCoresUsed"]


def test_the_number_of_calls_does_not_depend_on_what_is_there(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = provider(lab, looker="carina-reader")
    opened.discover()  # signs in and learns the versions
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(transport, "_note", lambda request, **_: calls.append((request.method, request.path_url)))
    opened.discover()
    opened.close()
    assert 0 < len(calls) <= MOST_CALLS, calls
    assert {method for method, _ in calls} == {"GET"}


def test_a_dead_server_is_no_room_and_is_named(lab: Lab) -> None:
    lab.kill("nova-compute-fake-vm1")

    def is_down() -> bool:
        facts = look(lab, looker="carina-reader")
        machine = next(machine for each in facts.aggregates for machine in each.machines if machine.name == "fake-vm1")
        return not machine.up and machine.free_vcpus == 0 and any("fake-vm1 is down" in warning for warning in facts.warnings)

    wait_for(is_down, True)
    lab.heal()
    wait_for(is_down, False)


def test_an_aggregate_for_windows_keeps_its_metadata(lab: Lab, admin: Connection) -> None:
    made = admin.compute.create_aggregate(name="discovery-windows")
    try:
        admin.compute.set_aggregate_metadata(made, container_host="vm", os_type="windows")
        facts = look(lab, looker="carina-reader")
        found = next(each for each in facts.aggregates if each.name == "discovery-windows")
        assert (found.host_kind, found.metadata["os_type"], found.servers) == (HostKind.VM, "windows", 0)
        assert "The aggregate discovery-windows has no servers." in facts.warnings
    finally:
        admin.compute.delete_aggregate(made)


def test_an_aggregate_that_says_nothing_of_its_kind_is_left_out_with_a_warning(lab: Lab) -> None:
    facts = look(lab, looker="carina-reader", aggregate_kinds="")
    assert "carina-small" not in {each.name for each in facts.aggregates}
    assert any("carina-small is left out" in warning for warning in facts.warnings)


def test_a_network_that_is_not_there_is_warned_of(lab: Lab) -> None:
    facts = look(lab, network="gone-net")
    assert any("“gone-net”" in warning for warning in facts.warnings)


def test_wrong_options_are_refused_by_name(lab: Lab) -> None:
    with pytest.raises(CloudRefused, match="aggregate_kinds"):
        look(lab, looker="carina-reader", aggregate_kinds="carina-small=toaster")


def test_a_wrong_password_is_said_as_such(lab: Lab) -> None:
    with pytest.raises(CloudCredentialsRejected):
        look(lab, entry="broken")


def test_a_cloud_where_nobody_listens_is_unreachable(lab: Lab) -> None:
    found = read_clouds_file(path=lab.clouds_yaml, entry="carina")[0]
    found.config["auth"]["auth_url"] = "http://127.0.0.1:9/v3"
    settings, secrets = settings_and_secrets(entry=found)
    access = CloudAccess(name="lab", installation="discovery", settings={**settings, "network": "carina-net"}, secrets=secrets)
    with pytest.raises(CloudUnreachable):
        OpenStackProvider(access).discover()


@pytest.mark.django_db
def test_add_cloud_brings_it_into_the_portal_and_a_failing_look_keeps_what_was_known(lab: Lab, tmp_path: Path) -> None:
    out = io.StringIO()
    call_command(
        "add_cloud", "lab", "--provider", "openstack", "--clouds-yaml", str(lab.clouds_yaml), "--os-cloud", "carina",
        "--discovery-os-cloud", "carina-reader", "--network", "carina-net", "--option", f"aggregate_kinds={KINDS}",
        "--option", f"timeout={PATIENCE}", stdout=out,
    )  # fmt: skip
    cloud = Cloud.objects.get()
    assert cloud.healthy
    assert "carina-lxc: container hosts" in out.getvalue()
    assert set(secrets_of(cloud=cloud)) == {"password", "discovery_password"}
    assert cloud.aggregates.get(name="carina-lxc").machines[0]["name"] == "fake-lxc1"
    config = json.loads(cloud.settings["config"])
    config["auth"]["username"] = "nobody"
    cloud.settings["config"] = json.dumps(config)
    cloud.updated_at = cloud.updated_at.replace(year=cloud.updated_at.year + 1)
    cloud.save()
    before = cloud.synced_at
    assert not sync_cloud(cloud=cloud)
    cloud.refresh_from_db()
    assert (cloud.healthy, cloud.synced_at) == (False, before)
    assert "does not accept this portal’s credentials" in cloud.health_message
    assert cloud.aggregates.count() >= 4
