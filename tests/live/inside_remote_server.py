"""Run by test_incus_machine.py inside a machine of its own: an Incus reached over HTTPS, then as a cluster. Not collected alone."""

import datetime as dt
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.hosts.contracts import CloudCredentialsRejected, CloudRefused, CloudUnreachable, NoCapacity, PowerState
from apps.hosts.providers.base import CloudAccess
from apps.hosts.providers.incus import IncusProvider
from apps.hosts.providers.incus.client import LocalTransport
from tests.live.reach import new_host, new_network

SOCKET, POOL, IMAGE = (os.environ.get(f"CARINA_TEST_INCUS_{name}", "") for name in ("SOCKET", "POOL", "IMAGE"))
ADDRESS = "127.0.0.1:8443"


def new_identity() -> tuple[str, str]:
    """A self-signed client certificate and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.fromtimestamp(time.time(), tz=dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "portal")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


@pytest.fixture(scope="module")
def root() -> Iterator[httpx.Client]:
    """The administrator at the server's own socket."""
    with httpx.Client(transport=LocalTransport(path=SOCKET), base_url="http://incus", timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def identity(root: httpx.Client) -> tuple[str, str]:
    """A client certificate the server trusts."""
    root.patch("/1.0", json={"config": {"core.https_address": ADDRESS}}).raise_for_status()
    certificate, key = new_identity()
    body = "".join(certificate.splitlines()[1:-1])
    root.post("/1.0/certificates", json={"name": "portal", "type": "client", "certificate": body}).raise_for_status()
    return certificate, key


def remote(root: httpx.Client, *, identity: tuple[str, str], server_certificate: str = "") -> IncusProvider:
    pinned = server_certificate or root.get("/1.0").json()["metadata"]["environment"]["certificate"]
    settings = {"url": f"https://{ADDRESS}", "pool": POOL, "server_certificate": pinned, "nameservers": "11.0.0.53"}
    secrets = {"client_certificate": identity[0], "client_key": identity[1]}
    return IncusProvider(CloudAccess(name="remote", installation="c0de", settings=settings, secrets=secrets))


def whole_life(provider: IncusProvider, *, cidr: str, aggregate: str = "") -> None:
    network = new_network(cidr=IPv4Network(cidr))
    host = new_host(network=network, number=1, image=IMAGE)
    host = replace(host, aggregate=aggregate)
    before = provider.discover().aggregates[0]
    for _ in range(2):
        provider.ensure_network(network)
        assert provider.ensure_host(host).power is PowerState.RUNNING
    assert [state.address for state in provider.list_hosts(host.owner)] == [host.address]
    assert provider.discover().aggregates[0].free_memory_mib == before.free_memory_mib - host.size.memory_mib
    for _ in range(2):
        provider.remove_host(host.owner, host.ref)
        provider.remove_network(host.owner)
    assert provider.leftovers(host.owner) == []


def test_a_bay_lives_and_dies_on_a_server_reached_over_https(root: httpx.Client, identity: tuple[str, str]) -> None:
    provider = remote(root, identity=identity)
    assert not provider.reaches_hosts_directly
    whole_life(provider, cidr="10.61.3.0/24")
    provider.close()


def test_a_certificate_the_server_does_not_trust_is_said(root: httpx.Client, identity: tuple[str, str]) -> None:
    stranger = remote(root, identity=new_identity())
    with pytest.raises(CloudCredentialsRejected):
        stranger.discover()
    with pytest.raises(CloudCredentialsRejected):
        stranger.list_hosts(new_network(cidr=IPv4Network("10.61.3.0/24")).owner)
    stranger.close()


def test_a_server_that_shows_another_certificate_is_not_spoken_to(root: httpx.Client, identity: tuple[str, str]) -> None:
    deceived = remote(root, identity=identity, server_certificate=new_identity()[0])
    with pytest.raises(CloudCredentialsRejected):
        deceived.discover()
    deceived.close()


def test_garbage_for_a_certificate_is_said(root: httpx.Client, identity: tuple[str, str]) -> None:
    with pytest.raises(CloudCredentialsRejected):
        remote(root, identity=("garbage", "garbage"))
    with pytest.raises(CloudCredentialsRejected):
        remote(root, identity=(identity[0], new_identity()[1]))


def test_an_address_without_tls_is_refused() -> None:
    with pytest.raises((CloudRefused, CloudCredentialsRejected)):
        IncusProvider(CloudAccess(name="plain", installation="c0de", settings={"url": "http://127.0.0.1:8443"}, secrets={}))


def test_a_closed_port_is_unreachable(identity: tuple[str, str]) -> None:
    settings, secrets = {"url": "https://127.0.0.1:9"}, {"client_certificate": identity[0], "client_key": identity[1]}
    nobody = IncusProvider(CloudAccess(name="nobody", installation="c0de", settings=settings, secrets=secrets))
    with pytest.raises(CloudUnreachable):
        nobody.discover()
    nobody.close()


def test_a_bay_lives_and_dies_on_one_member_of_a_cluster(root: httpx.Client, identity: tuple[str, str]) -> None:
    root.patch("/1.0", json={"config": {"cluster.https_address": ADDRESS}}).raise_for_status()
    operation = root.put("/1.0/cluster", json={"server_name": "one", "enabled": True}).raise_for_status().json()["operation"]
    assert root.get(f"{operation}/wait").json()["metadata"]["status_code"] == 200
    provider = remote(root, identity=identity)
    deadline = time.monotonic() + 20
    while True:  # a member counts from its first heartbeat on
        (aggregate,) = provider.discover().aggregates
        if aggregate.servers or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert (aggregate.name, aggregate.servers) == ("default", 1)
    whole_life(provider, cidr="10.61.4.0/24", aggregate="default")
    network = new_network(cidr=IPv4Network("10.61.5.0/24"))
    provider.ensure_network(network)
    with pytest.raises(NoCapacity):
        provider.ensure_host(replace(new_host(network=network, number=1, image=IMAGE), aggregate="no-such-group"))
    provider.remove_network(network.owner)
    provider.close()
