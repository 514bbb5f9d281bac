"""What the benchmarks over OpenStack share: a project of their own in the tests' OpenStack, a portal over it, and looks from outside.

Everything that is counted is asked of OpenStack's own services as administrator, never of the portal and never through the proxy.
"""

import contextlib
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import openstack
import yaml
from openstack.connection import Connection
from openstack.exceptions import SDKException

from bench.client import PortalClient
from carina_portal.embedded.layout import write_private
from carina_portal.embedded.stack import Stack
from tests.live.openstack.lab import identity
from tests.live.openstack.lab.place import Place
from tests.live.openstack.portal import OpenStackPortal
from tests.live.openstack.proxy import FaultProxy

SHARED_NETWORK, EXTERNAL_NETWORK = "carina-net", "public"
CLOUD = "bench"
NETWORK_KINDS = ("ports", "floatingips", "routers", "subnets", "networks", "security-groups")
WATCH_SECONDS = 2.0
COMPUTE_VERSION = "2.61"
SYNCS = 5
FORGET_EARLIER_RUNS = """
from apps.bays.models import Bay
from apps.common.clock import now
from apps.hosts.models import Cloud
from apps.operations.models import Operation
from apps.operations.states import UNFINISHED
Operation.objects.filter(state__in=UNFINISHED).update(
    state="cancelled", code="cancelled", message="Of an earlier run.", finished_at=now(), lease_token=None, lease_expires_at=None
)
Bay.objects.filter(deleted_at=None).update(condition="deleted", deleted_at=now())
Cloud.objects.update(enabled=False, is_default=False)
"""
"""What an interrupted run left unfinished in the portal's database belongs to a project that is no more."""
Json = dict[str, Any]


class RunProject:
    """A Keystone project with one user, made for one run: whatever is in it, the run has made, and all of it is counted.

    `id` is Keystone's. Use as a context; at its end everything in it is deleted, then the project.
    """

    def __init__(self, *, place: Place) -> None:
        self._place = place
        self.name = f"bench-{secrets.token_hex(3)}"
        self.admin = identity.connect(place=place, name="admin")
        self.id = ""
        self._user = ""

    def __enter__(self) -> Self:
        self.id, self._user = identity.add_project(admin=self.admin, name=self.name, password=self._place.password)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.clear()
            identity.remove_project(admin=self.admin, project=self.id, user=self._user)
        finally:
            self.admin.close()

    def entry(self, base: Json) -> Json:
        """Return an entry of clouds.yaml like `base` for this project's user."""
        names = {"username": self.name, "password": self._place.password, "project_name": self.name}
        return {**base, "auth": {**base["auth"], **names}}

    def servers(self) -> list[Json]:
        """Return the project's servers in full, all pages of them, by Nova's own word."""
        found: list[Json] = []
        path = f"/servers/detail?all_tenants=1&project_id={self.id}&limit=1000"
        while path:
            answer = self.admin.compute.get(path, microversion=COMPUTE_VERSION).json()
            found += answer["servers"]
            path = f"{path.partition('&marker')[0]}&marker={found[-1]['id']}" if answer.get("servers_links") else ""
        return found

    def census(self) -> dict[str, list[str]]:
        """Return what is in the project, by kind, in words; every project has its own security group "default", which does not count."""
        left = {"servers": [f"{each['name']} {each['id']} {each['status']}" for each in self.servers()]}
        for kind in NETWORK_KINDS:
            things = self.admin.network.get(f"/{kind}?project_id={self.id}").json()[kind.replace("-", "_")]
            left[kind] = [_word(each) for each in things if not (kind == "security-groups" and each["name"] == "default")]
        groups = self.admin.compute.get("/os-server-groups?all_projects=True&limit=1000", microversion=COMPUTE_VERSION).json()
        left["server groups"] = [_word(each) for each in groups["server_groups"] if each["project_id"] == self.id]
        if self.admin.has_service("block-storage"):
            volumes = self.admin.block_storage.get(f"/volumes/detail?all_tenants=1&project_id={self.id}").json()["volumes"]
            left["volumes"] = [_word(each) for each in volumes]
        return left

    def clear(self, *, seconds: float = 120) -> None:
        """Delete everything in the project, in the order of its dependencies; raises TimeoutError if that does not end."""
        deadline = time.monotonic() + seconds
        while servers := self.servers():
            for server in servers:
                self.admin.compute.delete(f"/servers/{server['id']}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(servers)} servers of {self.name} are still there after {seconds:.0f} s.")
            time.sleep(1)
        for router in self.admin.network.routers(project_id=self.id):
            for port in self.admin.network.ports(device_id=router.id, device_owner="network:router_interface"):
                self.admin.network.put(f"/routers/{router.id}/remove_router_interface", json={"port_id": port.id})
        for kind in NETWORK_KINDS:
            for thing in self.admin.network.get(f"/{kind}?project_id={self.id}").json()[kind.replace("-", "_")]:
                self.admin.network.delete(f"/{kind}/{thing['id']}")
        groups = self.admin.compute.get("/os-server-groups?all_projects=True&limit=1000", microversion=COMPUTE_VERSION).json()
        for group in groups["server_groups"]:
            if group["project_id"] == self.id:
                self.admin.compute.delete(f"/os-server-groups/{group['id']}")


class Watch:
    """Looks at the project's servers from outside, every two seconds, for hosts that exist twice. A context; works in a thread."""

    def __init__(self, *, project: RunProject, place: Place) -> None:
        self._project = project
        self._admin = identity.connect(place=place, name="admin")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self.looks = 0
        self.most = 0
        self.unmarked: set[str] = set()
        self.twice: dict[tuple[str, str], list[str]] = {}
        """Servers by (bay, ref) of which two were ACTIVE in one answer of Nova."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._admin.close()

    def note(self, servers: Sequence[Json]) -> None:
        """Count one answer of Nova."""
        self.looks += 1
        self.most = max(self.most, len(servers))
        active: dict[tuple[str, str], list[str]] = {}
        for server in servers:
            bay, ref = server["metadata"].get("carina_bay", ""), server["metadata"].get("carina_ref", "")
            if not bay or not ref:
                self.unmarked.add(server["id"])
            elif server["status"] == "ACTIVE":
                active.setdefault((bay, ref), []).append(server["id"])
        self.twice.update({host: ids for host, ids in active.items() if len(ids) > 1})

    def _look(self) -> None:
        path = f"/servers/detail?all_tenants=1&project_id={self._project.id}&limit=1000"
        while not self._stop.wait(WATCH_SECONDS):
            try:
                answer = self._admin.compute.get(path, microversion=COMPUTE_VERSION)
                if answer.ok:
                    self.note(answer.json()["servers"])
            except SDKException:
                continue  # a restart of the lab; the number of looks is printed


@contextmanager
def portal_over(
    *, project: RunProject, proxy: FaultProxy, var: Path, port: int, own_networks: bool, seconds: float = 30
) -> Iterator[OpenStackPortal]:
    """Yield a portal whose only cloud is the project, through the proxy. `seconds` is how long the portal waits for an answer of it."""
    portal = OpenStackPortal(var=var, port=port)
    with portal:
        clouds = var / "clouds.yaml"
        write_private(path=clouds, content=yaml.safe_dump({"clouds": {CLOUD: project.entry(dict(proxy.clouds_yaml("carina")))}}))
        networks = {"external_network": EXTERNAL_NETWORK} if own_networks else {"network": SHARED_NETWORK}
        options = {"timeout": str(seconds)}
        portal.shell(FORGET_EARLIER_RUNS)
        with contextlib.suppress(RuntimeError):  # a machine under load may be slow to answer: `_sync` is patient, and says what is wrong
            portal.add_cloud(clouds_yaml=clouds, entry=CLOUD, name=project.name, options=options, **networks)
        _sync(portal, name=project.name)
        yield portal


def _sync(portal: OpenStackPortal, *, name: str) -> None:
    """Have the portal look at the cloud until it has seen it; raises RuntimeError with what is in the way."""
    look = (
        "from apps.hosts.models import Cloud\nfrom apps.hosts.clouds import sync_cloud\n"
        f"Cloud.objects.filter(name={name!r}).update(is_default=True, enabled=True)\n"
        f"cloud = Cloud.objects.get(name={name!r})\n"
        "if not sync_cloud(cloud=cloud):\n    cloud.refresh_from_db()\n    print(cloud.health_message)\n"
    )
    for _ in range(SYNCS):
        reason = portal.shell(look).strip()
        if not reason:
            return
    raise RuntimeError(f"The portal cannot use the cloud: {reason}")


def clients(portal: OpenStackPortal, *, number: int) -> list[PortalClient]:
    """Return clients of the demo tenant with one token, one for each thread that asks."""
    first = portal.client()
    token = first.http.headers["Authorization"].removeprefix("Bearer ")
    others = [PortalClient(base_url=portal.stack.base_url, token=token, tenant="demo") for _ in range(number - 1)]
    return [first, *others]


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """Return the processor seconds that web, worker and beat have used so far, each with all processes of its session."""
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal():
                # proc(5): after the name in parentheses come state, parent, group, session …, and as 12th to 15th the times in ticks.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                used[int(fields[3])] = used.get(int(fields[3]), 0) + sum(map(int, fields[11:15]))
    ticks = os.sysconf("SC_CLK_TCK")
    return {name: used.get(child.pid, 0) / ticks for name, child in stack.children.items() if child.alive}


def groups_of_calls(proxy: FaultProxy) -> tuple[Counter[str], Counter[str]]:
    """Return how many calls there were of each group (see `group_of`), and of each "METHOD service path"."""
    groups, calls = Counter[str](), Counter[str]()
    for (service, method, path, _), (number, _) in proxy.counts().items():
        groups[group_of(service=service, method=method, path=path)] += number
        calls[f"{method} {service} {path}"] += number
    return groups, calls


def group_of(*, service: str, method: str, path: str) -> str:
    """Return what a call is for: `polling` (the one list of servers), `tokens`, `discovery` of the cloud, or `bays` for all else."""
    if service == "identity":
        return "tokens"
    if method == "GET" and path.endswith("/servers/detail"):
        return "polling"
    looks = ("/flavors", "/os-", "/limits", "/quotas", "/extensions", "/images")
    if method == "GET" and (service in {"placement", "image"} or path.count("/") <= 1 or any(look in path for look in looks)):
        return "bays" if "/os-server-groups" in path else "discovery"
    return "bays"


def connection_of(*, entry: Json) -> Connection:
    """Return openstacksdk's own connection for an entry of clouds.yaml; the caller closes it."""
    config = openstack.config.OpenStackConfig(load_yaml_config=False, load_envvars=False)
    return Connection(config=config.get_one(**entry))


def _word(thing: Json) -> str:
    name = thing.get("floating_ip_address") or thing.get("name") or ""
    return " ".join(part for part in (name, thing["id"], thing.get("device_owner") or thing.get("description") or "") if part)
