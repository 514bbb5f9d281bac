"""The project's servers as one list that everybody shares, and what Nova's words for a server mean."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from apps.common.clock import now
from apps.hosts.contracts import CloudBusy, HostState, Owner, PowerState
from apps.hosts.providers.openstack.api import Api
from apps.hosts.providers.openstack.errors import NotThere, one_line
from apps.hosts.providers.openstack.naming import ADDRESS, REF, installation_tag, metadata_owner
from apps.hosts.providers.openstack.view import YOUNG_SECONDS, View

POWER = {
    "ACTIVE": PowerState.RUNNING,
    "PASSWORD": PowerState.RUNNING,
    "BUILD": PowerState.STARTING,
    "REBOOT": PowerState.STARTING,
    "HARD_REBOOT": PowerState.STARTING,
    "SHUTOFF": PowerState.STOPPED,
    "PAUSED": PowerState.STOPPED,
    "SUSPENDED": PowerState.STOPPED,
    "SOFT_DELETED": PowerState.GOING,
    "DELETED": PowerState.GOING,
}
"""https://docs.openstack.org/api-guide/compute/server_concepts.html; what is missing here is `OTHER`."""
GOING_TASKS = frozenset({"deleting", "soft-deleting"})
STARTING_TASKS = frozenset({"powering-on", "unpausing", "resuming", "reboot_started_hard", "rebooting_hard"})
STUCK_DELETE_SECONDS, LONGEST_STUCK_SECONDS = 60.0, 300.0
FRESH_SECONDS = 3.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """When Nova was last asked to delete a server, and how many times by now."""

    at: float
    times: int

    @property
    def is_recent(self) -> bool:
        """Whether it is too early to ask again: a minute after the first time, then twice as long after each, at most five minutes."""
        return monotonic() - self.at < min(LONGEST_STUCK_SECONDS, STUCK_DELETE_SECONDS * 2.0 ** min(self.times - 1, 10))


class Servers:
    """The servers of one installation in its project."""

    def __init__(self, *, api: Api, installation: str, build_seconds: float) -> None:
        self._api = api
        self._build_seconds = build_seconds
        self._asked: dict[str, Asked] = {}
        self.view = View(fetch=lambda: api.servers(tag=installation_tag(installation)))

    def of(self, owner: Owner, *, age: float | None = None) -> list[Json]:
        """Return the bay's servers as of at most `age` seconds ago, the one that counts first where a host has several.

        One that was asked to be deleted is on its way, whatever Nova says: a build that ends meanwhile makes it ACTIVE for a moment.
        """
        mine = [server for server in self.view.look(age=age) if metadata_owner(server["metadata"]) == owner]
        return sorted(({**each, "OS-EXT-STS:task_state": "deleting"} if self._asked_just_now(each) else each for each in mine), key=_rank)

    def named(self, owner: Owner, ref: str) -> list[Json]:
        """Return the servers of one host as of a second or as long as a list takes ago, the one that counts first.

        That is less than the lease of a worker: who takes over from one that died sees what it had asked for.
        """
        age = min(max(YOUNG_SECONDS, self.view.took), FRESH_SECONDS)
        return [server for server in self.of(owner, age=age) if ref_of(server) == ref]

    def building(self) -> int:
        """Return how many servers of all bays Nova is still building."""
        return sum(server["status"] == "BUILD" and power_of(server) == PowerState.STARTING for server in self.view.look())

    def state(self, server: Json) -> HostState:
        """Return the server in the port's words; one that has been building for too long is `OTHER`."""
        power = power_of(server)
        words = [server["status"], server.get("OS-EXT-STS:task_state") or "", (server.get("fault") or {}).get("message") or ""]
        if server["status"] == "BUILD" and self.is_overdue(server):
            power = PowerState.OTHER
            words.append(f"for more than {self._build_seconds:.0f} seconds")
        detail = one_line(" ".join(word for word in words if word))
        return HostState(ref=ref_of(server), power=power, address=address_of(server), detail=detail)

    def made(self, server: Json) -> HostState:
        """Note a server that Nova has just accepted, until a list shows it: its time to be built runs from now."""
        server = {**server, "created": this_moment()}
        self.view.note(server)
        return self.state(server)

    def is_overdue(self, server: Json) -> bool:
        """Whether Nova has been building it for longer than the operator allows."""
        return age_of(server, "created") > self._build_seconds

    def fault_of(self, server: Json) -> Json | None:
        """Return what Nova notes of why the server failed, if anything.

        Lists can lack it: Nova looks for the faults of all in one database, and what found no host lies in another (cell0).
        """
        try:
            whole: Json = server if server.get("fault") else self._api.get("compute", f"/servers/{server['id']}")["server"]
        except NotThere:
            return None
        return whole.get("fault")

    def mark(self, server: Json, key: str) -> Json:
        """Write a mark into the server's metadata, unless it is there; return the server with it. Raises CloudBusy if it has gone."""
        if key in server["metadata"]:
            return server
        marked = {**server, "metadata": {**server["metadata"], key: "yes"}}
        try:
            self._api.post("compute", f"/servers/{server['id']}/metadata", {"metadata": {key: "yes"}})
        except NotThere as error:
            self.view.forget(server["id"])
            raise CloudBusy(f"{ref_of(server)} vanished while it was looked at.") from error
        self.view.note(marked)
        return marked

    def unmark(self, server: Json, key: str) -> None:
        """Take a mark from the server's metadata."""
        self._api.delete("compute", f"/servers/{server['id']}/metadata/{key}")
        self.view.note({**server, "metadata": {name: value for name, value in server["metadata"].items() if name != key}})

    def delete(self, server: Json) -> bool:
        """Ask Nova to delete the server, unless it is at it; return whether it is already gone.

        Nova forgets deletions when one of its parts is killed, so it is asked again, but ever more seldom: a crowded one takes many
        minutes, and each further request makes that longer.
        """
        if server.get("OS-EXT-STS:task_state") == "deleting" and self._asked_lately(server):
            return False
        try:
            if server["status"] == "SOFT_DELETED":
                self._api.post("compute", f"/servers/{server['id']}/action", {"forceDelete": None})
            elif not self._api.delete("compute", f"/servers/{server['id']}"):
                self.view.forget(server["id"])
                return True
        except NotThere:
            self.view.forget(server["id"])
            return True
        self.view.note({**server, "OS-EXT-STS:task_state": "deleting", "updated": this_moment()})
        self._note_asked(server)
        return False

    def _asked_lately(self, server: Json) -> bool:
        return age_of(server, "updated") < STUCK_DELETE_SECONDS or self._asked_just_now(server)

    def _asked_just_now(self, server: Json) -> bool:
        asked = self._asked.get(server["id"])
        return asked is not None and asked.is_recent

    def _note_asked(self, server: Json) -> None:
        moment, before = monotonic(), self._asked.get(server["id"])
        remembered = {key: asked for key, asked in list(self._asked.items()) if moment - asked.at < 2 * LONGEST_STUCK_SECONDS}
        self._asked = {**remembered, server["id"]: Asked(at=moment, times=before.times + 1 if before else 1)}


def ref_of(server: Json) -> str:
    """The ref of the host it is."""
    ref: str = server["metadata"].get(REF, "")
    return ref


def power_of(server: Json) -> PowerState:
    """What Nova says of the server, in the port's words."""
    task = server.get("OS-EXT-STS:task_state")
    if task in GOING_TASKS:
        return PowerState.GOING
    power = POWER.get(server["status"], PowerState.OTHER)
    return PowerState.STARTING if power == PowerState.STOPPED and task in STARTING_TASKS else power


def address_of(server: Json) -> str:
    """The server's own IPv4 address: what Nova says of its port, or until then what it was asked for with."""
    fixed: Iterable[str] = (
        each["addr"]
        for addresses in (server.get("addresses") or {}).values()
        for each in addresses
        if each["version"] == 4 and each.get("OS-EXT-IPS:type", "fixed") == "fixed"  # noqa: PLR2004
    )
    return next(iter(fixed), "") or server["metadata"].get(ADDRESS, "")


def this_moment() -> str:
    """Return now as Nova writes `created` and `updated`."""
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")


def age_of(server: Json, field: str) -> float:
    """Seconds since the moment in `created` or `updated`, by the portal's clock."""
    moment = server.get(field)
    return (now() - datetime.fromisoformat(moment)).total_seconds() if moment else 0.0


def _rank(server: Json) -> tuple[str, bool, bool, str, str]:
    power = power_of(server)
    return ref_of(server), power != PowerState.RUNNING, power == PowerState.GOING, server.get("created") or "", server["id"]
