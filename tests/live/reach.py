"""Who reaches whom: tried with real TCP connections from inside real hosts."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from threading import Thread
from uuid import uuid4

from apps.hosts.contracts import HostKind, HostSize, HostSpec, NetworkSpec, Owner, TenantLimits
from apps.hosts.providers.incus.client import IncusClient
from apps.hosts.providers.incus.inspection import run_inside

LIMITS = TenantLimits(hosts=5, vcpus=10, memory_mib=4096, processes=5000)
SIZE = HostSize(vcpus=1, memory_mib=256, disk_gib=2, processes=400)
ENGINE_PORT = 2376
EVERYWHERE = "0.0.0.0"  # noqa: S104  # the point of these tests
SERVER = (
    "use IO::Socket::INET;"
    "my $l = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => shift, Listen => 5, ReuseAddr => 1);"
    "while (my $c = $l->accept) { close $c }"
)


def new_network(*, cidr: IPv4Network, installation: str = "c0de") -> NetworkSpec:
    """The network of a new bay of a new tenant."""
    owner = Owner(installation=installation, tenant=uuid4().hex, bay=uuid4().hex)
    return NetworkSpec(owner=owner, cidr=str(cidr), limits=LIMITS)


def new_host(*, network: NetworkSpec, number: int, image: str) -> HostSpec:
    """The host `number` of that bay."""
    return HostSpec(
        owner=network.owner,
        ref=f"web-{number}-{network.owner.bay[:6]}",
        hostname=f"web-{number}",
        kind=HostKind.CONTAINER,
        image=image,
        size=SIZE,
        cidr=network.cidr,
        address=str(IPv4Network(network.cidr)[10 + number]),
        files=(),
    )


class Inside:
    """Programs on hosts."""

    def __init__(self, *, client: IncusClient) -> None:
        self._client = client

    def run(self, host: HostSpec, *command: str) -> tuple[int, str]:
        """Run one; its exit status and output."""
        return run_inside(client=self._client, owner=host.owner, ref=host.ref, command=command)

    def serve(self, host: HostSpec, *, port: int = ENGINE_PORT) -> None:
        """Let something listen on all the host's addresses, as its engine does, and wait until it is."""
        until = time.monotonic() + 10
        # The host's own service manager has to be up first.
        while self.run(host, "systemd-run", "--quiet", "--collect", "perl", "-e", SERVER, str(port))[0]:
            assert time.monotonic() < until, "the host's init did not come up"
            time.sleep(0.1)
        while not self.connects(host, "127.0.0.1", port=port):
            assert time.monotonic() < until, "the listener did not come up"
            time.sleep(0.05)

    def connects(self, host: HostSpec, address: str, *, port: int = ENGINE_PORT) -> bool:
        """Whether a TCP connection from the host to there succeeds within two seconds."""
        return self.run(host, "timeout", "2", "bash", "-c", f"exec 3<>'/dev/tcp/{address}/{port}'")[0] == 0


@contextmanager
def listening(address: str = EVERYWHERE, *, port: int = 0) -> Iterator[int]:
    """A service of the machine on `address` (by default on every one; "::" for every one of IPv6); yields its port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        thread = Thread(target=_accept, args=(listener,))
        thread.start()
        chosen: int = listener.getsockname()[1]
        try:
            # From here it answers: what a host does not reach is not for want of a listener.
            with socket.create_connection(({"::": "::1", EVERYWHERE: "127.0.0.1"}.get(address, address), chosen), timeout=2):
                yield chosen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.close()
