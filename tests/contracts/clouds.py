"""What the provider contract suite needs of a cloud besides its provider: crashes, strangers, and a look that does not go through it."""

import os
import socket
import time
from dataclasses import replace
from typing import Any, Protocol

import httpx
import pytest

from apps.hosts.contracts import HostKind, HostSize, HostSpec, NetworkSpec, Owner, PowerState
from apps.hosts.providers.base import CloudAccess, Provider
from apps.hosts.providers.incus import IncusProvider
from apps.hosts.providers.incus.client import IncusClient
from apps.hosts.providers.incus.inspection import run_inside
from apps.hosts.providers.incus.instances import instance_config, instance_devices
from apps.hosts.providers.incus.naming import INCUS, bridge_name, project_name
from tests.contracts.bays import SMALL
from tests.doubles import memory_provider
from tests.doubles.memory_provider import MemoryHost, MemoryProvider, cloud_named

INCUS_ENVIRONMENT = ("CARINA_TEST_INCUS_SOCKET", "CARINA_TEST_INCUS_POOL", "CARINA_TEST_INCUS_IMAGE")


class Cloud(Protocol):
    """A cloud under test, and where clouds may differ."""

    image: str
    flavor: str
    """The cloud's own flavor for a host, empty where it has none; `size` is what that flavor has."""
    size: HostSize
    aggregate: str
    """Where hosts land, empty where there is only one aggregate."""
    names_are_unique: bool
    """Whether two things of one name cannot exist, so that a stranger's is in the way."""
    rewrites_files: bool
    """Whether a stopped host can be given other files."""
    chooses_addresses: bool
    """Whether it is the cloud that says which addresses are free, and a reservation is more than a number."""
    lacks: frozenset[HostKind]
    """Kinds of hosts it does not have."""
    after_crash: frozenset[PowerState]
    """How a host may be whose maker died right after asking for it."""
    never_runs_guests: bool
    """Whether its hypervisors only pretend, so that nothing on a host can be asked."""

    def provider(self) -> Provider:
        """A new provider, as another worker would have one."""
        ...

    def unreachable_provider(self) -> Provider: ...

    def limit_hosts(self, network: NetworkSpec, hosts: int) -> NetworkSpec:
        """Let the bay's tenant have only so many hosts; returns the network to ensure."""
        ...

    def crash_after_create(self, spec: HostSpec) -> None:
        """Leave the host behind as a worker that died between create and the first file."""
        ...

    def make_foreign_host(self, spec: HostSpec) -> None:
        """An instance of just that name in the same place, made by somebody else."""
        ...

    def make_foreign_network(self, spec: NetworkSpec) -> None: ...

    def drop_foreign(self, spec: HostSpec | NetworkSpec) -> None: ...

    def power_off(self, spec: HostSpec) -> None: ...

    def restart(self, spec: HostSpec) -> None: ...

    def read_file(self, spec: HostSpec, path: str) -> bytes: ...

    def real_address(self, spec: HostSpec) -> str:
        """The address the host itself has, seen without the provider."""
        ...

    def take_away(self, spec: HostSpec) -> None:
        """Delete what was reserved for the host."""
        ...

    def everything_of(self, owner: Owner) -> set[str]:
        """Names of all that exists for the bay or its tenant, seen without the provider."""
        ...

    def serves(self, spec: HostSpec) -> bool:
        """Whether a service on the host's published port answers at the published address."""
        ...

    def free_port(self) -> int: ...

    def close(self) -> None:
        """Give back every connection, those of its providers too."""
        ...


class MemoryCloudUnderTest:
    """The double."""

    image = "node-swarm"
    flavor, size, aggregate = "", SMALL, ""
    names_are_unique, rewrites_files, chooses_addresses, never_runs_guests = True, True, False, False
    lacks = frozenset({HostKind.VM, HostKind.BAREMETAL})
    after_crash = frozenset({PowerState.STOPPED})

    def __init__(self, *, slow_starts: int = 0) -> None:
        self._access = CloudAccess(name=f"contract-{id(self)}", installation="c0de", settings={}, secrets={})
        self._cloud = cloud_named(name=self._access.name)
        self._cloud.slow_starts = slow_starts

    def provider(self) -> Provider:
        return MemoryProvider(self._access)

    def unreachable_provider(self) -> Provider:
        access = CloudAccess(name="contract-unreachable", installation="c0de", settings={}, secrets={})
        cloud_named(name=access.name).reachable = False
        return MemoryProvider(access)

    def limit_hosts(self, network: NetworkSpec, hosts: int) -> NetworkSpec:
        return with_hosts(network, hosts)

    def crash_after_create(self, spec: HostSpec) -> None:
        self._cloud.hosts[memory_provider.project_name(spec.owner), spec.ref] = MemoryHost(spec=spec, owner=spec.owner)

    def make_foreign_host(self, spec: HostSpec) -> None:
        self._cloud.hosts[memory_provider.project_name(spec.owner), spec.ref] = MemoryHost(spec=spec, owner=None)

    def make_foreign_network(self, spec: NetworkSpec) -> None:
        self._cloud.networks[memory_provider.network_name(spec.owner)] = (None, spec.cidr)

    def drop_foreign(self, spec: HostSpec | NetworkSpec) -> None:
        if isinstance(spec, HostSpec):
            del self._cloud.hosts[memory_provider.project_name(spec.owner), spec.ref]
        else:
            del self._cloud.networks[memory_provider.network_name(spec.owner)]

    def power_off(self, spec: HostSpec) -> None:
        self._cloud.stop(ref=spec.ref)

    def restart(self, spec: HostSpec) -> None:
        self._host(spec).power = PowerState.RUNNING

    def read_file(self, spec: HostSpec, path: str) -> bytes:
        return self._host(spec).files[path]

    def real_address(self, spec: HostSpec) -> str:
        return self._host(spec).spec.address

    def take_away(self, spec: HostSpec) -> None:
        raise AssertionError("nothing is reserved in memory")

    def everything_of(self, owner: Owner) -> set[str]:
        project, network = memory_provider.project_name(owner), memory_provider.network_name(owner)
        names = {ref for other, ref in self._cloud.hosts if other == project}
        return names | {project} & set(self._cloud.limits) | {network} & set(self._cloud.networks)

    def serves(self, spec: HostSpec) -> bool:
        host = self._cloud.hosts.get((memory_provider.project_name(spec.owner), spec.ref))
        return host is not None and host.power is PowerState.RUNNING and host.spec.publication == spec.publication

    def free_port(self) -> int:
        return 30001

    def close(self) -> None:
        """There is nothing to give back."""

    def _host(self, spec: HostSpec) -> MemoryHost:
        return self._cloud.hosts[memory_provider.project_name(spec.owner), spec.ref]


class IncusUnderTest:
    """A real Incus, named by the environment. What is not the provider's own work is done by plain requests."""

    flavor, size, aggregate = "", SMALL, ""
    names_are_unique, rewrites_files, chooses_addresses, never_runs_guests = True, True, False, False
    lacks = frozenset({HostKind.VM, HostKind.BAREMETAL})
    after_crash = frozenset({PowerState.STOPPED})

    def __init__(self) -> None:
        missing = [name for name in INCUS_ENVIRONMENT if not os.environ.get(name)]
        if missing:
            pytest.skip(f"No Incus to test against: set {', '.join(missing)}.")
        self.socket, self.pool, self.image = (os.environ[name] for name in INCUS_ENVIRONMENT)
        self.client = IncusClient.local(path=self.socket)
        self._http = httpx.Client(transport=httpx.HTTPTransport(uds=self.socket), base_url="http://incus", timeout=60)
        self._providers: list[Provider] = []

    def provider(self) -> Provider:
        return self._provider(self.socket)

    def unreachable_provider(self) -> Provider:
        return self._provider(f"{self.socket}.nobody")

    def close(self) -> None:
        for provider in self._providers:
            provider.close()
        self.client.close()
        self._http.close()

    def limit_hosts(self, network: NetworkSpec, hosts: int) -> NetworkSpec:
        return with_hosts(network, hosts)

    def crash_after_create(self, spec: HostSpec) -> None:
        self._create(spec, config=instance_config(spec=spec, dialect=INCUS, nameservers=""))

    def make_foreign_host(self, spec: HostSpec) -> None:
        config = instance_config(spec=spec, dialect=INCUS, nameservers="")
        self._create(spec, config={key: value for key, value in config.items() if not key.startswith("user.")})

    def make_foreign_network(self, spec: NetworkSpec) -> None:
        config = {"ipv4.address": "none", "ipv6.address": "none"}
        self.raw("POST", "networks", json={"name": bridge_name(spec.owner), "type": "bridge", "config": config})

    def drop_foreign(self, spec: HostSpec | NetworkSpec) -> None:
        if isinstance(spec, HostSpec):
            self.raw("DELETE", f"instances/{spec.ref}", params={"project": project_name(spec.owner)})
        else:
            self.raw("DELETE", f"networks/{bridge_name(spec.owner)}")

    def power_off(self, spec: HostSpec) -> None:
        self._power(spec, "stop")

    def restart(self, spec: HostSpec) -> None:
        self._power(spec, "restart")

    def read_file(self, spec: HostSpec, path: str) -> bytes:
        query = {"project": project_name(spec.owner), "path": path}
        return self._http.get(f"/1.0/instances/{spec.ref}/files", params=query).raise_for_status().content

    def real_address(self, spec: HostSpec) -> str:
        state = self.raw("GET", f"instances/{spec.ref}/state", params={"project": project_name(spec.owner)})
        addresses = [each["address"] for each in state["network"]["eth0"]["addresses"] if each["family"] == "inet"]
        return ",".join(addresses)

    def take_away(self, spec: HostSpec) -> None:
        raise AssertionError("nothing is reserved in Incus")

    def everything_of(self, owner: Owner) -> set[str]:
        names = {each["name"] for each in self.raw("GET", "instances", params={"project": project_name(owner), "recursion": "1"})}
        for path, name in (("projects", project_name(owner)), ("networks", bridge_name(owner)), ("network-acls", bridge_name(owner))):
            if self._http.get(f"/1.0/{path}/{name}").is_success:
                names.add(f"{path}/{name}")
        volumes = self.raw("GET", f"storage-pools/{self.pool}/volumes", params={"all-projects": "true", "recursion": "1"})
        return names | {f"volume {each['name']}" for each in volumes if each["project"] == project_name(owner)}

    def serves(self, spec: HostSpec) -> bool:
        publication = spec.publication
        assert publication is not None
        server = (
            "use IO::Socket::INET;"
            "my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => shift, Listen => 5, ReuseAddr => 1);"
            "while (my $c = $l->accept) { print $c 'served'; close $c }"
        )
        if self.everything_of(spec.owner) & {spec.ref}:
            self.inside(spec, "systemd-run", "--quiet", "--collect", "perl", "-e", server, str(publication.host_port))
        for _ in range(20):
            try:
                with socket.create_connection((publication.address, publication.port), timeout=2) as connection:
                    if connection.recv(6) == b"served":
                        return True
            except OSError:
                pass
            if not self.everything_of(spec.owner) & {spec.ref}:
                return False
            time.sleep(0.1)
        return False

    def free_port(self) -> int:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
            return port

    def inside(self, spec: HostSpec, *command: str) -> tuple[int, str]:
        """Run a program on the host; exit status and output."""
        return run_inside(client=self.client, owner=spec.owner, ref=spec.ref, command=command)

    def raw(self, method: str, path: str, **request: Any) -> Any:
        """One request, waited for, its metadata."""
        answer = self._http.request(method, f"/1.0/{path}", **request).json()
        assert answer["type"] != "error", f"{method} {path}: {answer['error']}"
        if answer["type"] != "async":
            return answer["metadata"]
        done = self._http.get(f"{answer['operation'].partition('?')[0]}/wait").json()
        assert done["type"] != "error", f"{method} {path}: {done['error']}"
        assert done["metadata"]["status_code"] == 200, f"{method} {path}: {done['metadata']['err']}"
        return done["metadata"]

    def _provider(self, socket_path: str) -> Provider:
        settings = {"socket": socket_path, "pool": self.pool}
        self._providers.append(IncusProvider(CloudAccess(name="contract", installation="c0de", settings=settings, secrets={})))
        return self._providers[-1]

    def _create(self, spec: HostSpec, *, config: dict[str, str]) -> None:
        body = {
            "name": spec.ref,
            "type": "container",
            "source": {"type": "image", "alias": spec.image},
            "profiles": [],
            "config": config,
            "devices": instance_devices(spec=spec, pool=self.pool),
        }
        self.raw("POST", "instances", params={"project": project_name(spec.owner)}, json=body)

    def _power(self, spec: HostSpec, action: str) -> None:
        body = {"action": action, "force": True, "timeout": 20}
        self.raw("PUT", f"instances/{spec.ref}/state", params={"project": project_name(spec.owner)}, json=body)


def with_hosts(network: NetworkSpec, hosts: int) -> NetworkSpec:
    """The network of a tenant that may have so many hosts, where that is said with the network."""
    return replace(network, limits=replace(network.limits, hosts=hosts))
