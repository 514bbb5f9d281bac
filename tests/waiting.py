"""Waiting for what comes true by itself."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

SECONDS = float(os.environ.get("CARINA_TEST_PATIENCE_SECONDS", "60"))
"""How long anything may take; more of them for a machine that has much else to do."""

Seen = TypeVar("Seen")


def until(
    look: Callable[[], Seen], *, what: str, fits: Callable[[Seen], object] = bool, patience: float = SECONDS, every: float = 0.3
) -> Seen:
    """Return what `look()` sees once it `fits`, which is: once it is true; fails after `patience` seconds with what was seen last."""
    deadline = time.monotonic() + patience
    while not fits(seen := look()):
        assert time.monotonic() < deadline, f"waited {patience:.0f} s for {what}; seen: {seen!r}"
        time.sleep(every)
    return seen
