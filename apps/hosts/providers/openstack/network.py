"""The network a bay's hosts are on: one the cloud has and all bays share, or the bay's own, routed to the outside.

A bay's own network is made from the inside out (network, subnet, router, the router's leg in the subnet) and tagged as done last, so a
network that has the tag is whole, and one that lacks it is gone through again piece by piece.
"""

import re
import threading
import time
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, ip_network
from typing import Any

from apps.hosts.contracts import CloudBusy, CloudRefused, NetworkSpec, Owner
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.errors import AlreadyThere, NotThere
from apps.hosts.providers.openstack.naming import bay_name, mark, tags, things_of
from apps.hosts.providers.openstack.options import Options
from apps.hosts.providers.openstack.view import View

REMEMBERED_SECONDS = 60.0
"""How long the cloud's own networks are taken to be as they were."""
FIELDS = ("id", "name", "description", "tags", "subnets", "created_at")
INTERFACE = re.compile(r"^network:(router_interface|ha_router_replicated_interface)")
"""Who a router's leg in a subnet belongs to, on plain, distributed and highly available routers."""
DONE = "carina-ready"
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Wire:
    """Where ports are plugged in. `subnet` is empty on a shared network; `ours` tells whether its addresses may be chosen by us."""

    network: str
    subnet: str
    ours: bool
    port_security: bool


class Networks:
    """Networks of the bays of one project, and those of the cloud that they use."""

    def __init__(self, *, api: Api, options: Options) -> None:
        self._api = api
        self._options = options
        self._view = View(fetch=lambda: api.listing("networks", query={"fields": FIELDS}))
        self._known: dict[str, tuple[float, Json]] = {}
        self._lock = threading.Lock()

    def given(self, name: str) -> Json:
        """Return a network the cloud has, by name or id; raises CloudRefused if there is none or several."""
        with self._lock:
            known = self._known.get(name)
            if known is not None and known[0] + REMEMBERED_SECONDS > time.monotonic():
                return known[1]
        found: list[Json] = self._api.get("network", "/networks", query={"name": name})["networks"]
        if not found:
            found = self._api.get("network", "/networks", query={"id": name})["networks"]
        if len(found) != 1:
            many = "has no network" if not found else "has several networks"
            raise CloudRefused(f"The cloud {many} called {name!r} that this project may use: correct its settings, best by an id.")
        with self._lock:
            self._known[name] = (time.monotonic(), found[0])
        return found[0]

    def shared(self) -> Wire:
        """Return the network all bays share."""
        network = self.given(self._options.network)
        return Wire(
            network=network["id"],
            subnet="",
            ours=network.get("project_id") == self._api.project_id,
            port_security=network.get("port_security_enabled", True),
        )

    def own(self, owner: Owner) -> Wire:
        """Return the bay's own network; raises CloudBusy if it is not whole yet."""
        network = next(iter(self._view.find(pick=partial(things_of, owner), closer=partial(self.of, owner))), None)
        if network is None or not network["subnets"]:
            raise CloudBusy(f"The network {bay_name(owner)} is not there yet.")
        return Wire(network=network["id"], subnet=network["subnets"][0], ours=True, port_security=True)

    def of(self, owner: Owner, kind: str = "networks") -> list[Json]:
        """Return every network (subnet, router) of the bay there is now."""
        return things_of(owner, self._api.listing(kind, query={"description": mark(owner)}))

    def everywhere(self, kind: str = "networks") -> list[Json]:
        """Return every network (subnet, router) of the project there is now."""
        return self._api.listing(kind)

    def ensure(self, spec: NetworkSpec) -> None:
        """Make the bay's own network exist and lead outside."""
        owner = spec.owner
        network = next(iter(self._view.find(pick=partial(things_of, owner), closer=partial(self.of, owner))), None)
        if network is not None and DONE in network["tags"]:
            return
        subnet = router = None
        fresh = network is None  # then nothing hangs on it yet
        if network is None:
            network = self._create("networks", {"name": bay_name(owner)}, owner=owner)
        else:
            subnet = next((each for each in self.of(owner, "subnets") if each["network_id"] == network["id"]), None)
            router = next(iter(self.of(owner, "routers")), None)
        subnet = subnet or self._create("subnets", self._subnet(spec, network["id"]), owner=owner)
        router = router or self._create("routers", self._router(owner), owner=owner)
        if fresh or not self._legs(router=router["id"], network=network["id"]):
            self._plug(router=router["id"], subnet=subnet["id"])
        self._tag("routers", router, tags(owner))
        done = [*tags(owner), DONE]
        self._tag("networks", network, done)
        self._view.note({**network, "subnets": [subnet["id"]], "tags": done})

    def remove(self, owner: Owner) -> None:
        """Delete the bay's routers, subnets and networks; nothing of ours is plugged in any more."""
        for router in self.of(owner, "routers"):
            self._unplug(router["id"])
            self._api.delete("network", f"/routers/{router['id']}")
        for subnet in self.of(owner, "subnets"):
            self._api.delete("network", f"/subnets/{subnet['id']}")
        for network in self.of(owner):
            self._api.delete("network", f"/networks/{network['id']}")
            self._view.forget(network["id"])

    def _subnet(self, spec: NetworkSpec, network_id: str) -> Json:
        cidr = ip_network(spec.cidr)
        if not isinstance(cidr, IPv4Network):
            raise CloudRefused(f"A bay's network must be IPv4, and {spec.cidr} is not.")
        # What the cloud needs itself (DHCP) or chooses comes from ranges in which Carina gives no host an address.
        pools = [{"start": str(cidr[2]), "end": str(cidr[9])}, {"start": str(cidr[-6]), "end": str(cidr[-2])}]
        return {
            "name": bay_name(spec.owner),
            "network_id": network_id,
            "ip_version": 4,
            "cidr": spec.cidr,
            "gateway_ip": str(cidr[1]),
            "enable_dhcp": True,
            "allocation_pools": pools,
            "dns_nameservers": list(self._options.nameservers),
        }

    def _create(self, kind: str, body: Json, *, owner: Owner) -> Json:
        single = kind.removesuffix("s")
        with self._view.changing():
            answer: Json = self._api.post("network", f"/{kind}", {single: {**body, "description": mark(owner)}})[single]
        return answer

    def _router(self, owner: Owner) -> Json:
        outside = self.given(self._options.external_network)["id"]
        return {"name": bay_name(owner), "external_gateway_info": {"network_id": outside}}

    def _legs(self, *, router: str, network: str = "") -> list[Json]:
        on = {"network_id": network} if network else {}
        asked = {"device_id": router, **on, "fields": ("id", "device_owner")}
        return [leg for leg in self._api.listing("ports", query=asked) if INTERFACE.search(leg["device_owner"])]

    def _plug(self, *, router: str, subnet: str) -> None:
        try:
            self._api.put("network", f"/routers/{router}/add_router_interface", {"subnet_id": subnet})
        except AlreadyThere:
            return

    def _unplug(self, router: str) -> None:
        for leg in self._legs(router=router):
            try:
                self._api.put("network", f"/routers/{router}/remove_router_interface", {"port_id": leg["id"]})
            except NotThere:
                continue

    def _tag(self, kind: str, thing: Json, wanted: list[str]) -> None:
        if not set(wanted) <= set(thing.get("tags") or []):
            self._api.put("network", f"/{kind}/{thing['id']}/tags", {"tags": wanted})
