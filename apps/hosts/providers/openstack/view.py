"""One list call for many askers: what a project holds, as it was a moment ago, brought up to date with our own changes.

With a hundred bays being made, every one of them wants to know about its hosts several times a second. They share one list: whoever
finds it too old fetches it anew while the others wait for the same answer. What this process itself made, changed or deleted since
the list was begun is laid over it, so that a host is seen right after its creation; after a request whose outcome is not known
every older list is void.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from apps.hosts.providers.openstack.errors import OutcomeUnknown

YOUNG_SECONDS = 1.0
OLDEST_SECONDS = 5.0
KNOWN_SECONDS = 5.0
"""How old a list may be that shows a thing; if the thing has gone since, the cloud says so when it is used."""
GRACE_SECONDS = 5.0
"""How long something we made is believed in although a list lacks it: Nova moves a new server between databases."""
Json = dict[str, Any]


class View:
    """A list of things with an `id`, safe to share between threads. `fetch` asks the cloud and may raise."""

    def __init__(self, *, fetch: Callable[[], list[Json]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._flight: Future[None] | None = None
        self._listed: dict[str, Json] = {}
        self._begun = float("-inf")
        self.took = 0.0
        """Seconds the last list took."""
        self._doubts = 0
        self._doubts_when_begun = 0
        self._ours: dict[str, tuple[float, Json | None]] = {}

    def look(self, *, age: float | None = None) -> list[Json]:
        """Return the things as of at most `age` seconds ago; by default a second, or twice as long as a list takes where that is more."""
        asked = self._clock()
        while True:
            with self._lock:
                allowed = age if age is not None else min(max(YOUNG_SECONDS, 2 * self.took), OLDEST_SECONDS)
                if self._begun >= asked - allowed and self._doubts_when_begun == self._doubts:
                    return self._merged()
                flight = self._flight
                if flight is None:
                    mine = self._flight = Future()
            if flight is not None:
                flight.result()
            else:
                self._fly(mine)

    def find(self, *, pick: Callable[[list[Json]], list[Json]], closer: Callable[[], list[Json]], enough: int = 1) -> list[Json]:
        """Return what `pick` takes from the list, or if that is not `enough` from `closer`, which asks the cloud anew for less.

        What is there may be known from an older list; that something is not there is believed only of an answer to this question.
        """
        asked = self._clock()
        picked = pick(self.look(age=KNOWN_SECONDS))
        if len(picked) >= enough or self._begun >= asked:
            return picked
        return pick(closer())

    def note(self, thing: Json) -> None:
        """Lay over the list what we have just made or changed."""
        with self._lock:
            self._ours[thing["id"]] = (self._clock(), thing)

    def forget(self, thing_id: str) -> None:
        """Lay over the list that a thing is gone."""
        with self._lock:
            self._ours[thing_id] = (self._clock(), None)

    def doubt(self) -> None:
        """Believe in no list begun until now: we asked for a change and do not know what came of it."""
        with self._lock:
            self._doubts += 1

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Around a request that changes the list: one whose outcome stays unknown makes every older list void."""
        try:
            yield
        except OutcomeUnknown:
            self.doubt()
            raise

    def _fly(self, flight: "Future[None]") -> None:
        begun, doubts = self._clock(), self._doubts
        try:
            listed = {thing["id"]: thing for thing in self._fetch()}
        except BaseException as error:
            with self._lock:
                self._flight = None
            flight.set_exception(error)
            raise
        with self._lock:
            self._flight, self._listed = None, listed
            self._begun, self.took, self._doubts_when_begun = begun, self._clock() - begun, doubts
            self._ours = {key: ours for key, ours in self._ours.items() if self._still_news(key, ours)}
        flight.set_result(None)

    def _still_news(self, key: str, ours: tuple[float, Json | None]) -> bool:
        moment, thing = ours
        if thing is not None and key not in self._listed:
            return moment + GRACE_SECONDS > self._begun
        return moment >= self._begun

    def _merged(self) -> list[Json]:
        merged = dict(self._listed)
        for key, (_, thing) in self._ours.items():
            if thing is None:
                merged.pop(key, None)
            else:
                merged[key] = thing
        return list(merged.values())
