"""A hundred bays asked for at once: how fast, what of it is the portal's own time, and how many calls a bay costs the cloud.

usage: python -m bench.many_bays [--bays 100] [--hosts 3] [--no-bare] [--lab DIRECTORY]

The bays' hosts are on the fake hypervisors of the tests' OpenStack, which boot nothing: measured is everything before that. All bays are
asked for over REST by as many threads as fit, then nothing is asked of the portal but a list now and then; times are those the portal
wrote down. Beside it, in the same run and through the same counting proxy, a bare script of openstacksdk asks for as many servers with as
many threads as the worker has, and deletes them again.
"""

import argparse
import concurrent.futures
import contextlib
import multiprocessing
import resource
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from bench.client import PortalClient
from bench.openstack import SHARED_NETWORK, RunProject, clients, connection_of, cpu_seconds, group_of, groups_of_calls, portal_over
from carina_portal.embedded.layout import ROOT
from carina_portal.embedded.portal import WORKER_THREADS
from carina_portal.embedded.terminal import Terminal
from tests.live.openstack.lab import Lab
from tests.live.openstack.lab.place import Place
from tests.live.openstack.portal import OpenStackPortal
from tests.live.openstack.proxy import FaultProxy

FLAVOR, IMAGE = "vm1-1", "carina-swarm-vm"
LOOK_SECONDS = 3.0
PATIENCE_SECONDS = 3000.0
REST_SECONDS = 30.0
CALLS_SHOWN = 14
Entry = dict[str, Any]
Ask = Callable[[PortalClient, str], object]


@dataclass
class Bout:
    """One part of the run, from `begin` until `end`."""

    portal: OpenStackPortal
    proxy: FaultProxy
    seconds: float = 0.0

    def begin(self) -> None:
        """Count from nothing."""
        self.proxy.reset()
        self._cpu, self._begun = cpu_seconds(self.portal.stack), time.monotonic()

    def end(self, *, word: str, bays: int) -> None:
        """Print what it took."""
        self.seconds = time.monotonic() - self._begun
        used = {name: seconds - self._cpu.get(name, 0.0) for name, seconds in cpu_seconds(self.portal.stack).items()}
        parts = ", ".join(f"{name} {seconds / bays:.3f}" for name, seconds in used.items())
        groups, calls = groups_of_calls(self.proxy)
        rest = groups["bays"] / bays
        print(f"{word}: {bays} bays in {self.seconds:.1f} s, {bays / self.seconds * 60:.1f} bays a minute")
        print(f"  portal's processor seconds a bay: {sum(used.values()) / bays:.3f} ({parts})")
        print(f"  calls a bay besides polling: {rest:.2f} ({', '.join(f'{name} {each / bays:.2f}' for name, each in _by_service(calls))})")
        print(f"  polling: {groups['polling']} lists of servers for all bays together, {groups['polling'] / self.seconds:.2f} a second")
        print(f"  looks at the cloud as a whole: {groups['discovery']} calls; tokens: {groups['tokens']}")
        for name, number in calls.most_common(CALLS_SHOWN):
            print(f"    {number / bays:6.2f} a bay  {number:5d}  {name}")
        print(end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bays", type=int, default=100)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--threads", type=int, default=WORKER_THREADS, help="that ask at once")
    parser.add_argument("--no-bare", dest="bare", action="store_false", help="without the script of openstacksdk")
    parser.add_argument("--own-networks", action="store_true", help="each bay has a network, router and floating IPs of its own")
    parser.add_argument("--lab", type=Path, help="state directory of a tests' OpenStack that runs already; else one is started")
    parser.add_argument("--var", type=Path, default=ROOT / "var" / "bench-openstack")
    parser.add_argument("--port", type=int, default=8795)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = Place(options.lab.resolve()) if options.lab else stack.enter_context(Lab(terminal=Terminal())).place
        proxy = stack.enter_context(FaultProxy(lab=place))
        project = stack.enter_context(RunProject(place=place))
        if options.bare:
            run_bare(project=project, proxy=proxy, servers=options.bays * options.hosts, threads=options.threads)
        portal = stack.enter_context(
            portal_over(project=project, proxy=proxy, var=options.var, port=options.port, own_networks=options.own_networks)
        )
        run_portal(portal, proxy, bays=options.bays, hosts=options.hosts, threads=options.threads)
        left = {kind: things for kind, things in project.census().items() if things}
        print(f"left in the project: {left or 'nothing'}", flush=True)


def run_portal(portal: OpenStackPortal, proxy: FaultProxy, *, bays: int, hosts: int, threads: int) -> None:
    """Create all, leave them alone for a while, delete all."""
    asking = clients(portal, number=threads)
    names = [f"many-{number}-{secrets.token_hex(2)}" for number in range(bays)]
    bout = Bout(portal=portal, proxy=proxy)

    bout.begin()
    accepted = at_once(asking, names, lambda client, name: client.create(name=name, node_count=hosts, flavor=FLAVOR))
    wait_for(asking[0], wanted={"active": bays})
    bout.end(word="create", bays=bays)
    print(f"  asked for within {accepted:.1f} s; operations: {spread(portal, kind='bay.create', names=names)}", flush=True)

    bout.begin()
    time.sleep(REST_SECONDS)
    bout.end(word=f"at rest for {REST_SECONDS:.0f} s", bays=bays)

    bout.begin()
    accepted = at_once(asking, names, lambda client, name: client.delete(name))
    wait_for(asking[0], wanted={})
    bout.end(word="delete", bays=bays)
    print(f"  asked for within {accepted:.1f} s; operations: {spread(portal, kind='bay.delete', names=names)}", flush=True)


def ask_all(client: PortalClient, names: list[str], ask: Ask) -> None:
    """Ask for one after the other."""
    for name in names:
        ask(client, name)


def at_once(asking: list[PortalClient], names: list[str], ask: Ask) -> float:
    """Ask for all, each thread with a client of its own; return after how many seconds the last was accepted."""
    begun = time.monotonic()
    shares = [names[number :: len(asking)] for number in range(len(asking))]
    with ThreadPoolExecutor(max_workers=len(asking)) as pool:
        jobs = [pool.submit(ask_all, client, share, ask) for client, share in zip(asking, shares, strict=True)]
        for job in concurrent.futures.as_completed(jobs):
            job.result()
    return time.monotonic() - begun


def wait_for(client: PortalClient, *, wanted: dict[str, int]) -> None:
    """Return once the tenant's bays count so many of each status; raises TimeoutError or, where one ended as an error, RuntimeError."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = Counter(bay["status"] for bay in every_bay(client))
        if dict(found) == wanted:
            return
        if found["error"]:
            raise RuntimeError(f"{[bay['status_reason'] for bay in every_bay(client) if bay['status'] == 'error'][:3]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {PATIENCE_SECONDS:.0f} s: {dict(found)}, wanted {wanted}.")
        time.sleep(LOOK_SECONDS)


def every_bay(client: PortalClient) -> list[dict[str, Any]]:
    """Return all bays of the tenant, page after page."""
    found: list[dict[str, Any]] = []
    url = "bays?limit=100"
    while url:
        page = client.http.get(url).raise_for_status().json()
        found += page["results"]
        url = page["next"] or ""
    return found


def spread(portal: OpenStackPortal, *, kind: str, names: list[str]) -> str:
    """Return how long operations of that kind took, from acceptance to end, as the portal wrote it down."""
    answer = portal.query(
        f"[(o.finished_at - o.created_at).total_seconds() for o in Operation.objects.filter(kind={kind!r}, state='succeeded',"
        f" subject_id__in=Bay.objects.filter(name__in={names!r}).values('id'))]",
        imports="from apps.operations.models import Operation\nfrom apps.bays.models import Bay",
    )
    seconds = sorted(float(each) for each in answer) if isinstance(answer, list) else []
    if not seconds:
        return "none"
    return f"{len(seconds)}, first {seconds[0]:.1f} s, median {statistics.median(seconds):.1f} s, last {seconds[-1]:.1f} s"


# --- the bare script ----------------------------------------------------------------------------------------------------------------


def run_bare(*, project: RunProject, proxy: FaultProxy, servers: int, threads: int) -> None:
    """Have a process of its own ask for the servers with openstacksdk, and print what it took."""
    proxy.reset()
    entry = project.entry(dict(proxy.clouds_yaml("carina")))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(max_workers=1, mp_context=context) as process:
        for word in ("create", "delete"):
            proxy.reset()
            seconds, used = process.submit(bare, word=word, entry=entry, name=project.name, servers=servers, threads=threads).result()
            _, calls = groups_of_calls(proxy)
            total = sum(calls.values())
            print(f"openstacksdk alone, {word}: {servers} servers in {seconds:.1f} s, {servers / seconds * 60:.0f} servers a minute,")
            print(f"  {used / servers:.3f} processor seconds a server, {total / servers:.2f} calls a server", flush=True)


def bare(*, word: str, entry: Entry, name: str, servers: int, threads: int) -> tuple[float, float]:
    """Make or delete the servers; return seconds, and processor seconds of this process."""
    connection = connection_of(entry=entry)
    with connection:
        begun, used = time.monotonic(), _processor()
        if word == "create":
            bare_create(connection, name=name, servers=servers, threads=threads)
        else:
            bare_delete(connection, threads=threads)
        return time.monotonic() - begun, _processor() - used


def bare_create(connection: Connection, *, name: str, servers: int, threads: int) -> None:
    """Ask for all servers with as little as possible, then look at the list until all are ACTIVE."""
    image = connection.image.find_image(IMAGE, ignore_missing=False).id
    flavor = connection.compute.find_flavor(FLAVOR, ignore_missing=False).id
    network = connection.network.find_network(SHARED_NETWORK, ignore_missing=False).id

    def ask(number: int) -> None:
        connection.compute.create_server(name=f"{name}-{number}", flavor_id=flavor, image_id=image, networks=[{"uuid": network}])

    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(ask, range(servers)))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        states = Counter(str(server.status) for server in connection.compute.servers())
        if states == {"ACTIVE": servers}:
            return
        if states["ERROR"] or time.monotonic() > deadline:
            raise RuntimeError(f"The bare servers did not all start: {dict(states)}")
        time.sleep(1)


def bare_delete(connection: Connection, *, threads: int) -> None:
    """Delete all servers and wait until none is listed."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(connection.compute.delete_server, list(connection.compute.servers())))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while list(connection.compute.servers(details=False)):
        if time.monotonic() > deadline:
            raise TimeoutError("The bare servers are not all gone.")
        time.sleep(1)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _by_service(calls: Counter[str]) -> list[tuple[str, int]]:
    found = Counter[str]()
    for call, number in calls.items():
        method, service, path = call.split(" ", 2)
        if group_of(service=service, method=method, path=path) == "bays":
            found[service] += number
    return found.most_common()


if __name__ == "__main__":
    main()
