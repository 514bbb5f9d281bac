"""Does anything stay behind in OpenStack, or come twice, when calls are lost and workers die? 200 lives of bays tell.

usage: python -m bench.leaks [--cycles 200] [--seed N] [--at-once 8] [--rate 0.08] [--own-networks] [--minutes M] [--lab DIRECTORY]

Bays are created, some resized, some deleted while they are being created, all deleted in the end, several at once, on the fake
hypervisors of the tests' OpenStack. Between portal and cloud a proxy cuts connections before and after a call was carried out, delays
calls beyond the portal's patience (so that they arrive when nobody waits for them any more), and answers 429, 503, and 504 for what was
done; the worker is killed (kill -9, its process group) at random moments. At the end OpenStack's own services are asked, as administrator,
what is left in the portal's project. Exits with 1 if anything is, if a bay got stuck, or if a host was ever seen running twice.
"""

import argparse
import contextlib
import random
import secrets
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

import httpx

from bench.client import PortalClient
from bench.openstack import RunProject, Watch, clients, portal_over
from carina_portal.embedded.layout import ROOT
from carina_portal.embedded.terminal import Terminal
from tests.live.openstack.faults import Kind
from tests.live.openstack.lab import Lab
from tests.live.openstack.lab.place import Place
from tests.live.openstack.portal import OpenStackPortal
from tests.live.openstack.proxy import FaultProxy

FLAVORS = ("container1-4", "vm1-1", "metal1-16")
ANSWER_SECONDS = 20.0
"""How long the portal waits for an answer here: longer delays make requests arrive after it has given up."""
DELAYS = (0.5, 0.5, 2.0, 2.0, 24.0)
PATIENCE_SECONDS = 900.0
LOOK_SECONDS = 4.0
SWEEPS = 4
WORKER_SECONDS = 90.0
LATE_SECONDS = 27.0
"""How long the longest delayed request may still be on its way when the last bay is gone."""


@dataclass
class Score:
    """What happened."""

    asked: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    hosts: int = 0
    create_seconds: list[float] = field(default_factory=list)
    delete_seconds: list[float] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    kills: int = 0
    put_off: int = 0
    before_sweep: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    sweeps: int = 0
    unfinished: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    twice: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    looks: int = 0
    most: int = 0
    faults: dict[Kind, int] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing is left, nothing stuck, nothing came twice."""
        return not (any(self.left.values()) or self.stuck or self.unfinished or self.strays or self.twice)

    def lines(self) -> list[str]:
        """The figures, for people."""
        found = [f"{kind} {len(things)}" for kind, things in self.left.items()]
        lines = [
            f"cycles {self.kinds.total()} of {self.asked} ({', '.join(f'{kind} {number}' for kind, number in sorted(self.kinds.items()))})",
            f"hosts asked for {self.hosts}, at most {self.most} servers at once, {self.seconds:.0f} s",
            f"calls to the cloud {self.calls}, broken {sum(self.faults.values())}: {_kinds(self.faults)}",
            f"worker killed {self.kills} times; requests put off because the cloud did not answer: {self.put_off}",
            f"create {_median(self.create_seconds)}, delete {_median(self.delete_seconds)}",
            f"looks from outside {self.looks}; hosts that ran twice: {len(self.twice)} {self.twice or ''}",
            f"bays stuck {len(self.stuck)}, operations unfinished {len(self.unfinished)}, strays {len(self.strays)}",
            f"left before the sweep: {sum(map(len, self.before_sweep.values()))}; sweeps {self.sweeps}",
            f"left: {', '.join(found)}" + ("" if "volumes" in self.left else "; volumes were not asked for: this OpenStack has no Cinder"),
        ]
        lines += [f"  stuck: {sentence}" for sentence in [*self.stuck, *self.unfinished, *self.strays]]
        lines += [f"  left: {kind} {thing}" for kind, things in self.left.items() for thing in things]
        return lines


class Lives:
    """Lives of bays over one portal, some at once, with faults and kills meanwhile."""

    def __init__(
        self, *, portal: OpenStackPortal, proxy: FaultProxy, project: RunProject, seed: int, rate: float, kill_every: float
    ) -> None:
        self._portal, self._proxy, self._project = portal, proxy, project
        self._seed, self._rate, self._kill_every = seed, rate, kill_every
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._last_start = float("inf")
        self.score = Score()

    def run(self, *, cycles: int, at_once: int, watch: Watch, seconds: float = float("inf")) -> Score:
        """Live through all of them, wait until all is quiet, sweep, and count what is left. None begins after `seconds`."""
        begun = time.monotonic()
        self._last_start, self.score.asked = begun + seconds, cycles
        pool: Queue[PortalClient] = Queue()
        asking = clients(self._portal, number=at_once)
        for client in asking:
            pool.put(client)
        self._proxy.reset()
        trouble = threading.Thread(target=self._make_trouble, name="trouble")
        trouble.start()
        try:
            with ThreadPoolExecutor(max_workers=at_once) as threads:
                for done, _ in enumerate(threads.map(lambda number: self._live(number, pool), range(cycles)), start=1):
                    if done % 10 == 0 and time.monotonic() < self._last_start:
                        score, elapsed = self.score, time.monotonic() - begun
                        print(f"  {done} of {cycles}, {elapsed:.0f} s, {score.kills} kills, stuck {score.stuck}", flush=True)
        finally:
            self._stop.set()
            trouble.join()
            for client in asking:
                self.score.put_off += client.put_off
                client.http.close()
        self.score.faults = self._proxy.injected()
        self.score.calls = sum(number for number, _ in self._proxy.counts().values())
        self._proxy.clear()
        self._portal.stack.start_worker()
        self.score.before_sweep = self._project.census()
        time.sleep(LATE_SECONDS)
        self._sweep()
        self.score.left = self._project.census()
        self.score.unfinished, self.score.strays = self._unfinished()
        self.score.twice, self.score.looks, self.score.most = watch.twice, watch.looks, watch.most
        self.score.seconds = time.monotonic() - begun
        return self.score

    def _live(self, number: int, pool: "Queue[PortalClient]") -> None:
        if time.monotonic() > self._last_start:
            return
        dice = random.Random(f"{self._seed}/{number}")  # noqa: S311 - not a secret
        client = pool.get()
        name = f"life-{number}-{secrets.token_hex(2)}"
        kind = dice.choices(["plain", "resized", "cut short"], weights=[4, 3, 3])[0]
        try:
            self._one(client, name, kind=kind, dice=dice)
        except (RuntimeError, TimeoutError, httpx.HTTPError) as error:
            with self._guard:
                self.score.stuck.append(f"{name} ({kind}): {error}")
            with contextlib.suppress(RuntimeError, httpx.HTTPError):
                client.delete(name)
        finally:
            pool.put(client)
            with self._guard:
                self.score.kinds[kind] += 1

    def _one(self, client: PortalClient, name: str, *, kind: str, dice: random.Random) -> None:
        count = dice.choices([1, 2, 3], weights=[5, 3, 2])[0]
        managers = {"manager_count": 3} if count == 3 and dice.random() < 0.5 else {}  # noqa: PLR2004 - then a server group is made
        begun = time.monotonic()
        client.create(name=name, node_count=count, flavor=dice.choice(FLAVORS), **managers)
        with self._guard:
            self.score.hosts += count
        if kind == "cut short":
            time.sleep(dice.uniform(0, 6))
        else:
            client.wait(name, patience=PATIENCE_SECONDS, every=LOOK_SECONDS)
            with self._guard:
                self.score.create_seconds.append(time.monotonic() - begun)
        if kind == "resized":
            client.resize(name, max(count + dice.choice([-1, 1, 2]), 3 if managers else 1))
            if dice.random() < 0.7:  # noqa: PLR2004 - else it is deleted while it is being resized
                client.wait(name, patience=PATIENCE_SECONDS, every=LOOK_SECONDS)
            else:
                time.sleep(dice.uniform(0, 4))
        begun = time.monotonic()
        client.delete(name)
        client.wait_gone(name, patience=PATIENCE_SECONDS, every=LOOK_SECONDS)
        with self._guard:
            self.score.delete_seconds.append(time.monotonic() - begun)

    def _make_trouble(self) -> None:
        """Kill the worker now and then, and change how long delays are."""
        dice = random.Random(f"{self._seed}/trouble")  # noqa: S311 - not a secret
        while not self._stop.is_set():
            self._proxy.by_chance(rate=self._rate, seconds=dice.choice(DELAYS))
            if self._stop.wait(dice.uniform(0.3, 1.7) * self._kill_every):
                break
            self._portal.stack.kill_worker()
            self.score.kills += 1
            self._stop.wait(dice.uniform(0, 2))
            self._start_worker()

    def _start_worker(self) -> None:
        """Start the worker and wait until it takes orders: on a machine under load it would otherwise be killed before it ever did."""
        before = self._births()
        self._portal.stack.start_worker()
        deadline = time.monotonic() + WORKER_SECONDS
        while self._births() == before and time.monotonic() < deadline and not self._stop.wait(0.2):
            pass

    def _births(self) -> int:
        return (self._portal.stack.layout.logs / "worker.log").read_text(errors="replace").count(" ready.")

    def _sweep(self) -> None:
        """Do what the beat has done every minute, until nothing is left, but not for ever."""
        for _ in range(SWEEPS):
            if not any(self._project.census().values()):
                return
            self._portal.shell(
                "from apps.bays.leftovers import sweep_cloud; from apps.hosts.models import Cloud\n"
                "for cloud in Cloud.objects.filter(enabled=True): sweep_cloud(cloud=cloud)\n"
            )
            self.score.sweeps += 1
            time.sleep(2)

    def _unfinished(self) -> tuple[list[str], list[str]]:
        answer = self._portal.query(
            "[[f'{o.kind} {o.state} {o.code} {o.message}' for o in Operation.objects.filter(state__in=UNFINISHED)],"
            f" [s for c in Cloud.objects.filter(name={self._project.name!r}) for s in c.strays]]",
            imports="from apps.operations.models import Operation; from apps.operations.states import UNFINISHED\n"
            "from apps.hosts.models import Cloud",
        )
        assert isinstance(answer, list)  # noqa: S101 - narrows the type
        return answer[0], answer[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--rate", type=float, default=0.08, help="share of calls that are broken")
    parser.add_argument("--kill-every", type=float, default=45.0, help="seconds a worker lives before it is killed, on average")
    parser.add_argument("--own-networks", action="store_true", help="each bay has a network, router and floating IPs of its own")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no further life after so long")
    parser.add_argument("--lab", type=Path, help="state directory of a tests' OpenStack that runs already; else one is started")
    parser.add_argument("--var", type=Path, default=ROOT / "var" / "bench-openstack")
    parser.add_argument("--port", type=int, default=8795)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = Place(options.lab.resolve()) if options.lab else stack.enter_context(Lab(terminal=Terminal())).place
        score = leaks(
            place=place, cycles=options.cycles, at_once=options.at_once, seed=options.seed, rate=options.rate,
            kill_every=options.kill_every, own_networks=options.own_networks, var=options.var, port=options.port,
            seconds=60 * options.minutes,
        )  # fmt: skip
    print(f"seed {options.seed}, {'own networks' if options.own_networks else 'shared network'}")
    print("\n".join(score.lines()), flush=True)
    sys.exit(0 if score.clean else 1)


def leaks(
    *, place: Place, cycles: int, at_once: int, seed: int, rate: float, kill_every: float, own_networks: bool, var: Path, port: int,
    seconds: float = float("inf"),
) -> Score:  # fmt: skip
    """Run all of it over a tests' OpenStack that runs, with a proxy, project and portal of its own."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(lab=place, seed=seed))
        project = stack.enter_context(RunProject(place=place))
        portal = stack.enter_context(
            portal_over(project=project, proxy=proxy, var=var, port=port, own_networks=own_networks, seconds=ANSWER_SECONDS)
        )
        watch = stack.enter_context(Watch(project=project, place=place))
        lives = Lives(portal=portal, proxy=proxy, project=project, seed=seed, rate=rate, kill_every=kill_every)
        return lives.run(cycles=cycles, at_once=at_once, watch=watch, seconds=seconds)


def _kinds(faults: dict[Kind, int]) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in sorted(faults.items()))


def _median(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s" if seconds else "never"


if __name__ == "__main__":
    main()
