"""How many changes are under way at a cloud at a time: as many as it carries out soon, and fewer as soon as its answers come late.

A request that was given up is still carried out, and asking again makes two of it: too many at once make a small cloud slower than a few.
Additive increase and multiplicative decrease find what there is, as in TCP (RFC 5681, 3.1), but by the time answers take and not by loss
alone, so that nothing has to be given up to find out (as in TCP Vegas, Brakmo and Peterson 1995).
"""

import threading

FEWEST = 2
FIRST = 4
QUICK, LATE = 0.1, 0.3
"""Answers within a tenth of the patience make room for more, those that take three tenths or never come for fewer."""


class Lane:
    """Room for changes at one cloud, between `FEWEST` and `most`; `patience` is the seconds an answer may take at most."""

    def __init__(self, *, most: int, patience: float) -> None:
        self._most, self._patience = most, patience
        self._width = float(min(FIRST, most))
        self._inside = 0
        self._until_next_cut = 0
        self._moved = threading.Condition()

    @property
    def width(self) -> int:
        """How many may be inside now."""
        return int(self._width)

    def enter(self, *, seconds: float) -> bool:
        """Take a place, waiting for it at most so long; False if there was none. Who has one leaves again."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._inside < self.width, timeout=seconds):
                return False
            self._inside += 1
            return True

    def leave(self, *, took: float) -> None:
        """Give the place back after `took` seconds, and let that decide how many there are.

        Requests that were inside together are late together: they make the lane narrower only once.
        """
        with self._moved:
            self._inside -= 1
            if self._until_next_cut:
                self._until_next_cut -= 1
            elif took >= LATE * self._patience:
                self._until_next_cut = self._inside
                self._width = max(float(min(FEWEST, self._most)), self._width / 2)
            if took <= QUICK * self._patience:
                self._width = min(float(self._most), self._width + 1 / self._width)
            self._moved.notify_all()
