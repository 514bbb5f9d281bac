"""What an operator would have set up: aggregates, flavors, networks, images. Everything is found before it is made."""

import time
from collections.abc import Sequence

from openstack.connection import Connection
from openstack.exceptions import HttpException

from carina_portal.embedded.layout import EmbeddedError
from tests.live.openstack.lab.place import (
    EXTRA_SPEC,
    NET_CIDR,
    NET_GATEWAY,
    NET_POOL,
    PUBLIC_CIDR,
    PUBLIC_GATEWAY,
    PUBLIC_POOL,
    FakeHost,
)

HOSTS = (
    FakeHost("fake-lxc1", "carina-lxc", "lxc"),
    FakeHost("fake-vm1", "carina-vm", "vm"),
    FakeHost("fake-bm1", "carina-baremetal", "baremetal"),
    FakeHost("fake-lxc2", "carina-small", "small", vcpus=3, memory_mb=8192, disk_gb=100, exact=True),
)
"""The last one has room for three servers of the flavor small1-1."""

FLAVORS = {
    "container1-4": ("lxc", 1, 4096, 20),
    "vm1-1": ("vm", 1, 1024, 10),
    "metal1-16": ("baremetal", 8, 16384, 100),
    "small1-1": ("small", 1, 1024, 10),
    "plain1-1": ("", 1, 1024, 10),
}
"""By name: container_host or nothing, processors, MiB of memory, GiB of disk. plain1-1 has no extra specs: Nova may put it anywhere."""

IMAGES = {"container": "carina-swarm-container", "vm": "carina-swarm-vm", "baremetal": "carina-swarm-baremetal"}
"""By kind of host."""

RETRY_SECONDS = 60.0


def ensure(*, admin: Connection) -> None:
    """Make networks, flavors and images."""
    _ensure_networks(admin)
    _ensure_flavors(admin)
    known = {image.name for image in admin.image.images()}
    for kind, name in IMAGES.items():
        if name not in known:
            _make_image(admin, kind=kind, name=name)


def wait_for_hosts(*, admin: Connection, names: Sequence[str], seconds: float = 300) -> None:
    """Return once every hypervisor is up and Nova's cells know it; raises EmbeddedError."""
    deadline = time.monotonic() + seconds
    while True:
        up = {service.host for service in admin.compute.services(binary="nova-compute") if service.state == "up"}
        known = {str(hypervisor.name).split(".", 1)[0] for hypervisor in admin.compute.hypervisors()} if set(names) <= up else set()
        if set(names) <= known:
            return
        if time.monotonic() > deadline:
            absent = ", ".join(sorted(set(names) - known))
            raise EmbeddedError(f"Hypervisors that Nova does not know after {seconds:.0f} s: {absent}. Their logs are nova-compute-*.log.")
        time.sleep(0.3)


def ensure_aggregate(*, admin: Connection, name: str, container_host: str, hosts: Sequence[str]) -> None:
    """Make a host aggregate for what flavors call `container_host`, and put hosts into it."""
    found = next((aggregate for aggregate in admin.compute.aggregates() if aggregate.name == name), None)
    if found is None:
        found = admin.compute.create_aggregate(name=name)
        admin.compute.set_aggregate_metadata(found, container_host=container_host)
    for host in set(hosts) - set(found.hosts or []):
        _add_host(admin, aggregate=found.id, host=host)


def ensure_flavor(*, admin: Connection, name: str, metadata: str, vcpus: int, ram: int, disk: int) -> None:
    """Make a flavor that asks for aggregates with this container_host, or for nothing."""
    if name not in {flavor.name for flavor in admin.compute.flavors(is_public=None, get_extra_specs=False)}:
        flavor = admin.compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=disk)
        if metadata:
            admin.compute.create_flavor_extra_specs(flavor, {EXTRA_SPEC: metadata})


def _add_host(admin: Connection, *, aggregate: str, host: str) -> None:
    """Nova refuses for some seconds while Placement does not know the host yet."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            admin.compute.add_host_to_aggregate(aggregate, host)
        except HttpException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return


def _ensure_flavors(admin: Connection) -> None:
    for name, (metadata, vcpus, ram, disk) in FLAVORS.items():
        ensure_flavor(admin=admin, name=name, metadata=metadata, vcpus=vcpus, ram=ram, disk=disk)


def _ensure_networks(admin: Connection) -> None:
    """Make the provider network that everybody may use, and an external one for routers and floating addresses (Neutron's API only)."""
    _ensure_network(
        admin,
        options={"name": "carina-net", "shared": True, "port_security_enabled": False, "provider_physical_network": "physnet1"},
        subnet={"name": "carina-subnet", "cidr": NET_CIDR, "gateway_ip": NET_GATEWAY, "is_dhcp_enabled": True},
        pool=NET_POOL,
    )
    _ensure_network(
        admin,
        options={"name": "public", "is_router_external": True, "provider_physical_network": "physnet2"},
        subnet={"name": "public-subnet", "cidr": PUBLIC_CIDR, "gateway_ip": PUBLIC_GATEWAY, "is_dhcp_enabled": False},
        pool=PUBLIC_POOL,
    )


def _ensure_network(admin: Connection, *, options: dict[str, object], subnet: dict[str, object], pool: tuple[str, str]) -> None:
    found = next(iter(admin.network.networks(name=options["name"])), None)
    network = found or admin.network.create_network(provider_network_type="flat", **options)
    if not list(admin.network.subnets(network_id=network.id)):
        pools = [{"start": pool[0], "end": pool[1]}]
        admin.network.create_subnet(network_id=network.id, ip_version=4, allocation_pools=pools, **subnet)


def _make_image(admin: Connection, *, kind: str, name: str) -> None:
    """Make an image of nothing, with the properties a node image of Carina has; fake hypervisors read none of it."""
    image = admin.image.create_image(
        name=name,
        disk_format="raw",
        container_format="bare",
        visibility="public",
        data=b"\0" * 1024,
        validate_checksum=False,
        architecture="x86_64",
        carina_image="carina-node-swarm",
        carina_host_kind=kind,
        carina_coe="swarm",
        carina_coe_version="26.1.5",
        carina_recipe="lab",
    )
    if image.status != "active":
        admin.image.wait_for_status(image, "active", interval=1, wait=30)
