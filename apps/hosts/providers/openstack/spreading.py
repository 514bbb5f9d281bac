"""Server groups: hosts of a bay that shall be on different machines. A group has no tags; its name is the whole mark."""

from functools import partial
from typing import Any

from apps.hosts.contracts import Owner
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.naming import mark, things_of
from apps.hosts.providers.openstack.options import Options
from apps.hosts.providers.openstack.view import View

Json = dict[str, Any]


class ServerGroups:
    """The server groups of the bays of one project."""

    def __init__(self, *, api: Api, options: Options) -> None:
        self._api = api
        self._options = options
        self._view = View(fetch=api.server_groups)

    def ensure(self, owner: Owner) -> str:
        """Make the bay's group exist; return its id. Several are harmless: the first by id is used, all are deleted."""
        known = self._view.find(pick=partial(things_of, owner, marked="name"), closer=self.everywhere)
        group = known[0] if known else self._create(owner)
        group_id: str = group["id"]
        return group_id

    def of(self, owner: Owner) -> list[Json]:
        """Return every group of the bay there is now."""
        return things_of(owner, self._view.look(age=0), marked="name")

    def everywhere(self) -> list[Json]:
        """Return every group of the project there is now."""
        return self._view.look(age=0)

    def doubt(self) -> None:
        """Look again before anything else: what was seen turned out to be wrong."""
        self._view.doubt()

    def remove(self, owner: Owner) -> None:
        """Delete every group of the bay."""
        for group in self.of(owner):
            self._api.delete("compute", f"/os-server-groups/{group['id']}")
            self._view.forget(group["id"])

    def _create(self, owner: Owner) -> Json:
        with self._view.changing():
            group: Json = self._api.post(
                "compute", "/os-server-groups", {"server_group": {"name": mark(owner), "policy": self._options.spread_policy}}
            )["server_group"]
        self._view.note(group)
        return group
