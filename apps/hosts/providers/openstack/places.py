"""What is set aside for hosts before they exist: ports with addresses, and floating IPs that lead to them.

A bay's missing ports are made in one request. A port belongs to the host whose ref is its name, in the bay whose mark is its description.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from apps.hosts.contracts import CloudBusy, HostAddress, HostPlace, Owner, ProviderError
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.errors import AddressTaken, NotPermitted, NotThere
from apps.hosts.providers.openstack.naming import mark, things_of
from apps.hosts.providers.openstack.network import Networks, Wire
from apps.hosts.providers.openstack.options import Options
from apps.hosts.providers.openstack.view import View

FIELDS = ("id", "name", "description", "network_id", "fixed_ips", "device_id", "device_owner", "created_at")
FLOATING_FIELDS = ("id", "description", "floating_ip_address", "port_id", "created_at")
Json = dict[str, Any]


class Places:
    """Ports and floating IPs of the bays of one project."""

    def __init__(self, *, api: Api, networks: Networks, options: Options) -> None:
        self._api = api
        self._networks = networks
        self._options = options
        self._ports = View(fetch=lambda: api.listing("ports", query={"fields": FIELDS}))
        self._floating = View(fetch=lambda: api.listing("floatingips", query={"fields": FLOATING_FIELDS}))

    def reserve(self, *, owner: Owner, places: Sequence[HostPlace], wire: Wire, group: str) -> list[HostAddress]:
        """Make what is missing of the places, in order; `group` is the bay's security group, empty where ports have none."""
        ports = self._find(owner=owner, refs={place.ref for place in places})
        missing = [place for place in places if place.ref not in ports]
        if missing:
            ports |= _by_ref(self._create(owner=owner, places=missing, wire=wire, group=group))
        public = self._publish(owner=owner, ports=[ports[place.ref] for place in places if place.public])
        return [
            HostAddress(ref=place.ref, address=address_of(ports[place.ref]), public_address=public.get(ports[place.ref]["id"], ""))
            for place in places
        ]

    def port(self, *, owner: Owner, ref: str) -> Json:
        """Return the host's port; raises CloudBusy if none is reserved."""
        port = self._find(owner=owner, refs={ref}).get(ref)
        if port is None:
            raise CloudBusy(f"Nothing is reserved for {ref} in the cloud any more.")
        return port

    def holder(self, *, owner: Owner, ref: str) -> str:
        """Return the id of the server that has the host's port now; empty if none has."""
        return next((port["device_id"] for port in _by_ref(self.ports_of(owner)).values() if port["name"] == ref), "")

    def ports_of(self, owner: Owner) -> list[Json]:
        """Return every port of the bay there is now."""
        return things_of(owner, self._api.listing("ports", query={"fields": FIELDS, "description": mark(owner)}))

    def floating_of(self, owner: Owner) -> list[Json]:
        """Return every floating IP of the bay there is now."""
        return things_of(owner, self._api.listing("floatingips", query={"fields": FLOATING_FIELDS, "description": mark(owner)}))

    def ports_everywhere(self) -> list[Json]:
        """Return every port of the project there is now."""
        return self._ports.look(age=0)

    def floating_everywhere(self) -> list[Json]:
        """Return every floating IP of the project there is now."""
        return self._floating.look(age=0)

    def doubt(self) -> None:
        """Look again before anything else: what was seen turned out to be wrong."""
        self._ports.doubt()

    def loosen(self, port: Json) -> None:
        """Take a port back from a server that no longer exists. Raises CloudBusy if the port has gone, too."""
        try:
            self._api.put("network", f"/ports/{port['id']}", {"port": {"device_id": "", "device_owner": ""}})
        except NotThere as error:
            self._ports.forget(port["id"])
            raise CloudBusy(f"What was reserved for {port['name']} vanished meanwhile: {error}") from error
        self._ports.note({**port, "device_id": "", "device_owner": ""})

    def ports_named(self, owner: Owner, ref: str) -> list[Json]:
        """Return every port of one host there is now."""
        return [port for port in self.ports_of(owner) if port["name"] == ref]

    def give_up(self, *, owner: Owner, ports: Sequence[Json]) -> None:
        """Delete the ports and the floating IPs that lead to them."""
        ids = {port["id"] for port in ports}
        if self._gives_floating and ids:
            self._drop_floating([floating for floating in self.floating_of(owner) if floating["port_id"] in ids])
        self._drop_ports(ports)

    def give_up_all(self, owner: Owner) -> None:
        """Delete every floating IP and port of the bay."""
        if self._gives_floating:
            self._drop_floating(self.floating_of(owner))
        self._drop_ports(self.ports_of(owner))

    @property
    def _gives_floating(self) -> bool:
        return bool(self._options.external_network)

    def _find(self, *, owner: Owner, refs: AbstractSet[str]) -> dict[str, Json]:
        def pick(ports: list[Json]) -> list[Json]:
            return [port for ref, port in _by_ref(things_of(owner, ports)).items() if ref in refs]

        return _by_ref(self._ports.find(pick=pick, closer=partial(self.ports_of, owner), enough=len(refs)))

    def _create(self, *, owner: Owner, places: Sequence[HostPlace], wire: Wire, group: str) -> list[Json]:
        bodies = [_port(owner=owner, place=place, wire=wire, group=group) for place in places]
        try:
            return self._post_ports(bodies)
        except (AddressTaken, NotPermitted):
            # On a network of the cloud addresses are wishes: another port may have it, and only the network's owner may choose at all.
            if self._options.own_networks or not any("fixed_ips" in body for body in bodies):
                raise
        return self._post_ports([{key: value for key, value in body.items() if key != "fixed_ips"} for body in bodies])

    def _post_ports(self, bodies: list[Json]) -> list[Json]:
        try:
            with self._ports.changing():
                answer = self._api.post("network", "/ports", {"ports": bodies})["ports"]
        except NotThere as error:
            raise CloudBusy(f"The network or security group of the bay vanished meanwhile: {error}") from error
        ports = [{field: port[field] for field in FIELDS} for port in answer]
        for port in ports:
            self._ports.note(port)
        return ports

    def _publish(self, *, owner: Owner, ports: Sequence[Json]) -> dict[str, str]:
        """Give each port a floating IP, and return those by the port's id."""
        if not self._gives_floating:
            return {port["id"]: address_of(port) for port in ports}  # the shared network's own addresses are what the outside sees
        if not ports:
            return {}
        wanted = {port["id"] for port in ports}
        seen: list[Json] = []

        def pick(floatings: list[Json]) -> list[Json]:
            seen[:] = things_of(owner, floatings)
            return [floating for floating in seen if floating["port_id"] in wanted]

        leading = self._floating.find(pick=pick, closer=partial(self.floating_of, owner), enough=len(wanted))
        found = {floating["port_id"]: floating for floating in reversed(leading)}
        loose = [floating for floating in seen if not floating["port_id"]]
        for port_id in sorted(wanted - found.keys()):
            found[port_id] = self._tie(loose.pop(), port_id) if loose else self._create_floating(owner=owner, port_id=port_id)
        return {port_id: floating["floating_ip_address"] for port_id, floating in found.items()}

    def _create_floating(self, *, owner: Owner, port_id: str) -> Json:
        network = self._networks.given(self._options.external_network)["id"]
        body = {"floatingip": {"floating_network_id": network, "port_id": port_id, "description": mark(owner)}}
        with self._floating.changing():
            answer = self._api.post("network", "/floatingips", body)["floatingip"]
        return self._note_floating(answer)

    def _tie(self, floating: Json, port_id: str) -> Json:
        return self._note_floating(
            self._api.put("network", f"/floatingips/{floating['id']}", {"floatingip": {"port_id": port_id}})["floatingip"]
        )

    def _note_floating(self, answer: Json) -> Json:
        floating = {field: answer.get(field) for field in FLOATING_FIELDS}
        self._floating.note(floating)
        return floating

    def _drop_floating(self, floatings: Sequence[Json]) -> None:
        for floating in floatings:
            self._api.delete("network", f"/floatingips/{floating['id']}")
            self._floating.forget(floating["id"])

    def _drop_ports(self, ports: Sequence[Json]) -> None:
        for port in ports:
            self._api.delete("network", f"/ports/{port['id']}")
            self._ports.forget(port["id"])


def _by_ref(ports: Sequence[Json]) -> dict[str, Json]:
    """Ports by the ref of their host: of several the one in use, else the oldest."""
    ordered = sorted(ports, key=lambda port: (not port["device_id"], port.get("created_at") or "", port["id"]), reverse=True)
    return {port["name"]: port for port in ordered}


def address_of(port: Json) -> str:
    """Return the port's IPv4 address; raises ProviderError for one without."""
    for fixed in port["fixed_ips"]:
        if ":" not in fixed["ip_address"]:
            address: str = fixed["ip_address"]
            return address
    raise ProviderError(f"The port {port['name']} has no IPv4 address: the network needs a subnet with IPv4.")


def _port(*, owner: Owner, place: HostPlace, wire: Wire, group: str) -> Json:
    body: Json = {"network_id": wire.network, "name": place.ref, "description": mark(owner)}
    if place.address and wire.ours:
        fixed = {"ip_address": place.address}
        body["fixed_ips"] = [{**fixed, "subnet_id": wire.subnet} if wire.subnet else fixed]
    elif wire.subnet:
        body["fixed_ips"] = [{"subnet_id": wire.subnet}]
    if group:
        body["security_groups"] = [group]
    return body
