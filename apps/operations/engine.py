"""Takes an operation that is due, lets its handler run, and writes down how it ended.

States are drawn in docs/architecture.md. Nothing here knows what a bay is; nothing here sleeps.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import Error as DatabaseError
from django.db.models import F, Q

from apps.audit.services import Actor
from apps.common.clock import now
from apps.common.scope import as_system, in_tenant
from apps.operations import dispatch
from apps.operations.codes import code_named
from apps.operations.lease import CancelRequested, Lease, LeaseLost, claim
from apps.operations.models import Operation
from apps.operations.registry import Handler, load_handler
from apps.operations.run import NotYet, Run, add_event
from apps.operations.states import UNFINISHED, State
from apps.tenants.models import Tenant

log = structlog.get_logger(__name__)
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 60.0
QUEUE_SECONDS, LONGEST_IN_QUEUE = 5.0, 60.0
"""How often the first in a queue asks whether its turn has come, and the last of a long one: each ten ahead add as much again."""
RESEND_AFTER = timedelta(seconds=5)
SWEEP_LIMIT = 500


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an operation ended; `code` and `message` are empty when it succeeded."""

    state: State
    code: str = ""
    message: str = ""
    at: datetime


def submit(
    *,
    tenant: Tenant,
    kind: str,
    subject_id: uuid.UUID,
    generation: int,
    by: Actor,
    preempts: bool = False,
    limit: timedelta | None = None,
) -> Operation:
    """Insert an operation in the caller's transaction and send it on commit. A preempting one asks the running one to stop.

    `limit` is how long it may take, where that is not what its kind usually may. Raises IntegrityError if an unfinished operation is in its
    place (callers hold the subject's row lock and look first).
    """
    moment = now()
    limit = limit or load_handler(kind=kind).deadline
    if preempts:
        _request_cancel(subject_id=subject_id)
    operation = Operation.objects.create(
        tenant=tenant,
        kind=kind,
        subject_id=subject_id,
        generation=generation,
        preempts=preempts,
        requested_by=by.label,
        due_at=moment,
        dispatched_at=moment,
        created_at=moment,
        deadline_at=moment + limit if limit else None,
    )
    dispatch.on_commit(operation_id=operation.id)
    return operation


def run_operation(*, operation_id: uuid.UUID) -> None:
    """Claim the operation and carry it out as far as the world lets us; harmless when it is not due or somebody else has it."""
    operation = claim(operation_id=operation_id)
    if operation is None:
        return
    names = structlog.contextvars.bound_contextvars(operation=str(operation.id), kind=operation.kind, subject=str(operation.subject_id))
    with names, in_tenant(operation.tenant_id):
        handler = load_handler(kind=operation.kind)
        lease = Lease(operation)
        try:
            _attempt(operation=operation, handler=handler, lease=lease)
        except LeaseLost:
            log.warning("lease_lost")
            return
    _dispatch_next(subject_id=operation.subject_id)


def sweep() -> int:
    """Send again every operation that is due and was not sent lately, and those whose worker fell silent; return how many."""
    moment = now()
    due = Q(state__in=[State.PENDING, State.WAITING], due_at__lte=moment)
    orphaned = Q(state=State.RUNNING, lease_expires_at__lt=moment)
    unsent = Q(dispatched_at=None) | Q(dispatched_at__lt=moment - RESEND_AFTER)
    ids = list(Operation.objects.filter(due & unsent | orphaned).order_by("due_at").values_list("id", flat=True)[:SWEEP_LIMIT])
    Operation.objects.filter(id__in=ids).update(dispatched_at=moment)
    for operation_id in ids:
        dispatch.send(operation_id=operation_id)
    return len(ids)


def _attempt(*, operation: Operation, handler: Handler, lease: Lease) -> None:
    run = Run(operation=operation, lease=lease, phases=list(handler.phases(operation=operation)))
    try:
        with lease.kept_alive():
            lease.check()
            handler.execute(run)
        _end(run, handler, Outcome(state=State.SUCCEEDED, at=now()))
    except NotYet as wait:
        _wait(run, handler, after=wait.after, code=wait.code, message=str(wait), troubles=0)
    except CancelRequested:
        _end(run, handler, Outcome(state=State.CANCELLED, code="cancelled", message="A later request took its place.", at=now()))
    except (LeaseLost, DatabaseError):
        raise  # the lease runs out and the sweep sends the operation again
    except Exception as error:  # noqa: BLE001 - whatever a handler raises ends in a code and a sentence, never in silence
        _trouble(run, handler, error)


def _trouble(run: Run, handler: Handler, error: Exception) -> None:
    code = getattr(error, "code", "internal")
    transient = getattr(error, "transient", False)
    if getattr(error, "queued", False):
        _wait(run, handler, after=_turn_of(run.operation, code=code), code=code, message=str(error), troubles=0, queued=True)
        return
    if code == "internal":
        log.error("operation_failed_by_mistake", exc_info=error)
    else:
        log.warning("operation_trouble", code=code, error=str(error), attempt=run.operation.attempts)
    message = code_named(code="internal").title if code == "internal" else str(error)
    if transient or handler.deadline is None:
        before = 0 if run.progressed else run.operation.troubles
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(before, 10))
        _wait(run, handler, after=backoff, code=code, message=message, troubles=before + 1)
    else:
        _end(run, handler, Outcome(state=State.FAILED, code=code, message=message, at=now()))


def _turn_of(operation: Operation, *, code: str) -> float:
    """Return after how many seconds a queued operation asks again: those that came first ask more often, so theirs is the next turn."""
    with as_system("length of a queue"):
        ahead = Operation.objects.filter(state=State.WAITING, code=code, created_at__lt=operation.created_at).count()
    return min(LONGEST_IN_QUEUE, QUEUE_SECONDS * (1 + ahead / 10))


def _wait(run: Run, handler: Handler, *, after: float, code: str, message: str, troubles: int, queued: bool = False) -> None:
    """Give the lease back until a due time; `troubles` counts those in a row without progress, which are tried again ever more slowly.

    While an operation is `queued`, its deadline moves on as the time goes by.
    """
    operation, moment = run.operation, now()
    due_at = moment + timedelta(seconds=after)
    if queued and operation.deadline_at is not None:
        operation.deadline_at += due_at - run.begun_at
    if operation.deadline_at is not None and due_at > operation.deadline_at:
        _end(run, handler, Outcome(state=State.FAILED, code=code or "timed_out", message=f"Given up: {message}", at=moment))
        return
    with run.lease.guard():
        Operation.objects.filter(id=operation.id).update(
            state=State.WAITING,
            deadline_at=operation.deadline_at,
            due_at=due_at,
            dispatched_at=due_at,
            code=code,
            message=message,
            troubles=troubles,
            lease_token=None,
            lease_expires_at=None,
        )
        if code != operation.code:
            add_event(operation=operation, code=f"waiting.{code}", message=message, level="info" if queued else "warning")
    dispatch.send(operation_id=operation.id, after=after)


def _end(run: Run, handler: Handler, outcome: Outcome) -> None:
    operation = run.operation
    with run.lease.guard():
        handler.finish(operation=operation, outcome=outcome)
        Operation.objects.filter(id=operation.id).update(
            state=outcome.state,
            code=outcome.code,
            message=outcome.message,
            finished_at=outcome.at,
            lease_token=None,
            lease_expires_at=None,
            progress=100 if outcome.state == State.SUCCEEDED else F("progress"),
        )
        seconds = (outcome.at - operation.created_at).total_seconds()
        words = {
            State.SUCCEEDED: f"done in {seconds:.1f} s",
            State.FAILED: f"failed: {outcome.message}",
            State.CANCELLED: "stopped: a later request took its place",
        }
        add_event(
            operation=operation,
            code=f"operation.{outcome.state}",
            level="error" if outcome.state == State.FAILED else "info",
            message=f"{operation.kind.partition('.')[2].capitalize()} {words[outcome.state]}",
            data={"seconds": round(seconds, 2), "code": outcome.code},
        )
    log.info("operation_ended", state=str(outcome.state), code=outcome.code, seconds=round(seconds, 2))


def _request_cancel(*, subject_id: uuid.UUID) -> None:
    moment = now()
    others = Operation.objects.filter(subject_id=subject_id, preempts=False)
    idle = others.filter(state__in=[State.PENDING, State.WAITING])
    idle.update(state=State.CANCELLED, code="cancelled", message="A later request took its place.", finished_at=moment)
    others.filter(state=State.RUNNING).update(cancel_requested_at=moment)


def _dispatch_next(*, subject_id: uuid.UUID) -> None:
    following = (
        Operation.objects.filter(subject_id=subject_id, state__in=UNFINISHED, due_at__lte=now()).exclude(state=State.RUNNING).first()
    )
    if following is not None:
        dispatch.send(operation_id=following.id)
