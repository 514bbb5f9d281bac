"""The right to run an operation: taken by one compare-and-swap, kept by a heartbeat, lost by silence.

Whoever holds the lease token may write; a zombie's writes hit zero rows, and its next look at the lease tells it to stop.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import IntegrityError, connection, transaction
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, Q, Value
from django.db.models.functions import Coalesce

from apps.common.clock import now
from apps.common.scope import carried
from apps.operations.models import Operation
from apps.operations.states import State

log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """Somebody else has the operation now, or may have: stop acting at once and write nothing."""


class CancelRequested(Exception):
    """The operation was asked to stop, because a delete takes its place."""


def duration() -> timedelta:
    """Return how long a lease lasts without a heartbeat."""
    return timedelta(seconds=settings.OPERATION_LEASE_SECONDS)


def claim(*, operation_id: uuid.UUID) -> Operation | None:
    """Take the lease of an operation that is due, or whose holder fell silent; None if it is not to be had.

    One UPDATE decides (compare-and-swap); the partial unique index on running operations keeps two of one subject apart. Time during
    which nobody could work on it (no worker, a stopped portal) is added to its deadline.
    """
    moment = now()
    silence = ExpressionWrapper(Value(moment) - Coalesce("lease_expires_at", "due_at"), output_field=DurationField())
    due = Q(state__in=[State.PENDING, State.WAITING], due_at__lte=moment)
    orphaned = Q(state=State.RUNNING, lease_expires_at__lt=moment)
    try:
        with transaction.atomic():
            taken = Operation.objects.filter(due | orphaned, id=operation_id).update(
                state=State.RUNNING,
                lease_token=uuid.uuid4(),
                lease_expires_at=moment + duration(),
                attempts=F("attempts") + 1,
                deadline_at=ExpressionWrapper(F("deadline_at") + silence, output_field=DateTimeField()),
            )
            if not taken:
                return None
            operation = Operation.objects.select_related("tenant").get(id=operation_id)
            if operation.started_at is None:
                operation.started_at = moment
                operation.save(update_fields=["started_at"])
            return operation
    except IntegrityError:
        return None  # another operation of this subject runs; its end dispatches this one


class Lease:
    """A lease in the hands of one run. Safe to ask from any thread; only the heartbeat talks to the database."""

    def __init__(self, operation: Operation) -> None:
        assert operation.lease_token is not None, "only claimed operations have a lease"  # noqa: S101 - narrows the type
        self.operation_id = operation.id
        self.token = operation.lease_token
        self._good_until = time.monotonic() + duration().total_seconds()
        self._stop = threading.Event()
        self._cancel = operation.cancel_requested_at is not None
        self._lost = False

    def check(self) -> None:
        """Return if the right to act still holds; raises LeaseLost or CancelRequested. Free: call it before every outside action."""
        if self._lost or time.monotonic() > self._good_until:
            raise LeaseLost
        if self._cancel:
            raise CancelRequested

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Open a transaction in which the lease surely holds; raises LeaseLost before anything is written if it does not."""
        with transaction.atomic():
            held = Operation.objects.select_for_update().filter(id=self.operation_id, lease_token=self.token, state=State.RUNNING).exists()
            if not held:
                raise LeaseLost
            yield

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Renew the lease in a thread of its own while the block runs."""
        thread = threading.Thread(target=carried(self._beat), name=f"lease-{self.operation_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=5)

    def _beat(self) -> None:
        interval = min(1.0, duration().total_seconds() / 4)
        try:
            while not self._stop.wait(interval) and not self._lost:
                self._renew()
        finally:
            connection.close()

    def _renew(self) -> None:
        asked = time.monotonic()
        try:
            held = Operation.objects.filter(id=self.operation_id, lease_token=self.token, state=State.RUNNING)
            if not held.update(lease_expires_at=now() + duration()):
                self._lost = True
                return
            self._cancel = held.filter(cancel_requested_at__isnull=False).exists()
            self._good_until = asked + duration().total_seconds()
        except DatabaseError as error:
            # The lease simply runs out if the database stays away: check() sees to that.
            connection.close()
            log.warning("lease_not_renewed", operation=str(self.operation_id), error=type(error).__name__)
