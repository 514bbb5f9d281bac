"""Run by test_incus_isolation.py inside a machine of its own: Docker's firewall around a bay. Not collected by itself.

Docker sets FORWARD to DROP, keeps a chain DOCKER-USER for the administrator, and lets bridged frames pass iptables; this does the same
three things. The machine has a public address, and one neighbour that stands for the internet; no packet leaves the namespaces.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from apps.hosts.contracts import HostSpec, NetworkSpec
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.incus import IncusProvider
from apps.hosts.providers.incus import provider as provider_module
from apps.hosts.providers.incus.client import IncusClient
from apps.hosts.providers.incus.firewall import remove_rules
from tests.live.reach import Inside, listening, new_host, new_network

MACHINE, INTERNET = "11.22.33.1", "11.22.33.44"
SERVE = "import socket, time; s = socket.create_server(('0.0.0.0', 80)); print('up', flush=True); time.sleep(600)"


def sh(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


@pytest.fixture(scope="module", autouse=True)
def docker_machine() -> Iterator[None]:
    assert {line.split()[1].rstrip(":") for line in sh("ip", "-o", "link").splitlines()} == {"lo"}, "only for namespaces of its own"
    Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1", encoding="ascii")
    sh("iptables", "-P", "FORWARD", "DROP")
    sh("iptables", "-N", "DOCKER-USER")
    sh("iptables", "-A", "DOCKER-USER", "-j", "RETURN")
    sh("iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
    with subprocess.Popen(["unshare", "--net", "python3", "-c", SERVE], stdout=subprocess.PIPE) as internet:
        assert internet.stdout is not None
        assert internet.stdout.readline() == b"up\n"
        sh("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "far", "netns", str(internet.pid))
        sh("ip", "address", "add", f"{MACHINE}/24", "dev", "uplink")
        sh("ip", "link", "set", "uplink", "up")
        for command in (f"address add {INTERNET}/24 dev far", "link set far up"):
            sh("nsenter", f"--net=/proc/{internet.pid}/ns/net", "ip", *command.split())
        yield
        internet.kill()


@dataclass(frozen=True, kw_only=True)
class Machine:
    provider: IncusProvider
    inside: Inside
    mine: NetworkSpec
    hosts: tuple[HostSpec, HostSpec, HostSpec]


@pytest.fixture(scope="module")
def machine(docker_machine: None) -> Iterator[Machine]:
    socket, pool, image = (os.environ[f"CARINA_TEST_INCUS_{name}"] for name in ("SOCKET", "POOL", "IMAGE"))
    access = CloudAccess(name="docker", installation="c0de", settings={"socket": socket, "pool": pool}, secrets={})
    provider, client = IncusProvider(access), IncusClient.local(path=socket)
    mine, foreign = (new_network(cidr=IPv4Network(cidr)) for cidr in ("10.61.1.0/24", "10.61.2.0/24"))
    hosts = (*(new_host(network=mine, number=number, image=image) for number in (1, 2)), new_host(network=foreign, number=1, image=image))
    inside = Inside(client=client)
    before = rules()
    for network in (mine, foreign):
        provider.ensure_network(network)
    for host in hosts:
        provider.ensure_host(host)
    for host in hosts:
        inside.serve(host)
    yield Machine(provider=provider, inside=inside, mine=mine, hosts=(hosts[0], hosts[1], hosts[2]))
    for host in hosts:
        provider.remove_host(host.owner, host.ref)
    for network in (mine, foreign):
        provider.remove_network(network.owner)
        assert provider.leftovers(network.owner) == []
    assert rules() == before, "deleting bays left rules in the machine's firewall"
    client.close()
    provider.close()


def rules() -> tuple[str, str]:
    return sh("iptables", "-S"), "".join(line for line in sh("nft", "list", "tables").splitlines() if "carina" in line)


def test_the_bays_own_hosts_reach_each_other_only_through_our_rules(machine: Machine) -> None:
    one, other, _ = machine.hosts
    assert machine.inside.connects(one, other.address)
    remove_rules(owner=machine.mine.owner)
    assert not machine.inside.connects(one, other.address), "this machine's firewall does not block at all: the test proves nothing"
    assert not machine.inside.connects(one, INTERNET, port=80)
    machine.provider.ensure_network(machine.mine)
    assert machine.inside.connects(one, other.address)


def test_the_internet_is_reached(machine: Machine) -> None:
    assert machine.inside.connects(machine.hosts[0], INTERNET, port=80)


def test_another_bay_is_not_reached(machine: Machine) -> None:
    one, _, foreign = machine.hosts
    assert not machine.inside.connects(one, foreign.address)
    assert not machine.inside.connects(foreign, one.address)


def test_the_machine_is_not_reached_even_on_its_public_address(machine: Machine) -> None:
    with listening() as port:
        for address in (MACHINE, "10.61.1.1", "10.61.2.1"):
            assert not machine.inside.connects(machine.hosts[0], address, port=port)


def test_rules_are_not_added_twice(machine: Machine) -> None:
    before = rules()
    machine.provider.ensure_network(machine.mine)
    assert rules() == before
    assert len([line for line in before[0].splitlines() if machine.mine.owner.bay in line]) == 2


def test_rules_are_reported_as_leftovers(machine: Machine) -> None:
    found = " ".join(machine.provider.leftovers(machine.mine.owner))
    assert "firewall rule -A DOCKER-USER" in found
    assert "nft table carina_" in found


def test_without_a_resolver_elsewhere_the_gateway_answers_names_and_nothing_else(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "local_nameservers", lambda: ())
    machine.provider.ensure_network(machine.mine)
    standing = rules()
    machine.provider.ensure_host(machine.hosts[0])
    assert machine.inside.run(machine.hosts[0], "cat", "/etc/resolv.conf")[1] == "nameserver 10.61.1.1\n"
    assert machine.inside.connects(machine.hosts[0], "10.61.1.1", port=53)
    assert not machine.inside.connects(machine.hosts[0], "10.61.2.1", port=53)
    with listening() as port:
        assert not machine.inside.connects(machine.hosts[0], "10.61.1.1", port=port)
    machine.provider.ensure_network(machine.mine)
    assert rules() == standing
