"""The Incus provider and what happens to machines: reboots, crashes of Incus itself, and machines that are elsewhere.

Each on a machine of its own in namespaces, so that nothing of this one is stopped.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from ipaddress import IPv4Network
from threading import Thread

import pytest

from apps.hosts.contracts import HostSpec, PowerState, ProviderError
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.incus import IncusProvider
from apps.hosts.providers.incus.client import IncusClient
from apps.hosts.providers.incus.naming import bay_tags, bridge_name
from tests.live.private_incus import PrivateIncus, incus_environment, private_incus, run_inside_tests
from tests.live.reach import Inside, new_host, new_network

pytestmark = pytest.mark.incus


@pytest.fixture(scope="module")
def machine() -> Iterator[PrivateIncus]:
    socket, _, image = incus_environment()
    with private_incus(source=socket, image=image, pool="own") as incus:
        yield incus


@pytest.fixture
def provider(machine: PrivateIncus) -> Iterator[IncusProvider]:
    settings = {"socket": machine.socket, "pool": "own"}
    provider = IncusProvider(CloudAccess(name="machine", installation="c0de", settings=settings, secrets={}))
    yield provider
    provider.close()


def until_it_succeeds(step: Callable[[], object]) -> None:
    for _ in range(10):
        try:
            step()
        except ProviderError as error:
            if not error.transient:
                raise
            time.sleep(0.1)
        else:
            return
    pytest.fail("still failing after ten attempts")


def ensure_host_in_vain(provider: IncusProvider, host: HostSpec) -> None:
    with suppress(ProviderError):
        provider.ensure_host(host)


def test_hosts_come_back_at_their_addresses_with_the_machine(machine: PrivateIncus, provider: IncusProvider) -> None:
    network = new_network(cidr=IPv4Network("10.61.7.0/24"))
    host = new_host(network=network, number=1, image=incus_environment()[2])
    provider.ensure_network(network)
    provider.ensure_host(host)
    client = IncusClient.local(path=machine.socket)
    Inside(client=client).serve(host)  # it has booted
    seconds = machine.stop()
    assert seconds < 9, f"shutting down took {seconds:.0f} s"
    machine.start()
    assert [(state.power, state.address) for state in provider.list_hosts(host.owner)] == [(PowerState.RUNNING, host.address)]
    assert host.address in Inside(client=client).run(host, "ip", "-4", "address", "show", "eth0")[1]
    client.close()
    provider.remove_host(host.owner, host.ref)
    provider.remove_network(host.owner)
    assert provider.leftovers(host.owner) == []


@pytest.mark.parametrize("milliseconds", [10, 40, 80, 150])
def test_incus_killed_during_a_create_costs_nothing_but_time(machine: PrivateIncus, provider: IncusProvider, milliseconds: int) -> None:
    network = new_network(cidr=IPv4Network("10.61.8.0/24"))
    image = incus_environment()[2]
    warm, host = (new_host(network=network, number=number, image=image) for number in (1, 2))
    provider.ensure_network(network)
    provider.ensure_host(warm)
    interrupted = Thread(target=ensure_host_in_vain, args=(provider, host))
    interrupted.start()
    time.sleep(milliseconds / 1000)
    machine.kill()
    interrupted.join()
    machine.start()
    until_it_succeeds(lambda: provider.ensure_host(host))
    assert {state.ref for state in provider.list_hosts(network.owner) if state.power is PowerState.RUNNING} >= {host.ref}
    assert len(provider.list_hosts(network.owner)) == 2
    for each in (warm, host):
        until_it_succeeds(lambda each=each: provider.remove_host(each.owner, each.ref))  # type: ignore[misc]
    provider.remove_network(network.owner)
    assert provider.leftovers(network.owner) == []


def test_a_server_elsewhere_and_a_cluster_serve_bays_too(machine: PrivateIncus) -> None:
    # Last, since it makes this machine's Incus a cluster, which cannot be undone.
    done = run_inside_tests(incus=machine, name="inside_remote_server.py", image=os.environ["CARINA_TEST_INCUS_IMAGE"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def test_a_network_whose_maker_died_in_the_middle_of_the_request_is_made_anew(machine: PrivateIncus, provider: IncusProvider) -> None:
    """Incus stops where it stands when its client goes, and calls the network "Pending" for ever."""
    torsos = 0
    for hundredths in range(0, 24, 2):
        network = new_network(cidr=IPv4Network("10.61.8.0/24"))
        name = bridge_name(network.owner)
        config = {
            **bay_tags(network.owner),
            "ipv4.address": "10.61.8.1/24",
            "ipv4.dhcp": "false",
            "ipv6.address": "none",
            "dns.mode": "none",
        }
        body = json.dumps({"name": name, "type": "bridge", "config": config}).encode()
        with closing(socket.socket(socket.AF_UNIX)) as dying:
            dying.connect(machine.socket)
            lines = ["POST /1.0/networks HTTP/1.1", "Host: incus", "Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
            dying.sendall("\r\n".join(lines).encode() + body)
            time.sleep(hundredths / 100)
        client = IncusClient.local(path=machine.socket)
        time.sleep(0.3)
        found = client.find(f"networks/{name}")
        torsos += found is not None and found.body["status"] == "Pending"
        until_it_succeeds(lambda network=network: provider.ensure_network(network))  # type: ignore[misc]
        found = client.find(f"networks/{name}")
        assert found is not None
        assert found.body["status"] == "Created"
        provider.remove_network(network.owner)
        assert provider.leftovers(network.owner) == []
        client.close()
    print(f"{torsos} of 12 requests left a torso")
