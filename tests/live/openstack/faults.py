"""What can go wrong between a portal and a cloud, which calls it happens to, and counts of calls."""

import random
import re
import threading
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Ways in which a call breaks."""

    DROP_BEFORE = "drop-before"
    """The connection is cut, and the cloud never sees the call."""
    DROP_AFTER = "drop-after"
    """The cloud did it; the connection is cut before the answer."""
    DELAY_BEFORE = "delay-before"
    DELAY_AFTER = "delay-after"
    TIMEOUT_AFTER = "504-after"
    """The cloud did it; the answer is 504, as of a load balancer that lost patience."""
    TOO_MANY = "429"
    """Refused before the cloud sees it."""
    UNAVAILABLE = "503"
    """Likewise."""


ID = re.compile(r"^([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}|\d+)$", re.IGNORECASE)
# Below these a name may stand where an id does.
NAMED = {
    "flavors",
    "images",
    "keypairs",
    "os-keypairs",
    "networks",
    "routers",
    "security-groups",
    "servers",
    "subnets",
    "users",
    "projects",
}
NOT_NAMES = {"detail", "default", "defaults"}


def template(path: str) -> str:
    """Return the path with `{id}` and `{name}` in place of what differs from call to call."""
    parts = path.rstrip("/").split("/")
    found = []
    for before, part in zip(["", *parts], parts, strict=False):
        named = before in NAMED and part not in NOT_NAMES
        found.append("{id}" if ID.match(part) else "{name}" if named else part)
    return "/".join(found) or "/"


@dataclass
class Fault:
    """A way to break calls, and which; `times` 0 is all of them, `skip` lets the first ones pass."""

    kind: Kind
    service: str = ""
    method: str = ""
    path: str = ""
    times: int = 1
    seconds: float = 1
    skip: int = 0

    def applies(self, *, service: str, method: str, path: str) -> bool:
        """Whether the call is one of those."""
        return self.service in {"", service} and self.method.upper() in {"", method} and re.search(self.path, path) is not None


class Faults:
    """The faults that wait to happen. Threads may use it at the same time."""

    def __init__(self, *, seed: int) -> None:
        self._random = random.Random(seed)
        self._guard = threading.Lock()
        self._waiting: list[Fault] = []
        self._rate, self._seconds = 0.0, 1.0
        self._kinds: tuple[Kind, ...] = ()
        self._services: tuple[str, ...] = ()

    def add(self, fault: Fault) -> None:
        """Let it wait for its calls; the first that applies to a call happens."""
        with self._guard:
            self._waiting.append(fault)

    def by_chance(self, *, rate: float, kinds: tuple[Kind, ...], services: tuple[str, ...], seconds: float) -> None:
        """Break a share of all calls that no other fault applies to."""
        with self._guard:
            self._rate, self._kinds, self._services, self._seconds = rate, kinds, services, seconds

    def clear(self) -> None:
        """Forget all of them."""
        with self._guard:
            self._waiting.clear()
            self._rate = 0.0

    def choose(self, *, service: str, method: str, path: str) -> Fault | None:
        """Return the fault that happens to this call, and count it as having happened."""
        with self._guard:
            for fault in self._waiting:
                if not fault.applies(service=service, method=method, path=path):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times:
                    fault.times -= 1
                    if not fault.times:
                        self._waiting.remove(fault)
                return fault
            if self._rate and service in self._services and self._random.random() < self._rate:
                return Fault(kind=self._random.choice(self._kinds), seconds=self._seconds)
            return None


class Calls:
    """How often and how long. Threads may use it at the same time."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._counts: dict[tuple[str, str, str, int], tuple[int, float]] = {}
        self._injected: Counter[Kind] = Counter()

    def add(self, *, key: tuple[str, str, str, int], seconds: float, kind: Kind | None) -> None:
        """Count one call and the fault it met."""
        with self._guard:
            number, total = self._counts.get(key, (0, 0.0))
            self._counts[key] = (number + 1, total + seconds)
            if kind is not None:
                self._injected[kind] += 1

    def all(self) -> dict[tuple[str, str, str, int], tuple[int, float]]:
        """Return the number of calls and their seconds by (service, method, path template, status)."""
        with self._guard:
            return dict(self._counts)

    def injected(self) -> dict[Kind, int]:
        """Return how often each kind happened."""
        with self._guard:
            return dict(self._injected)

    def clear(self) -> None:
        """Count from nothing."""
        with self._guard:
            self._counts.clear()
            self._injected.clear()
