"""What separates bays from each other and from the machine, tried from inside real hosts. No address outside this machine is asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import pytest

from apps.hosts.contracts import HostSpec
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.incus import IncusProvider
from apps.hosts.providers.incus.client import IncusClient
from apps.hosts.providers.incus.egress import own_addresses
from apps.hosts.providers.incus.naming import bridge_name
from tests.live.private_incus import PrivateIncus, incus_environment, private_incus, run_inside_tests
from tests.live.reach import SIZE, Inside, listening, new_host, new_network

pytestmark = pytest.mark.incus


@dataclass(frozen=True, kw_only=True)
class Bays:
    """Two hosts of one bay and the only host of another tenant's, each with a listener where its engine would be."""

    inside: Inside
    client: IncusClient
    pool: str
    mine: tuple[HostSpec, HostSpec]
    foreign: HostSpec


def free_cidrs(provider: IncusProvider) -> list[IPv4Network]:
    taken = [ip_network(cidr, strict=False) for cidr in provider.discover().used_cidrs]
    return [block for block in IPv4Network("10.62.0.0/16").subnets(new_prefix=24) if not any(block.overlaps(other) for other in taken)]


@pytest.fixture(scope="module")
def bays() -> Iterator[Bays]:
    socket, pool, image = incus_environment()
    provider = IncusProvider(CloudAccess(name="isolation", installation="c0de", settings={"socket": socket, "pool": pool}, secrets={}))
    client = IncusClient.local(path=socket)
    first, second = (new_network(cidr=cidr) for cidr in free_cidrs(provider)[:2])
    hosts = (*(new_host(network=first, number=number, image=image) for number in (1, 2)), new_host(network=second, number=1, image=image))
    inside = Inside(client=client)
    try:
        for network in (first, second):
            provider.ensure_network(network)
        for host in hosts:
            provider.ensure_host(host)
        for host in hosts:
            inside.serve(host)
        yield Bays(inside=inside, client=client, pool=pool, mine=(hosts[0], hosts[1]), foreign=hosts[2])
    finally:
        for host in hosts:
            provider.remove_host(host.owner, host.ref)
        for network in (first, second):
            provider.remove_network(network.owner)
        client.close()
        provider.close()


def test_hosts_of_a_bay_reach_each_other(bays: Bays) -> None:
    one, other = bays.mine
    assert bays.inside.connects(one, other.address)
    assert bays.inside.connects(other, one.address)


def test_a_host_does_not_reach_another_bays_host(bays: Bays) -> None:
    assert not bays.inside.connects(bays.mine[0], bays.foreign.address)
    assert not bays.inside.connects(bays.foreign, bays.mine[0].address)


def test_a_host_does_not_reach_the_machines_services_on_any_address(bays: Bays) -> None:
    addresses = {str(address) for address in own_addresses() if not address.is_loopback}
    assert {str(ip_network(host.cidr)[1]) for host in (bays.mine[0], bays.foreign)} <= addresses
    with listening() as port:
        assert {address for address in addresses if bays.inside.connects(bays.mine[0], address, port=port)} == set()


def test_not_even_on_the_ports_of_dns(bays: Bays) -> None:
    for host in (bays.mine[0], bays.foreign):
        gateway = str(ip_network(host.cidr)[1])
        with listening(gateway, port=53):
            assert not bays.inside.connects(bays.mine[0], gateway, port=53)


def test_nor_over_the_link_local_addresses_of_ipv6(bays: Bays) -> None:
    bridge = f"/sys/class/net/{bridge_name(bays.mine[0].owner)}/address"
    digits = Path(bridge).read_text(encoding="ascii").strip().split(":")
    first = f"{int(digits[0], 16) ^ 2:02x}"
    link_local = f"fe80::{first}{digits[1]}:{digits[2]}ff:fe{digits[3]}:{digits[4]}{digits[5]}%eth0"
    with listening("::") as port:
        assert not bays.inside.connects(bays.mine[0], link_local, port=port)


def test_hosts_have_user_ids_of_their_own(bays: Bays) -> None:
    starts = set()
    for host in (*bays.mine, bays.foreign):
        inside, outside, count = bays.inside.run(host, "cat", "/proc/self/uid_map")[1].split()
        assert (inside, count) == ("0", "65536")
        assert int(outside) > 0
        starts.add(int(outside))
    assert len(starts) == 3
    assert all(abs(one - other) >= 65536 for one in starts for other in starts if one != other)


def test_a_host_cannot_speak_to_incus(bays: Bays) -> None:
    assert bays.inside.run(bays.mine[0], "ls", "/dev/incus")[0] != 0
    assert bays.inside.run(bays.mine[0], "ls", "/dev/lxd")[0] != 0


def test_a_host_sees_as_many_cpus_as_it_was_given(bays: Bays) -> None:
    assert bays.inside.run(bays.mine[0], "nproc") == (0, f"{SIZE.vcpus}\n")


def test_a_program_that_takes_more_memory_than_the_host_has_is_ended(bays: Bays) -> None:
    take = "my $x = 'x' x ($ARGV[0] * 1024 * 1024); print length $x"
    assert bays.inside.run(bays.mine[0], "perl", "-e", take, str(SIZE.memory_mib // 4))[0] == 0
    assert bays.inside.run(bays.mine[0], "perl", "-e", take, str(SIZE.memory_mib * 2))[0] != 0


def test_a_host_cannot_have_more_processes_than_it_was_given(bays: Bays) -> None:
    fork = (
        "my $n = 0;"
        "while ($n < 1000) { my $p = fork; last unless defined $p; if (!$p) { sleep 60; exit } push @k, $p; $n++ }"
        "kill 9, @k; print $n"
    )
    status, count = bays.inside.run(bays.mine[0], "perl", "-e", fork)
    assert status == 0
    assert SIZE.processes // 2 < int(count) < SIZE.processes


def test_a_host_cannot_fill_more_disk_than_it_was_given(bays: Bays) -> None:
    if bays.client.get(f"storage-pools/{bays.pool}")["driver"] == "dir":
        pytest.skip("A directory pool has no disk limits; bays on it say so (no_disk_quota).")
    status, output = bays.inside.run(bays.mine[0], "fallocate", "--length", f"{SIZE.disk_gib + 1}GiB", "/big")
    bays.inside.run(bays.mine[0], "rm", "-f", "/big")
    assert status != 0
    assert "quota" in output.lower() or "no space" in output.lower()


def test_the_tenants_project_refuses_what_would_break_out(bays: Bays) -> None:
    host = bays.mine[0]
    project = f"carina-{host.owner.installation}-{host.owner.tenant[:12]}"
    instance = bays.client.get(f"instances/{host.ref}", project=project)
    kept = {key: instance[key] for key in ("architecture", "description", "ephemeral", "profiles", "stateful", "config", "devices")}
    for config, devices in (
        ({"security.privileged": "true"}, {}),
        ({}, {"etc": {"type": "disk", "source": "/etc", "path": "/mnt"}}),
        ({}, {"eth1": {"type": "nic", "name": "eth1", "network": bridge_name(bays.foreign.owner)}}),
    ):
        body = {**kept, "config": {**kept["config"], **config}, "devices": {**kept["devices"], **devices}}
        with pytest.raises(Exception, match=r"(?i)forbidden|not allowed|restricted|privileged"):
            bays.client.change("PUT", f"instances/{host.ref}", body=body, project=project)


@pytest.fixture(scope="module")
def other_machine() -> Iterator[PrivateIncus]:
    """A machine in namespaces of its own, so that its firewall can be Docker's without touching this one's."""
    socket, _, image = incus_environment()
    with private_incus(source=socket, image=image, pool="own") as incus:
        yield incus


def test_bays_work_and_are_isolated_on_a_machine_where_docker_runs(other_machine: PrivateIncus) -> None:
    done = run_inside_tests(incus=other_machine, name="inside_docker_machine.py", image=incus_environment()[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
