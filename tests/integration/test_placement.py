"""Where hosts may go, from rows of clouds as the sync writes them."""

from datetime import timedelta

import pytest

from apps.bays.models import Host
from apps.bays.selectors import promised_hosts
from apps.common.clock import now
from apps.common.errors import CloudSilent, InvalidInput, NoRoom
from apps.hosts.contracts import HostKind
from apps.hosts.models import Aggregate, Cloud, Flavor
from apps.hosts.placement import Promise, choose, offer, offers, usable_clouds
from tests.factories import make_bay, make_cloud, make_flavor, make_tenant

pytestmark = pytest.mark.django_db
NOTHING: list[Promise] = []


def add_aggregate(cloud: Cloud, name: str, *, free: int, metadata: dict[str, str]) -> Aggregate:
    return Aggregate.objects.create(
        cloud=cloud, name=name, host_kind=HostKind.CONTAINER, metadata=metadata, servers=1,
        total_vcpus=free, total_memory_mib=free * 1024, total_disk_gib=free * 10,
        free_vcpus=free, free_memory_mib=free * 1024, free_disk_gib=free * 10,
    )  # fmt: skip


def place(flavor: Flavor, count: int, cloud: str = "") -> str:
    return choose(flavor=flavor, count=count, cloud_name=cloud, promised=NOTHING).cloud.name


def test_the_scarcest_of_cpu_memory_and_disk_decides_the_room() -> None:
    cloud, flavor = make_cloud(free=10), make_flavor()
    for field, value, room in (("free_vcpus", 3, 3), ("free_memory_mib", 2047, 1), ("free_disk_gib", 9, 0)):
        cloud.aggregates.update(**{field: value})
        assert offer(flavor=flavor, cloud=usable_clouds()[0], promised=NOTHING).room == room


def test_hosts_go_to_the_default_cloud_while_it_has_room_for_all_of_them() -> None:
    make_cloud("small", free=3)
    make_cloud("large", free=30)
    flavor = make_flavor()
    assert place(flavor, 3) == "small"
    assert place(flavor, 4) == "large"


def test_a_cloud_that_is_asked_for_is_taken_or_refused_but_never_replaced() -> None:
    make_cloud("small", free=3)
    make_cloud("large", free=30)
    flavor = make_flavor()
    assert place(flavor, 1, "large") == "large"
    with pytest.raises(NoRoom, match="room for 3 more hosts"):
        place(flavor, 4, "small")
    with pytest.raises(InvalidInput, match="known are: small, large"):
        place(flavor, 1, "moon")


def test_a_cloud_that_is_switched_off_does_not_exist_for_users() -> None:
    cloud = make_cloud()
    Cloud.objects.filter(id=cloud.id).update(enabled=False)
    with pytest.raises(NoRoom, match="no cloud"):
        place(make_flavor(), 1)


def test_a_cloud_that_does_not_answer_has_no_room_and_the_reason_is_said() -> None:
    cloud, flavor = make_cloud(), make_flavor()
    Cloud.objects.filter(id=cloud.id).update(healthy=False, health_message="connection refused")
    found = offer(flavor=flavor, cloud=usable_clouds()[0], promised=NOTHING)
    assert (found.room, found.reason) == (0, "The cloud Local does not answer at the moment; bays can be created there once it does.")
    with pytest.raises(CloudSilent, match="does not answer at the moment"):
        place(flavor, 1)


def test_beside_a_cloud_that_does_not_answer_the_room_of_the_others_is_told() -> None:
    silent, flavor = make_cloud(), make_flavor()
    make_cloud("second", free=20)
    Cloud.objects.filter(id=silent.id).update(healthy=False, health_message="connection refused")
    with pytest.raises(NoRoom, match="room for 20 more") as refusal:
        place(flavor, 1000)
    assert refusal.value.code == "no_capacity"


def test_a_kind_a_cloud_cannot_give_is_refused_with_the_clouds_reason() -> None:
    make_cloud(unavailable={"vm": "This machine has no /dev/kvm."})
    flavor = make_flavor("v1.small", kind=HostKind.VM)
    with pytest.raises(InvalidInput, match="no /dev/kvm") as refusal:
        place(flavor, 1)
    assert refusal.value.code == "flavor_not_offered"


def test_a_kind_without_a_reason_is_refused_too() -> None:
    make_cloud()
    with pytest.raises(InvalidInput, match="no hosts of kind baremetal"):
        place(make_flavor("b1", kind=HostKind.BAREMETAL), 1)


def test_a_flavor_goes_only_to_an_aggregate_with_its_metadata() -> None:
    cloud = make_cloud(free=100)
    add_aggregate(cloud, "fast", free=2, metadata={"disk": "ssd,nvme"})
    flavor = make_flavor(extra_specs={"aggregate_instance_extra_specs:disk": "ssd"})
    found = choose(flavor=flavor, count=2, cloud_name="", promised=NOTHING)
    assert found.aggregate is not None
    assert (found.aggregate.name, found.room) == ("fast", 2)
    with pytest.raises(NoRoom):
        place(flavor, 3)


def test_metadata_no_aggregate_has_is_named() -> None:
    make_cloud()
    with pytest.raises(InvalidInput, match=r"metadata this flavor asks for \(gpu\)"):
        place(make_flavor(extra_specs={"gpu": "true"}), 1)


def test_of_several_fitting_aggregates_the_one_with_most_room_is_taken() -> None:
    cloud = make_cloud(free=5)
    add_aggregate(cloud, "roomy", free=50, metadata={})
    found = choose(flavor=make_flavor(), count=1, cloud_name="", promised=NOTHING)
    assert found.aggregate is not None
    assert found.aggregate.name == "roomy"


def test_what_accepted_bays_will_still_ask_for_is_not_offered_twice() -> None:
    make_cloud(free=5)
    flavor = make_flavor()
    tenant = make_tenant()
    make_bay(tenant, "web", node_count=4, active=False)
    assert offer(flavor=flavor, cloud=usable_clouds()[0], promised=promised_hosts()).room == 1


def test_hosts_the_cloud_has_counted_itself_are_not_counted_again() -> None:
    cloud, flavor = make_cloud(free=5), make_flavor()
    bay = make_bay(make_tenant(), "web", node_count=4)
    assert offer(flavor=flavor, cloud=usable_clouds()[0], promised=promised_hosts()).room == 1
    last = bay.hosts.latest("ready_at").ready_at
    assert last is not None
    Cloud.objects.filter(id=cloud.id).update(synced_at=last.replace(year=last.year + 1))
    cloud.aggregates.update(free_vcpus=1, free_memory_mib=1024, free_disk_gib=10)
    assert offer(flavor=flavor, cloud=usable_clouds()[0], promised=promised_hosts()).room == 1


def test_hosts_that_were_removed_do_not_stand_for_those_that_are_still_wanted() -> None:
    cloud = make_cloud(free=10)
    make_flavor()
    bay = make_bay(make_tenant(), node_count=3)
    long_ago = now() - timedelta(hours=1)
    bay.hosts.filter(index=3).update(state=Host.State.REMOVED, removed_at=now())
    bay.hosts.update(ready_at=long_ago)
    Cloud.objects.filter(id=cloud.id).update(synced_at=now())
    mine = [(promise.cloud_id, promise.count) for promise in promised_hosts()]
    assert mine == [(cloud.id, 1)], "one of three is yet to be made"


def test_every_flavor_gets_one_offer_of_the_default_cloud_or_of_one_that_has_room() -> None:
    make_cloud("small", free=1)
    make_cloud("large", free=30)
    small, large = make_flavor("c1.small"), make_flavor("c1.large", vcpus=4)
    found = {item.flavor.name: item.cloud.name for item in offers(flavors=[small, large], promised=NOTHING)}
    assert found == {"c1.small": "small", "c1.large": "large"}


def test_without_a_cloud_there_is_no_offer() -> None:
    assert offers(flavors=[make_flavor()], promised=NOTHING) == []
