"""Servers for tests of the lab itself, by openstacksdk and nothing of the portal's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import ResourceNotFound

from tests.live.openstack.lab import IMAGES
from tests.waiting import Seen, until

SECONDS = 90.0


class Servers:
    """Servers of one user; all are gone at the end of `servers`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._image = connection.image.find_image(IMAGES["container"], ignore_missing=False).id
        self._network = connection.network.find_network("carina-net", ignore_missing=False).id
        self._made: list[str] = []

    def boot(self, name: str, *, flavor: str) -> str:
        """Ask for a server and return its id at once."""
        found = self.connection.compute.find_flavor(flavor, ignore_missing=False)
        server = self.connection.compute.create_server(
            name=name, flavor_id=found.id, image_id=self._image, networks=[{"uuid": self._network}]
        )
        self._made.append(server.id)
        return str(server.id)

    def status(self, server: str) -> str:
        """Return Nova's status of it, `gone` if there is none."""
        try:
            return str(self.connection.compute.get_server(server).status)
        except ResourceNotFound:
            return "gone"

    def wait(self, server: str, *statuses: str) -> str:
        """Return its status once that is one of these."""
        return wait_for(lambda: self.status(server), *statuses)

    def fault(self, server: str) -> dict[str, Any]:
        """Return what Nova says went wrong."""
        return dict(self.connection.compute.get(f"/servers/{server}").json()["server"].get("fault", {}))

    def delete(self, server: str) -> None:
        """Ask to delete it; one that is gone is well."""
        self.connection.compute.delete_server(server, ignore_missing=True)

    def end(self) -> None:
        """Delete all and wait until they are gone."""
        for server in self._made:
            self.delete(server)
        for server in self._made:
            self.wait(server, "gone")


@contextmanager
def servers(connection: Connection) -> Iterator[Servers]:
    """Yield servers; none outlives the block."""
    made = Servers(connection)
    try:
        yield made
    finally:
        made.end()


def wait_for(look: Callable[[], Seen], *wanted: Seen, seconds: float = SECONDS) -> Seen:
    """Look until what is seen is one of these; fails after `seconds`."""
    return until(look, fits=lambda seen: seen in wanted, what=" or ".join(map(str, wanted)), patience=seconds)
