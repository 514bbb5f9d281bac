"""What a handler holds while it carries out an operation: its lease, its phases, its events."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from apps.common.clock import now
from apps.operations.lease import Lease, LeaseLost
from apps.operations.models import Event, Operation
from apps.operations.registry import PhaseSpec


class NotYet(Exception):
    """The world is not as desired yet; call again `after` seconds. The sentence tells people what is waited for.

    A `code` marks the wait as trouble, which people are told of; none that only time is lacking.
    """

    def __init__(self, sentence: str, *, after: float, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.after = after


class Run:
    """One attempt at an operation. Every write is conditional on the lease; a lost one raises LeaseLost."""

    def __init__(self, *, operation: Operation, lease: Lease, phases: list[PhaseSpec]) -> None:
        self.operation = operation
        self.begun_at = now()
        self._progress_before = operation.progress
        self.lease = lease
        self._specs = {spec.name: spec for spec in phases}
        self._total = sum(spec.weight for spec in phases)
        known = {phase["name"]: phase for phase in operation.phases}
        self._phases: list[dict[str, Any]] = [
            known.get(spec.name)
            or {"name": spec.name, "title": spec.title, "state": "pending", "started_at": None, "seconds": None, "detail": ""}
            for spec in phases
        ]

    @property
    def subject_id(self) -> uuid.UUID:
        """The id of what is to be changed."""
        return self.operation.subject_id

    def alive(self) -> None:
        """Raise LeaseLost or CancelRequested when this run must stop; call it before every outside action."""
        self.lease.check()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show phase `name` as running, and as done when the block ends well. A phase that was done before is only passed through."""
        self.alive()
        phase = self._entry(name)
        first = phase["state"] == "pending"
        if first:
            phase.update(state="running", started_at=now().isoformat())
            self._write(phase=name)
        yield
        if phase["state"] != "done":
            started = phase["started_at"]
            phase.update(state="done", seconds=_seconds_since(started), detail="")
        phase["checked_at"] = now().isoformat()
        self._write(phase=name)

    def settled(self, name: str, *, for_seconds: float) -> bool:
        """Whether phase `name` ended well less than `for_seconds` ago: an attempt that waits for something else need not look again."""
        checked = self._entry(name).get("checked_at")
        return checked is not None and _seconds_since(checked) < for_seconds

    def unsettle(self, name: str) -> None:
        """Have the next attempt look at phase `name` again: something that came after it did not go as it should."""
        if self._entry(name).pop("checked_at", None) is not None:
            self._write(phase=name)

    @property
    def progressed(self) -> bool:
        """Whether this attempt got further than all before it."""
        return self.operation.progress > self._progress_before

    @property
    def age(self) -> float:
        """Seconds since the operation was first begun."""
        started = self.operation.started_at
        return (now() - started).total_seconds() if started else 0.0

    def step(self, *, phase: str, done: int, total: int, detail: str) -> None:
        """Note that `done` of `total` parts of the running phase are there; `detail` is a few words such as "2 of 3 hosts started"."""
        entry = self._entry(phase)
        if entry["state"] == "running":
            entry["detail"] = detail
            self._write(phase=phase, fraction=done / total if total else 0.0)

    def event(self, *, code: str, message: str, level: str = "info", **data: Any) -> None:
        """Append an event of the subject, if the lease holds."""
        with self.lease.guard():
            add_event(operation=self.operation, code=code, message=message, level=level, data=data)

    def _entry(self, name: str) -> dict[str, Any]:
        return next(phase for phase in self._phases if phase["name"] == name)

    def _write(self, *, phase: str, fraction: float = 0.0) -> None:
        done = sum(self._specs[entry["name"]].weight for entry in self._phases if entry["state"] == "done")
        percent = min(
            99, int(100 * (done + self._specs[phase].weight * fraction * (self._entry(phase)["state"] == "running")) / self._total)
        )
        self.operation.progress = max(self.operation.progress, percent)
        held = Operation.objects.filter(id=self.operation.id, lease_token=self.lease.token)
        if not held.update(phase=phase, phases=self._phases, progress=self.operation.progress):
            raise LeaseLost


def add_event(*, operation: Operation, code: str, message: str, level: str = "info", data: dict[str, Any] | None = None) -> None:
    """Append an event about the operation's subject; the caller holds the transaction."""
    Event.objects.create(
        tenant_id=operation.tenant_id,
        subject_id=operation.subject_id,
        operation=operation,
        at=now(),
        level=level,
        code=code,
        message=message,
        data=data or {},
    )


def _seconds_since(started: str) -> float:
    return round((now() - datetime.fromisoformat(started)).total_seconds(), 2)
