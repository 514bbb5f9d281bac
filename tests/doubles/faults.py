"""Steps that fail on command, before or after they took effect: what doubles of outside systems have in common."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock


class Crash(BaseException):
    """The process died here: nothing that catches Exception sees it."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Raise `error` when `at` is reached for the `nth` time (counted since it all began)."""

    at: str
    nth: int
    error: BaseException
    after: bool


class Failing:
    """Something outside whose every effect is a `step`. Safe to use from several threads; `lock` is held during a step."""

    def __init__(self, *, steps: tuple[str, ...], by_chance: Callable[[random.Random, str], BaseException]) -> None:
        """`by_chance` makes the error of a step that fails at random."""
        self.lock = RLock()
        self._steps, self._by_chance = steps, by_chance
        self.forget_faults()

    def forget_faults(self) -> None:
        """Let nothing fail any more, and count from nothing."""
        self.reached: Counter[str] = Counter()
        self._faults: list[Fault] = []
        self._dice: random.Random | None = None
        self._rate = 0.0

    def fail(self, *, at: str, error: BaseException, nth: int = 1, after: bool = False) -> None:
        """Let the `nth` next time that step `at` is reached raise `error`, before its effect or `after` it."""
        if at not in self._steps:
            raise ValueError(f"{at!r} is no step: {', '.join(self._steps)}")
        with self.lock:
            self._faults.append(Fault(at=at, nth=self.reached[at] + nth, error=error, after=after))

    def fail_at_random(self, *, seed: int, rate: float) -> None:
        """From now on let every step fail with probability `rate`, half of the time after its effect; 0 ends it."""
        with self.lock:
            self._dice, self._rate = random.Random(seed), rate  # chance that can be repeated

    @contextmanager
    def step(self, at: str) -> Iterator[None]:
        """The effect of a step, with what goes wrong before and after it."""
        with self.lock:
            self.reached[at] += 1
            due = [fault for fault in self._faults if fault.at == at and fault.nth == self.reached[at]]
            self._faults = [fault for fault in self._faults if fault not in due]
            if self._dice is not None and self._dice.random() < self._rate:
                due.append(Fault(at=at, nth=0, error=self._by_chance(self._dice, at), after=self._dice.random() < 0.5))
            for fault in due:
                if not fault.after:
                    raise fault.error
            yield
            for fault in due:
                if fault.after:
                    raise fault.error
