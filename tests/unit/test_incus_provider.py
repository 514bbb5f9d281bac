"""What of the Incus provider can be shown without an Incus."""

import json
from ipaddress import IPv4Address, ip_address
from typing import Any
from uuid import uuid4

import httpx
import pytest

from apps.hosts.contracts import (
    CloudBusy,
    CloudCredentialsRejected,
    CloudRefused,
    CloudUnreachable,
    HostFile,
    HostKind,
    HostSize,
    HostSpec,
    ImageMissing,
    NoCapacity,
    Owner,
    ProviderError,
    QuotaExceeded,
)
from apps.hosts.providers.base import CloudAccess, load_provider
from apps.hosts.providers.incus import IncusProvider
from apps.hosts.providers.incus.capacity import Ratios, promised, size_in_bytes
from apps.hosts.providers.incus.client import IncusClient
from apps.hosts.providers.incus.egress import (
    Surroundings,
    addresses_in,
    egress_rules,
    public_ranges,
    resolv_conf,
    server_addresses,
    usable_nameservers,
)
from apps.hosts.providers.incus.errors import error_of
from apps.hosts.providers.incus.naming import bridge_name, project_name

OWNER = Owner(installation="c0de", tenant=uuid4().hex, bay=uuid4().hex)


def spec() -> HostSpec:
    return HostSpec(
        owner=OWNER,
        ref="web-1",
        hostname="web-1",
        kind=HostKind.CONTAINER,
        image="node",
        size=HostSize(vcpus=1, memory_mib=512, disk_gib=5, processes=500),
        cidr="10.90.1.0/24",
        address="10.90.1.11",
        files=(HostFile(path="/etc/docker/tls/ca.pem", content=b"certificate"),),
    )


class Recorder:
    """An Incus or LXD that answers every create with success, and remembers what it was asked."""

    def __init__(self, *, server: str) -> None:
        self.server = server
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == "/1.0":
            return self._metadata({"auth": "trusted", "environment": {"server": self.server, "server_version": "5.0.2", "driver": "lxc"}})
        if request.method == "GET":
            return httpx.Response(404, json={"type": "error", "error": "Instance not found", "error_code": 404})
        return self._metadata({})

    @staticmethod
    def _metadata(metadata: object) -> httpx.Response:
        return httpx.Response(200, json={"type": "sync", "metadata": metadata})


@pytest.mark.parametrize(
    ("server", "prefix", "option", "foreign"),
    [("incus", "x-incus", "security.guestapi", "security.devlxd"), ("lxd", "x-lxd", "security.devlxd", "security.guestapi")],
)
def test_each_server_is_spoken_to_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, server: str, prefix: str, option: str, foreign: str
) -> None:
    recorder = Recorder(server=server)
    monkeypatch.setattr(IncusClient, "local", lambda *, path: IncusClient(transport=httpx.MockTransport(recorder)))
    provider = IncusProvider(CloudAccess(name="words", installation="c0de", settings={"socket": "/nowhere", "pool": "p"}, secrets={}))
    provider.ensure_host(spec())
    create = next(json.loads(each.content) for each in recorder.requests if each.url.path == "/1.0/instances" and each.method == "POST")
    assert create["config"][option] == "false"
    assert foreign not in create["config"]
    pushes = [each for each in recorder.requests if each.url.path.endswith("/files")]
    assert {push.url.params["path"] for push in pushes} >= {"/etc/docker/tls/ca.pem", "/etc/hostname", "/etc/resolv.conf"}
    assert all(push.headers[f"{prefix}-type"] == "file" and push.headers[f"{prefix}-uid"] == "0" for push in pushes)
    assert [json.loads(each.content)["action"] for each in recorder.requests if each.url.path.endswith("/state")] == ["start"]


def test_a_host_costs_no_more_requests_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(server="incus")
    monkeypatch.setattr(IncusClient, "local", lambda *, path: IncusClient(transport=httpx.MockTransport(recorder)))
    provider = IncusProvider(CloudAccess(name="count", installation="c0de", settings={"socket": "/nowhere", "pool": "p"}, secrets={}))
    provider.ensure_host(spec())
    asked = [f"{each.method} {each.url.path.removeprefix('/1.0')}" for each in recorder.requests]
    files = ["POST /instances/web-1/files"] * 4
    assert asked == ["GET ", "GET /instances/web-1", "POST /instances", *files, "PUT /instances/web-1/state"]


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (500, 'Reached maximum number of instances in project "x"', QuotaExceeded),
        (500, 'Failed checking if instance creation allowed: Reached maximum aggregate value "3GiB" for "limits.memory"', QuotaExceeded),
        (500, "Image not provided for instance creation", ImageMissing),
        (500, "Failed creating instance from image: write /root: no space left on device", NoCapacity),
        (500, "Failed creating instance record: UNIQUE constraint failed: instances.project_id, instances.name", CloudBusy),
        (409, 'Network "x" already exists', CloudBusy),
        (412, "ETag doesn't match: a vs b", CloudBusy),
        (400, 'Instance is busy running a "create" operation', CloudBusy),
        (400, "The network is currently in use", CloudBusy),
        (403, "not authorized", CloudCredentialsRejected),
        (400, "Invalid config: unknown key", CloudRefused),
        (500, 'Invalid device "eth0": Privileged containers are forbidden', CloudRefused),
        (503, "Shutting down", CloudUnreachable),
        (500, "something nobody has ever read", CloudUnreachable),
    ],
)
def test_incus_texts_become_the_family_of_errors(status: int, text: str, expected: type[ProviderError]) -> None:
    error = error_of(what="POST instances", status=status, text=text)
    assert isinstance(error, expected)
    assert text in str(error)


def test_an_answer_that_is_not_incus_is_unreachable() -> None:
    client = IncusClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, text="<html>a proxy</html>")))
    with pytest.raises(CloudUnreachable):
        client.get("instances")


def test_public_means_public() -> None:
    ranges = [tuple(int(ip_address(end)) for end in part.split("-")) for part in public_ranges().split(",")]

    def allowed(address: str) -> bool:
        return any(first <= int(ip_address(address)) <= last for first, last in ranges)

    for address in ("1.1.1.1", "9.9.9.9", "93.184.215.14", "172.15.255.255", "172.32.0.0", "192.167.255.255", "223.255.255.255"):
        assert allowed(address), address
    for address in (
        "0.0.0.1",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ):
        assert not allowed(address), address


def test_the_machines_public_addresses_are_refused_and_its_gateway_is_no_member() -> None:
    surroundings = Surroundings(addresses=(IPv4Address("10.1.1.1"), IPv4Address("9.8.7.6")), nameservers=(IPv4Address("10.0.0.53"),))
    rules = egress_rules(cidr="10.90.1.0/24", surroundings=surroundings)
    assert [rule["destination"] for rule in rules if rule["action"] == "reject"] == ["9.8.7.6"]
    allowed = [rule for rule in rules if rule["action"] == "allow"]
    assert allowed[0]["destination"] == "10.90.1.2-10.90.1.254"
    assert {(rule["destination"], rule["destination_port"], rule["protocol"]) for rule in allowed[2:]} == {
        ("10.0.0.53", "53", "tcp"),
        ("10.0.0.53", "53", "udp"),
    }


def test_hosts_ask_resolvers_they_can_reach_else_the_gateway() -> None:
    text = "# generated\nsearch example.org\nnameserver 127.0.0.53\nnameserver 192.168.1.2\nnameserver fe80::1%eth0\nnameserver 10.0.0.53\n"
    found = usable_nameservers(resolv_conf_text=text, addresses=[IPv4Address("192.168.1.2")])
    assert found == (IPv4Address("10.0.0.53"),)
    assert resolv_conf(cidr="10.90.1.0/24", nameservers=found) == b"nameserver 10.0.0.53\n"
    assert resolv_conf(cidr="10.90.1.0/24", nameservers=()) == b"nameserver 10.90.1.1\n"


def test_the_machines_addresses_are_read_from_the_kernel_or_the_server() -> None:
    trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 192.0.2.0/24 2 0 2\n"
    trie += "        |-- 192.0.2.2\n           /32 host LOCAL\n        |-- 192.0.2.255\n           /32 link BROADCAST\n"
    assert addresses_in(fib_trie=trie) == (IPv4Address("192.0.2.2"),)
    states: list[dict[str, Any]] = [
        {"addresses": [{"family": "inet", "address": "9.8.7.6"}, {"family": "inet6", "address": "fe80::1"}]},
        {"addresses": None},
    ]
    assert server_addresses(states=states) == (IPv4Address("9.8.7.6"),)


@pytest.mark.parametrize(
    ("text", "size"), [("5GiB", 5 * 2**30), ("256MiB", 256 * 2**20), ("500MB", 500_000_000), ("1024", 1024), ("1.5GiB", 3 * 2**29)]
)
def test_sizes_are_read_as_incus_writes_them(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


def test_hosts_without_limits_count_by_what_they_use() -> None:
    usage = {"memory": {"usage": 300}, "disk": {"root": {"usage": 700}}}
    client = IncusClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"type": "sync", "metadata": usage})))
    root = {"type": "disk", "path": "/"}
    instances: list[dict[str, Any]] = [
        {
            "name": "limited",
            "project": "p",
            "location": "one",
            "expanded_config": {"limits.cpu": "0-2,5", "limits.memory": "1KiB"},
            "expanded_devices": {"root": {**root, "size": "2KiB"}},
        },
        {"name": "free", "project": "p", "location": "one", "expanded_config": {}, "expanded_devices": {"root": root}},
    ]
    amount = promised(client=client, instances=instances)["one"]
    assert (amount.vcpus, amount.memory, amount.disk) == (5, 1324, 2748)


@pytest.mark.parametrize("options", [{"cpu_ratio": "many"}, {"memory_ratio": "0"}, {"disk_ratio": "-1"}, {"reserved_memory_mib": "-5"}])
def test_ratios_that_are_no_ratios_are_said(options: dict[str, str]) -> None:
    with pytest.raises(CloudRefused):
        Ratios.of(options)


def test_names_carry_ids_and_fit() -> None:
    assert project_name(OWNER) == f"carina-c0de-{OWNER.tenant[:12]}"
    assert bridge_name(OWNER)[2:] == OWNER.bay[:12]
    assert len(bridge_name(OWNER)) <= 15


def test_a_cloud_without_socket_or_address_is_refused_and_the_registry_knows_incus() -> None:
    with pytest.raises(CloudRefused):
        load_provider(kind="incus")(CloudAccess(name="empty", installation="c0de", settings={}, secrets={}))


def test_secrets_do_not_show_in_the_access() -> None:
    access = CloudAccess(name="x", installation="c0de", settings={}, secrets={"client_key": "very secret"})
    assert "very secret" not in repr(access)
    assert "certificate" not in repr(spec().files)
