"""Where the lab is: its directory, its address and ports, its passwords. Everything is its own, so that it disturbs nothing else here."""

import contextlib
import hashlib
import os
import secrets
import socket
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from carina_portal.embedded.layout import ROOT, EmbeddedError, cache_dir

ADDRESS = os.environ.get("CARINA_TEST_OPENSTACK_ADDRESS", "127.0.0.77")
"""Every service listens here, on OpenStack's usual ports: another OpenStack on 127.0.0.1 is not disturbed.

Two labs on one machine need two addresses of 127.0.0.0/24; see `Lab` about their state.
"""
NUMBER = int(ADDRESS.rsplit(".", 1)[1])

PORTS = {"identity": 5000, "compute": 8774, "placement": 8778, "image": 9292, "network": 9696, "mariadb": 3306, "rabbit": 5672}
EPMD_PORT, ERLANG_PORT = (
    4300 + NUMBER,
    25600 + NUMBER,
)  # Erlang's name server always listens on 127.0.0.1, too, so its port is not the usual one

BRIDGE = f"carinaos{NUMBER}"
REGION = "RegionOne"
NET_CIDR, NET_GATEWAY, NET_POOL = "10.89.0.0/22", "10.89.0.1", ("10.89.0.50", "10.89.3.250")
PUBLIC_CIDR, PUBLIC_GATEWAY, PUBLIC_POOL = "10.90.0.0/22", "10.90.0.1", ("10.90.0.10", "10.90.3.250")

SERVICE_USERS = ("placement", "glance", "neutron", "nova")

# What the role of a container host is called in aggregates' metadata and flavors' extra specs.
EXTRA_SPEC = "aggregate_instance_extra_specs:container_host"


def default_state() -> Path:
    """Return the directory of the lab of this clone, or the one that CARINA_TEST_OPENSTACK_VAR names."""
    return Path(os.environ.get("CARINA_TEST_OPENSTACK_VAR") or ROOT / "var" / "openstack").resolve()


@dataclass(frozen=True)
class FakeHost:
    """A hypervisor without a machine. `metadata` is its aggregate's container_host; `exact` forbids to overcommit."""

    name: str
    aggregate: str
    metadata: str
    vcpus: int = 1000
    memory_mb: int = 800_000
    disk_gb: int = 600_000
    exact: bool = False


@dataclass(frozen=True)
class RealHost:
    """A hypervisor that boots instances. `aggregate` is also its aggregate's container_host and its flavor's name."""

    name: str
    aggregate: str
    virt_type: str


@dataclass(frozen=True)
class Credential:
    """An entry of clouds.yaml."""

    user: str
    project: str
    roles: tuple[str, ...] = ()


CREDENTIALS = {
    "admin": Credential("admin", "admin"),
    "carina": Credential("carina", "carina", ("member", "reader")),
    "carina-reader": Credential("carina-reader", "carina", ("reader", "carina_reader")),
    "stranger": Credential("stranger", "elsewhere", ("member", "reader")),
    "broken": Credential("carina", "carina"),
}
"""By name in clouds.yaml: who may do everything, a portal, a portal's eyes for aggregates and capacity, somebody else, a wrong password."""


@dataclass(frozen=True)
class Place:
    """The directories and secrets of one lab."""

    state: Path

    @property
    def etc(self) -> Path:
        """Configuration; holds passwords, so 0700."""
        return self.state / "etc"

    @property
    def logs(self) -> Path:
        """One log for each service."""
        return self.state / "log"

    @property
    def run(self) -> Path:
        """Locks."""
        return self.state / "run"

    @property
    def python(self) -> Path:
        """What Nova and Neutron import of ours."""
        return self.state / "python"

    @property
    def clouds_yaml(self) -> Path:
        """How to reach the lab, for openstacksdk."""
        return self.state / "clouds.yaml"

    @property
    def cache(self) -> Path:
        """What all labs of this user share and what can be made again."""
        return cache_dir() / "openstack"

    @cached_property
    def sockets(self) -> Path:
        """MariaDB's socket: elsewhere, because a clone's own path may be too long for one."""
        return Path("/run/carina") / f"openstack-{hashlib.sha256(str(self.state).encode()).hexdigest()[:8]}"

    @property
    def database_socket(self) -> Path:
        """How root reaches MariaDB."""
        return self.sockets / "mariadb.sock"

    @cached_property
    def password(self) -> str:
        """The password of every account, made once per user of this machine, because the cached database holds its hashes."""
        path = self.cache / "password"
        self.cache.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(16))
        return path.read_text().strip()

    def url(self, service: str) -> str:
        """Return where a service answers, without a path."""
        return f"http://{ADDRESS}:{PORTS[service]}"

    def create(self) -> None:
        """Make the directories. The databases run as users of their own, who must be able to enter."""
        for path in (self.state, self.logs, self.run, self.state / "nova", self.state / "neutron", self.state / "glance" / "images"):
            path.mkdir(parents=True, exist_ok=True)
        self.etc.mkdir(mode=0o700, exist_ok=True)
        for path in (self.sockets.parent, self.sockets):
            path.mkdir(mode=0o711, exist_ok=True)

    def check_ports(self) -> None:
        """Raise EmbeddedError if somebody listens where the lab would."""
        wanted = [(ADDRESS, port) for port in PORTS.values()] + [("127.0.0.1", EPMD_PORT), (ADDRESS, ERLANG_PORT)]
        for address, port in wanted:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError as error:
                    sentence = f"The test OpenStack needs {address} port {port}, but: {error.strerror}. `ss -ltnp` shows who listens there."
                    raise EmbeddedError(sentence) from None
