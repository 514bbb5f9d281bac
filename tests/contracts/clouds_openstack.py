"""A real OpenStack under the provider contract suite; what is not the provider's own work is done by openstacksdk, by itself or as admin.

It is the tests' own lab (tests/live/openstack/lab), or the one a clouds.yaml in CARINA_TEST_OPENSTACK_CLOUDS_YAML leads to; then
CARINA_TEST_OPENSTACK_PORTAL, _ADMIN, _NETWORK, _EXTERNAL_NETWORK, _IMAGE and _FLAVOR name what is not called as in the lab. Hypervisors
are fake: Nova, Neutron, Placement, Glance and Keystone are real, and nothing boots. What only a booted host can show (its services answer
at the public address, its files lie on its disk) is shown by tests/live/openstack/test_real_hosts.py.
"""

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from apps.hosts.contracts import HostKind, HostSize, HostSpec, NetworkSpec, Owner, PowerState
from apps.hosts.providers.base import CloudAccess, Provider
from apps.hosts.providers.openstack import OpenStackProvider
from apps.hosts.providers.openstack.naming import bay_name, mark
from apps.hosts.providers.openstack.session import connect
from tests.live.openstack.running import the_lab

PATIENCE_SECONDS, PAUSE_SECONDS = 150.0, 0.2
KINDS = ("ports", "floatingips", "networks", "subnets", "routers", "security-groups")
UNREACHABLE = "http://127.0.0.1:9/v3"  # the discard port, where nobody listens
NETWORK_KINDS = {"networks": "network", "security-groups": "security_group"}
COMPUTE = "2.79"


class OpenStackUnderTest:
    """One project of an OpenStack; bays share a network, or have `own_networks`."""

    lacks: frozenset[HostKind] = frozenset()
    names_are_unique, rewrites_files, chooses_addresses, never_runs_guests = False, False, True, True
    after_crash = frozenset({PowerState.STARTING, PowerState.RUNNING})

    def __init__(self, *, own_networks: bool) -> None:
        given = os.environ.get("CARINA_TEST_OPENSTACK_CLOUDS_YAML")
        self._lab = None if given else the_lab()
        clouds_yaml = self._lab.clouds_yaml if self._lab else Path(given or "")
        entries = yaml.safe_load(clouds_yaml.read_text(encoding="utf-8"))["clouds"]
        self._portal, self._admin_entry = entries[_named("PORTAL", "carina")], entries[_named("ADMIN", "admin")]
        self.image = _named("IMAGE", "carina-node-swarm")
        self._network = "" if own_networks else _named("NETWORK", "carina-net")
        self._external = _named("EXTERNAL_NETWORK", "public") if own_networks else ""
        self._providers: list[Provider] = []
        self._put_back: list[Callable[[], object]] = []
        self.admin = connect(_access("contract-admin", self._admin_entry))
        self.user = connect(_access("contract-user", self._portal))
        flavor = self.admin.compute.find_flavor(_named("FLAVOR", "container1-4"), ignore_missing=False, get_extra_specs=True)
        self.flavor: str = flavor.id
        self.size = HostSize(vcpus=flavor.vcpus, memory_mib=flavor.ram, disk_gib=flavor.disk, processes=500)
        wanted = flavor.extra_specs["aggregate_instance_extra_specs:container_host"]
        self.aggregate: str = next(
            each.name for each in self.admin.compute.aggregates() if (each.metadata or {}).get("container_host") == wanted
        )

    def provider(self, **settings: str) -> Provider:
        return self._provider(self._portal, **settings)

    def unreachable_provider(self) -> Provider:
        return self._provider({**self._portal, "auth": {**self._portal["auth"], "auth_url": UNREACHABLE}})

    def limit_hosts(self, network: NetworkSpec, hosts: int) -> NetworkSpec:
        """All bays of a cloud share one project, so the limit is the project's: so many more than it has now."""
        project = self.user.session.get_project_id()
        path, quotas = f"/os-quota-sets/{project}", self.admin.compute
        before = quotas.get(path, microversion=COMPUTE).json()["quota_set"]["instances"]
        others = sum(server["metadata"].get("carina_bay") != network.owner.bay for server in self._servers())
        self._put_back.append(lambda: quotas.put(path, json={"quota_set": {"instances": before}}, microversion=COMPUTE))
        quotas.put(path, json={"quota_set": {"instances": others + hosts, "force": True}}, microversion=COMPUTE)
        return network

    def crash_after_create(self, spec: HostSpec) -> None:
        """Nova takes a host and its files in one request: who died after it leaves a host that is on its way."""
        self.provider().ensure_host(spec)

    def make_foreign_host(self, spec: HostSpec) -> None:
        network = self._port_of(spec)["network_id"]
        image = self.user.image.get(f"/images?carina_image={self.image}&carina_host_kind={spec.kind}").json()["images"][0]["id"]
        body = {"name": spec.ref, "imageRef": image, "flavorRef": spec.flavor, "networks": [{"uuid": network}]}
        self.user.compute.post("/servers", json={"server": body}, microversion=COMPUTE).raise_for_status()

    def make_foreign_network(self, spec: NetworkSpec) -> None:
        for kind, single in NETWORK_KINDS.items():
            self.user.network.post(f"/{kind}", json={single: {"name": bay_name(spec.owner)}}).raise_for_status()

    def drop_foreign(self, spec: HostSpec | NetworkSpec) -> None:
        if isinstance(spec, HostSpec):
            for server in self._servers(name=spec.ref):
                if not server["metadata"]:
                    self.user.compute.delete(f"/servers/{server['id']}")
                    self._wait(lambda gone=server["id"]: all(each["id"] != gone for each in self._servers()))  # type: ignore[misc]
            return
        for kind in NETWORK_KINDS:
            for thing in self.user.network.get(f"/{kind}", params={"name": bay_name(spec.owner)}).json()[kind.replace("-", "_")]:
                if not thing["description"]:
                    self.user.network.delete(f"/{kind}/{thing['id']}")

    def power_off(self, spec: HostSpec) -> None:
        self._act(spec, {"os-stop": None}, "SHUTOFF")

    def restart(self, spec: HostSpec) -> None:
        self._act(spec, {"reboot": {"type": "HARD"}}, "ACTIVE")

    def read_file(self, spec: HostSpec, path: str) -> bytes:
        """What cloud-init on the host is told to write, as the cloud holds it."""
        server = self.admin.compute.get(f"/servers/{self._server(spec)['id']}", microversion=COMPUTE).json()["server"]
        config = yaml.safe_load(base64.b64decode(server["OS-EXT-SRV-ATTR:user_data"]))
        return next(base64.b64decode(file["content"]) for file in config["write_files"] if file["path"] == path)

    def real_address(self, spec: HostSpec) -> str:
        """The address of the port that Nova plugged into the host."""
        server = self._server(spec)
        ports = self.admin.network.get("/ports", params={"device_id": server["id"]}).json()["ports"]
        return ",".join(fixed["ip_address"] for port in ports for fixed in port["fixed_ips"])

    def take_away(self, spec: HostSpec) -> None:
        self.user.network.delete(f"/ports/{self._port_of(spec)['id']}").raise_for_status()

    @contextmanager
    def building_takes_for_ever(self) -> Iterator[None]:
        """Meanwhile no hypervisor of the aggregate ends a build; skips the test on an OpenStack whose hypervisors cannot be told."""
        if self._lab is None:
            pytest.skip("only the hypervisors of the tests' own OpenStack can be told to hang")
        hosts = [host.name for host in self._lab.hosts.values() if host.aggregate == self.aggregate]
        assert hosts
        for host in hosts:
            self._lab.misbehave(host=host, spawn="hang")
        try:
            yield
        finally:
            self._lab.behave()

    def everything_of(self, owner: Owner) -> set[str]:
        """By mark, and by name where a stranger might have taken it."""
        names = {server["name"] for server in self._servers() if server["name"].endswith(owner.bay[:6])}
        groups = self.user.compute.get("/os-server-groups", microversion=COMPUTE).json()["server_groups"]
        names |= {f"server group {group['name']}" for group in groups if owner.bay in group["name"]}
        for kind in KINDS:
            for thing in self.user.network.get(f"/{kind}").json()[kind.replace("-", "_")]:
                if thing["description"] == mark(owner) or thing.get("name") == bay_name(owner):
                    names.add(f"{kind} {thing['id']}")
        return names

    def serves(self, spec: HostSpec) -> bool:
        """Whether the public address leads to the host: nothing on a fake hypervisor could answer there."""
        assert spec.publication is not None
        ports = self.user.network.get("/ports", params={"description": mark(spec.owner), "name": spec.ref}).json()["ports"]
        ids, addresses = {port["id"] for port in ports}, {each["ip_address"] for port in ports for each in port["fixed_ips"]}
        if not self._external:
            return spec.publication.address in addresses
        floating = self.user.network.get("/floatingips", params={"floating_ip_address": spec.publication.address}).json()["floatingips"]
        return any(each["port_id"] in ids for each in floating)

    def free_port(self) -> int:
        return 2376

    def close(self) -> None:
        for put_back in self._put_back:
            put_back()
        for provider in self._providers:
            provider.close()
        self.admin.close()
        self.user.close()

    def _provider(self, entry: dict[str, Any], **settings: str) -> Provider:
        discovery = _access("contract", self._admin_entry, prefix="discovery_")
        own = {"external_network": self._external} if self._external else {"network": self._network}
        access = _access("contract", entry, **own, **discovery.settings, **settings)
        access = CloudAccess(
            name=access.name, installation=access.installation, settings=access.settings, secrets={**access.secrets, **discovery.secrets}
        )
        self._providers.append(cast("Provider", OpenStackProvider(access)))
        return self._providers[-1]

    def _servers(self, **query: str) -> list[dict[str, Any]]:
        servers: list[dict[str, Any]] = self.user.compute.get("/servers/detail", params=query, microversion=COMPUTE).json()["servers"]
        return servers

    def _server(self, spec: HostSpec) -> dict[str, Any]:
        return next(server for server in self._servers() if server["metadata"].get("carina_ref") == spec.ref)

    def _port_of(self, spec: HostSpec) -> dict[str, Any]:
        ports = self.user.network.get("/ports", params={"description": mark(spec.owner), "name": spec.ref}).json()["ports"]
        return cast("dict[str, Any]", ports[0])

    def _act(self, spec: HostSpec, action: dict[str, Any], status: str) -> None:
        server = self._server(spec)["id"]
        self.user.compute.post(f"/servers/{server}/action", json=action, microversion=COMPUTE).raise_for_status()
        self._wait(lambda: (self._server(spec)["status"], self._server(spec)["OS-EXT-STS:task_state"]) == (status, None))

    @staticmethod
    def _wait(until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not until():
            assert time.monotonic() < deadline, "the cloud takes too long"
            time.sleep(PAUSE_SECONDS)


def _access(name: str, entry: dict[str, Any], *, prefix: str = "", **settings: str) -> CloudAccess:
    auth = {key: value for key, value in entry["auth"].items() if key != "password"}
    config = json.dumps({**entry, "auth": auth})
    return CloudAccess(
        name=name,
        installation="c0de",
        settings={f"{prefix}config": config, "timeout": "120", **settings},  # the machine is busy with an OpenStack and its tests
        secrets={f"{prefix}password": entry["auth"]["password"]},
    )


def _named(what: str, default: str) -> str:
    return os.environ.get(f"CARINA_TEST_OPENSTACK_{what}", default)
