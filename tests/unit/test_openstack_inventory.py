"""What answers of Nova and Placement mean: answers as they come, and what an operator is told."""

from typing import Any

import pytest

from apps.hosts.contracts import CloudRefused, FlavorInfo, HostKind, QuotaInfo
from apps.hosts.extra_specs import unmet_specs
from apps.hosts.providers.openstack.inventory import (
    Found,
    kind_named,
    kinds_by_name,
    known_aggregates,
    machines,
    unpinned,
    untold_aggregates,
    without_untold_specs,
)

SPEC = "aggregate_instance_extra_specs:container_host"


def hypervisor(name: str, *, runs: str = "fake", state: str = "up", status: str = "enabled", host: str = "") -> dict[str, Any]:
    return {
        "id": f"id-{name}", "hypervisor_hostname": name, "hypervisor_type": runs, "state": state, "status": status,
        "service": {"host": host or name}, "vcpus": 8, "vcpus_used": 3, "memory_mb": 16384, "memory_mb_used": 4096, "local_gb": 100,
        "local_gb_used": 10,
    }  # fmt: skip


def aggregate(name: str, *hosts: str, **metadata: str) -> dict[str, Any]:
    return {"name": name, "hosts": list(hosts), "metadata": metadata}


def known(aggregates: list[dict[str, Any]], hypervisors: list[dict[str, Any]], **options: Any) -> Found:
    servers = machines(hypervisors=hypervisors, resources=options.pop("resources", {}))
    return known_aggregates(aggregates=aggregates, servers=servers, region="north", given=options.pop("given", {}), default=None, **options)


def flavor(name: str, **specs: str) -> FlavorInfo:
    return FlavorInfo(
        ref=name, name=name, vcpus=1, memory_mib=1024, disk_gib=10, extra_specs={k.replace("__", ":"): v for k, v in specs.items()}
    )


def test_capacity_is_placements_where_it_tells_and_novas_where_not() -> None:
    told = {"id-one": {"VCPU": (128, 16), "MEMORY_MB": (16000, 20000)}}
    one, two = machines(hypervisors=[hypervisor("one"), hypervisor("two")], resources=told)
    assert (one.info.total_vcpus, one.info.free_vcpus) == (128, 112)
    assert one.info.free_memory_mib == 0, "over-committed is not negative"
    assert (one.info.total_disk_gib, one.info.free_disk_gib) == (100, 90)
    assert (two.info.total_vcpus, two.info.free_vcpus, two.info.free_memory_mib) == (8, 5, 12288)


@pytest.mark.parametrize("fault", [{"state": "down"}, {"status": "disabled"}])
def test_a_server_that_is_down_or_disabled_has_nothing_free_and_is_named(fault: dict[str, str]) -> None:
    found = known([aggregate("lxc", "one", "two", container_host="lxc")], [hypervisor("one"), hypervisor("two", **fault)])
    (lxc,) = found.aggregates
    assert (lxc.servers, lxc.total_vcpus, lxc.free_vcpus) == (2, 16, 5)
    assert [machine.up for machine in lxc.machines] == [True, False]
    assert found.warnings == ("The server two is down or disabled: no host starts there.",)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("lxc", HostKind.CONTAINER), ("container", HostKind.CONTAINER), ("vm", HostKind.VM), ("KVM", HostKind.VM), ("qemu", HostKind.VM),
        ("baremetal", HostKind.BAREMETAL), ("metal", HostKind.BAREMETAL), ("ironic", HostKind.BAREMETAL),
    ],
)  # fmt: skip
def test_metadata_tell_the_kind(word: str, kind: HostKind) -> None:
    for key in ("container_host", "carina_host_kind"):
        (found,) = known([aggregate("a", "one", **{key: word})], [hypervisor("one")]).aggregates
        assert found.host_kind == kind


def test_the_operators_word_comes_before_metadata_and_those_before_the_hypervisor() -> None:
    servers = [hypervisor("one", runs="QEMU")]
    (plain,) = known([aggregate("a", "one")], servers).aggregates
    (said,) = known([aggregate("a", "one", container_host="lxc")], servers).aggregates
    (given,) = known([aggregate("a", "one", container_host="lxc")], servers, given={"a": HostKind.BAREMETAL}).aggregates
    assert [each.host_kind for each in (plain, said, given)] == [HostKind.VM, HostKind.CONTAINER, HostKind.BAREMETAL]


def test_an_aggregate_nothing_tells_the_kind_of_is_left_out_with_advice() -> None:
    found = known([aggregate("odd", "one", container_host="toaster")], [hypervisor("one")])
    assert found.aggregates == ()
    assert "The aggregate odd is left out" in found.warnings[0]
    assert "aggregate_kinds" in found.warnings[0]


def test_an_availability_zone_around_aggregates_is_no_reason_for_a_warning() -> None:
    zone = aggregate("az1", "one", "two", availability_zone="az1")
    found = known(
        [aggregate("lxc", "one", container_host="lxc"), aggregate("vm", "two", container_host="vm"), zone],
        [hypervisor("one"), hypervisor("two")],
    )
    assert [each.name for each in found.aggregates] == ["lxc", "vm"]
    assert found.warnings == ()


def test_a_server_has_the_metadata_of_all_its_aggregates_as_for_nova() -> None:
    found = known(
        [aggregate("lxc", "one", container_host="lxc"), aggregate("fast", "one", "two", disk="ssd", container_host="any")],
        [hypervisor("one"), hypervisor("two", runs="lxc")],
    )
    lxc = found.aggregates[0]
    assert lxc.metadata == {"container_host": "lxc,any", "disk": "ssd"}
    assert unmet_specs(extra_specs={SPEC: "lxc", "disk": "ssd"}, metadata=lxc.metadata) == []


def test_an_aggregate_without_servers_is_kept_and_warned_of() -> None:
    found = known([aggregate("empty", container_host="lxc")], [])
    assert (found.aggregates[0].servers, found.aggregates[0].free_vcpus) == (0, 0)
    assert found.warnings == ("The aggregate empty has no servers.",)


def test_servers_in_no_aggregate_stand_under_the_regions_name() -> None:
    (found,) = known([], [hypervisor("one", runs="QEMU"), hypervisor("two", runs="QEMU")]).aggregates
    assert (found.name, found.host_kind, found.servers, found.metadata) == ("north", HostKind.VM, 2, {})
    doubtful = known([], [hypervisor("odd")])
    assert doubtful.aggregates == ()
    assert "odd" in doubtful.warnings[0]


def test_an_aggregate_of_ironic_counts_each_node() -> None:
    nodes = [hypervisor(f"node-{number}", runs="ironic", host="ironic-1") for number in range(3)]
    (found,) = known([aggregate("metal", "ironic-1", container_host="baremetal")], nodes).aggregates
    assert (found.servers, found.total_vcpus) == (3, 24)


def test_a_cloud_that_shows_no_aggregates_has_one_for_each_kind_its_flavors_speak_of() -> None:
    flavors = [
        flavor("c", aggregate_instance_extra_specs__container_host="<or> lxc <or> lxd"), flavor("v", hw__cpu_policy="shared", disk="ssd"),
    ]  # fmt: skip
    seen = [without_untold_specs(each) for each in flavors]
    found = untold_aggregates(
        flavors=seen, quota=QuotaInfo(hosts=5, vcpus=20, memory_mib=None), region="north", default=HostKind.VM, given={}
    )
    assert [(each.name, each.host_kind, each.free_vcpus) for each in found] == [
        ("north", HostKind.VM, 20),
        ("north-lxc", HostKind.CONTAINER, 20),
    ]
    assert all(not unmet_specs(extra_specs=each.extra_specs, metadata=found[1].metadata) for each in seen)
    assert found[0].free_memory_mib > 10**6, "no limit"


def test_a_cloud_without_any_flavor_has_one_place_under_the_regions_name() -> None:
    quota = QuotaInfo(hosts=None, vcpus=None, memory_mib=None)
    (found,) = untold_aggregates(flavors=[], quota=quota, region="", default=HostKind.CONTAINER, given={})
    assert (found.name, found.host_kind) == ("cloud", HostKind.CONTAINER)


def test_flavors_that_ask_nothing_of_an_aggregate_are_told_apart() -> None:
    flavors = [
        flavor("plain"),
        flavor("scoped", hw__cpu_policy="dedicated"),
        flavor("pinned", disk="ssd"),
        flavor("led", aggregate_instance_extra_specs__x="y"),
    ]
    assert unpinned(flavors) == ["plain", "scoped"]


def test_settings_are_read_or_refused_by_name() -> None:
    assert kinds_by_name(" real-lxc=container, real-vm = vm ,") == {"real-lxc": HostKind.CONTAINER, "real-vm": HostKind.VM}
    assert kinds_by_name("") == {}
    assert (kind_named(""), kind_named("vm")) == (None, HostKind.VM)
    for wrong in ("lxc", "lxc=", "=vm", "lxc=toaster"):
        with pytest.raises(CloudRefused, match="aggregate_kinds"):
            kinds_by_name(wrong)
    with pytest.raises(CloudRefused, match="host_kind"):
        kind_named("toaster")
