"""Where hosts may go on a cloud that has flavors, servers, a quota and operating systems of its own, as an OpenStack does."""

from typing import Any

import pytest

from apps.common.errors import InvalidInput, NoRoom
from apps.hosts.contracts import FlavorMissing, HostKind
from apps.hosts.matching import cloud_flavor_of
from apps.hosts.models import Aggregate, Cloud, Flavor
from apps.hosts.placement import Needs, Promise, choose, offer, usable_clouds
from tests.factories import make_cloud, make_flavor

pytestmark = pytest.mark.django_db
PINNED = {"aggregate_instance_extra_specs:container_host": "lxc"}


def cloud_flavor(name: str = "container1-1", *, vcpus: int = 1, disk_gib: int = 10, specs: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "ref": f"id-{name}",
        "name": name,
        "vcpus": vcpus,
        "memory_mib": vcpus * 1024,
        "disk_gib": disk_gib,
        "extra_specs": PINNED if specs is None else specs,
    }


def machine(name: str, *, free: int, up: bool = True) -> dict[str, Any]:
    total = {"total_vcpus": 16, "total_memory_mib": 16384, "total_disk_gib": 160}
    return {"name": name, "up": up, **total, "free_vcpus": free, "free_memory_mib": free * 1024, "free_disk_gib": free * 10}


def make_openstack(*, flavors: list[dict[str, Any]], machines: list[dict[str, Any]] | None = None, **more: Any) -> Cloud:
    cloud = make_cloud("stack", flavors=flavors, **more)
    cloud.aggregates.update(name="containers", metadata={"container_host": "lxc"}, machines=machines or [])
    return cloud


def add_vms(cloud: Cloud) -> Aggregate:
    return Aggregate.objects.create(
        cloud=cloud, name="vms", host_kind=HostKind.VM, metadata={"container_host": "vm"}, servers=1,
        total_vcpus=9, total_memory_mib=9216, total_disk_gib=90, free_vcpus=9, free_memory_mib=9216, free_disk_gib=90,
    )  # fmt: skip


def room(flavor: Flavor, *, promised: list[Promise] | None = None) -> tuple[int, str]:
    found = offer(flavor=flavor, cloud=usable_clouds()[0], promised=promised or [])
    return found.room, found.reason


def test_a_host_must_fit_on_one_server_not_on_the_sum_of_all() -> None:
    make_openstack(flavors=[cloud_flavor(vcpus=4, disk_gib=40)], machines=[machine("one", free=3), machine("two", free=7)])
    assert room(make_flavor(vcpus=4)) == (1, "")


def test_a_server_that_is_down_has_no_room() -> None:
    make_openstack(flavors=[cloud_flavor()], machines=[machine("one", free=3, up=False), machine("two", free=2)])
    assert room(make_flavor()) == (2, "")


def test_promised_hosts_take_their_place_on_servers_of_their_aggregate_only() -> None:
    cloud = make_openstack(flavors=[cloud_flavor()], machines=[machine("one", free=3), machine("two", free=2)])
    flavor = make_flavor()
    mine = Promise(cloud_id=cloud.id, aggregate="containers", size=flavor.size, count=4)
    other = Promise(cloud_id=cloud.id, aggregate="vms", size=flavor.size, count=50)
    assert room(flavor, promised=[mine, other]) == (1, "")


def test_more_promised_than_there_is_leaves_no_room_and_no_error() -> None:
    cloud = make_openstack(flavors=[cloud_flavor()], machines=[machine("one", free=1)])
    flavor = make_flavor()
    assert room(flavor, promised=[Promise(cloud_id=cloud.id, aggregate="containers", size=flavor.size, count=9)])[0] == 0


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ({"hosts": 2, "vcpus": None, "memory_mib": None}, 2),
        ({"hosts": None, "vcpus": 3, "memory_mib": None}, 3),
        ({"hosts": None, "vcpus": None, "memory_mib": 4096}, 4),
        ({"hosts": None, "vcpus": None, "memory_mib": None}, 8),
    ],
)
def test_the_quota_bounds_what_is_offered(quota: dict[str, int | None], expected: int) -> None:
    make_openstack(flavors=[cloud_flavor()], machines=[machine("one", free=8)], quota=quota)
    assert room(make_flavor()) == (expected, "")


def test_an_exhausted_quota_is_named_as_the_reason_and_promises_on_any_aggregate_use_it() -> None:
    cloud = make_openstack(
        flavors=[cloud_flavor()], machines=[machine("one", free=8)], quota={"hosts": 3, "vcpus": None, "memory_mib": None}
    )
    flavor = make_flavor()
    promised = [Promise(cloud_id=cloud.id, aggregate="vms", size=flavor.size, count=3)]
    assert room(flavor, promised=promised) == (0, "The quota that Stack gives this portal leaves no room for c1.small.")
    with pytest.raises(NoRoom):
        choose(flavor=flavor, count=1, cloud_name="", promised=promised)


def test_a_flavor_the_cloud_has_no_size_for_is_refused_with_the_size() -> None:
    make_openstack(flavors=[cloud_flavor(vcpus=2, disk_gib=20)])
    with pytest.raises(InvalidInput, match="Stack has no flavor of its own with 1 vCPU, 1024 MiB memory and at least 10 GiB disk"):
        choose(flavor=make_flavor(), count=1, cloud_name="", promised=[])


def test_a_cloud_flavor_that_could_land_on_another_kind_is_not_used() -> None:
    cloud = make_openstack(flavors=[cloud_flavor("anywhere", specs={})])
    assert room(make_flavor())[0] == 100, "with one aggregate there is nowhere else to land"
    add_vms(cloud)
    _, reason = room(Flavor.objects.get())
    assert reason == (
        "Stack’s flavor anywhere could also land on aggregates of another kind; give it extra specs that only containers meets."
    )


def test_a_cloud_flavor_that_leads_elsewhere_is_named() -> None:
    cloud = make_openstack(flavors=[cloud_flavor("vm1", specs={"aggregate_instance_extra_specs:container_host": "vm"})])
    add_vms(cloud)
    assert room(make_flavor())[1] == "Stack’s flavors of this size (vm1) do not lead to the aggregate containers."


def test_of_fitting_cloud_flavors_the_one_of_the_same_name_is_taken_then_the_smallest_disk() -> None:
    cloud = make_openstack(
        flavors=[cloud_flavor("big", disk_gib=99), cloud_flavor("small", disk_gib=10), cloud_flavor("c1.small", disk_gib=50)]
    )
    assert cloud_flavor_of(cloud=cloud, flavor=make_flavor(), aggregate="containers") == "id-c1.small"
    assert cloud_flavor_of(cloud=cloud, flavor=make_flavor("other"), aggregate="containers") == "id-small"


def test_a_cloud_flavor_that_is_gone_when_the_host_is_made_is_a_reasoned_error() -> None:
    cloud, flavor = make_openstack(flavors=[]), make_flavor()
    with pytest.raises(FlavorMissing, match="no flavor of its own"):
        cloud_flavor_of(cloud=cloud, flavor=flavor, aggregate="containers")
    with pytest.raises(FlavorMissing, match="“gone” of Stack is gone"):
        cloud_flavor_of(cloud=cloud, flavor=flavor, aggregate="gone")


def test_a_cloud_without_flavors_of_its_own_gives_any_size() -> None:
    assert cloud_flavor_of(cloud=make_cloud(), flavor=make_flavor(), aggregate="default") == ""


def test_a_windows_aggregate_is_offered_only_to_an_orchestrator_that_can_use_it() -> None:
    cloud = make_openstack(flavors=[cloud_flavor()])
    cloud.aggregates.update(metadata={"container_host": "lxc", "os_type": "windows"})
    flavor = make_flavor()
    assert room(flavor) == (0, "The aggregate containers of Stack is for windows hosts, which this orchestrator cannot use.")
    assert offer(flavor=flavor, cloud=usable_clouds()[0], promised=[], needs=Needs(os_types=("windows",))).room == 100


def test_a_missing_node_image_of_that_kind_is_predicted() -> None:
    image = {"ref": "carina-node-swarm", "properties": {"carina.host_kind": "vm"}}
    cloud = make_openstack(flavors=[cloud_flavor()], images=[image])
    needs = Needs(image="carina-node-swarm")
    with pytest.raises(InvalidInput, match="The node image for hosts of kind container is not in Stack"):
        choose(flavor=make_flavor(), count=1, cloud_name="", promised=[], needs=needs)
    Cloud.objects.filter(id=cloud.id).update(images=[{**image, "properties": {"carina.host_kind": "container"}}])
    assert choose(flavor=Flavor.objects.get(), count=1, cloud_name="", promised=[], needs=needs).room == 100


def test_a_flavor_with_a_volume_needs_a_cloud_with_volumes() -> None:
    cloud = make_openstack(flavors=[cloud_flavor()])
    flavor = make_flavor(volume_gib=20)
    assert room(flavor) == (0, "The cloud Stack has no block volumes, which this flavor asks for.")
    Cloud.objects.filter(id=cloud.id).update(volumes=True)
    assert room(flavor) == (100, "")


def test_a_bay_grows_on_its_own_aggregate_only() -> None:
    cloud = make_openstack(flavors=[cloud_flavor()], machines=[machine("one", free=2)])
    roomy = cloud.aggregates.get()
    roomy.id, roomy.name, roomy.machines = None, "roomy", [machine("two", free=9)]
    roomy._state.adding = True
    roomy.save(force_insert=True)
    flavor = make_flavor()
    assert choose(flavor=flavor, count=5, cloud_name="", promised=[]).room == 9
    with pytest.raises(NoRoom, match="room for 2 more hosts"):
        choose(flavor=flavor, count=5, cloud_name="", promised=[], aggregate_name="containers")
