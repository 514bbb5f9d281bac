"""The operations engine on real PostgreSQL: leases, crashes, waits, cancellation. Handlers are written per test; no bay is involved."""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F

from apps.audit.services import Actor
from apps.common.clock import now
from apps.common.scope import carried
from apps.hosts.contracts import CloudCrowded
from apps.operations import dispatch, engine, registry
from apps.operations.lease import CancelRequested, Lease, LeaseLost, claim
from apps.operations.models import Event, Operation
from apps.operations.registry import PhaseSpec
from apps.operations.run import NotYet, Run
from apps.operations.states import State
from apps.tenants.models import Tenant

pytestmark = pytest.mark.django_db(transaction=True)
ALICE = Actor(id="alice", label="alice@example.com")


class Handler:
    """A handler whose work is a function of the test."""

    deadline: timedelta | None = timedelta(minutes=1)
    work: Callable[[Run], None]
    outcomes: list[engine.Outcome]

    def phases(self, *, operation: Operation) -> Sequence[PhaseSpec]:
        return [PhaseSpec(name="first", title="First", weight=1), PhaseSpec(name="second", title="Second", weight=3)]

    def execute(self, run: Run) -> None:
        type(self).work(run)

    def finish(self, *, operation: Operation, outcome: engine.Outcome) -> None:
        type(self).outcomes.append(outcome)


class Endless(Handler):
    deadline = None


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug=f"t{uuid.uuid4().hex[:8]}", name="T", created_at=now())


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[uuid.UUID, float]]:
    messages: list[tuple[uuid.UUID, float]] = []

    def note(*, operation_id: uuid.UUID, after: float = 0.0) -> None:
        messages.append((operation_id, after))

    monkeypatch.setattr(dispatch, "send", note)
    return messages


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch, sent: list[tuple[uuid.UUID, float]]) -> Iterator[None]:
    monkeypatch.setitem(registry.KINDS, "bay.probe", f"{__name__}.Handler")
    monkeypatch.setitem(registry.KINDS, "bay.endless", f"{__name__}.Endless")
    Handler.outcomes = Endless.outcomes = []
    Handler.work = staticmethod(lambda run: None)
    Endless.work = Handler.work
    yield


def does(work: Callable[[Run], None]) -> None:
    Handler.work = Endless.work = staticmethod(work)


def submitted(tenant: Tenant, *, kind: str = "bay.probe", subject: uuid.UUID | None = None, preempts: bool = False) -> Operation:
    with transaction.atomic():
        return engine.submit(tenant=tenant, kind=kind, subject_id=subject or uuid.uuid4(), generation=1, by=ALICE, preempts=preempts)


def reread(operation: Operation) -> Operation:
    return Operation.objects.get(id=operation.id)


def make_due(operation: Operation) -> None:
    Operation.objects.filter(id=operation.id).update(due_at=now() - timedelta(seconds=1), dispatched_at=None)


def test_an_operation_is_sent_only_when_its_transaction_commits(tenant: Tenant, sent: list[tuple[uuid.UUID, float]]) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        engine.submit(tenant=tenant, kind="bay.probe", subject_id=uuid.uuid4(), generation=1, by=ALICE)
        raise RuntimeError
    assert sent == []
    assert Operation.objects.count() == 0
    operation = submitted(tenant)
    assert sent == [(operation.id, 0.0)]


def test_an_operation_that_ends_well_is_succeeded_with_full_progress_and_an_event(tenant: Tenant) -> None:
    operation = submitted(tenant)
    engine.run_operation(operation_id=operation.id)
    ended = reread(operation)
    assert (ended.state, ended.progress, ended.code, ended.lease_token) == (State.SUCCEEDED, 100, "", None)
    assert ended.finished_at is not None
    assert [outcome.state for outcome in Handler.outcomes] == [State.SUCCEEDED]
    assert Event.objects.get(operation=operation).code == "operation.succeeded"


def test_a_message_delivered_twice_acts_once(tenant: Tenant) -> None:
    calls: list[int] = []
    does(lambda run: calls.append(1))
    operation = submitted(tenant)
    for _ in range(3):
        engine.run_operation(operation_id=operation.id)
    assert calls == [1]


def test_of_twenty_workers_that_claim_at_once_exactly_one_wins(tenant: Tenant) -> None:
    operation = submitted(tenant)
    won: list[Operation | None] = []
    start = threading.Barrier(20)

    def worker() -> None:
        start.wait()
        try:
            won.append(claim(operation_id=operation.id))
        finally:
            connection.close()

    threads = [threading.Thread(target=carried(worker)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 20
    assert len([claimed for claimed in won if claimed is not None]) == 1


def test_a_silent_workers_operation_is_taken_over_and_the_zombie_writes_nothing(tenant: Tenant) -> None:
    operation = submitted(tenant)
    zombie = claim(operation_id=operation.id)
    assert zombie is not None
    assert claim(operation_id=operation.id) is None
    Operation.objects.filter(id=operation.id).update(lease_expires_at=now() - timedelta(seconds=1))
    assert engine.sweep() == 1
    engine.run_operation(operation_id=operation.id)
    assert reread(operation).state == State.SUCCEEDED
    run = Run(operation=zombie, lease=Lease(zombie), phases=list(Handler().phases(operation=zombie)))
    with pytest.raises(LeaseLost), run.phase("first"):
        pytest.fail("a zombie entered a phase")
    with pytest.raises(LeaseLost):
        run.event(code="zombie", message="must not be written")
    assert not Event.objects.filter(code="zombie").exists()


def test_a_lease_that_was_not_renewed_in_time_forbids_acting_even_before_anybody_else_takes_it(tenant: Tenant, settings: object) -> None:
    settings.OPERATION_LEASE_SECONDS = 0  # type: ignore[attr-defined]
    operation = submitted(tenant)
    claimed = claim(operation_id=operation.id)
    assert claimed is not None
    with pytest.raises(LeaseLost):
        Lease(claimed).check()


def test_a_handler_that_has_to_wait_costs_no_worker_and_goes_on_when_due(tenant: Tenant, sent: list[tuple[uuid.UUID, float]]) -> None:
    def wait_once(run: Run) -> None:
        if run.operation.attempts == 1:
            raise NotYet("The engine of web-1 does not answer yet.", code="engine_not_ready", after=7.0)

    does(wait_once)
    operation = submitted(tenant)
    engine.run_operation(operation_id=operation.id)
    waiting = reread(operation)
    assert (waiting.state, waiting.code, waiting.lease_token) == (State.WAITING, "engine_not_ready", None)
    assert waiting.message == "The engine of web-1 does not answer yet."
    assert sent[-1] == (operation.id, 7.0)
    engine.run_operation(operation_id=operation.id)
    assert reread(operation).state == State.WAITING, "it is not due yet"
    make_due(operation)
    engine.run_operation(operation_id=operation.id)
    assert reread(operation).state == State.SUCCEEDED


class Hiccup(Exception):
    code = "cloud_unreachable"
    transient = True


class Refusal(Exception):
    code = "cloud_refused"
    transient = False


def fails_with(error: Exception) -> Callable[[Run], None]:
    def work(run: Run) -> None:
        raise error

    return work


def test_transient_trouble_is_tried_again_ever_more_slowly(tenant: Tenant, sent: list[tuple[uuid.UUID, float]]) -> None:
    does(fails_with(Hiccup("The cloud did not answer in 5 s.")))
    operation = submitted(tenant)
    for _ in range(4):
        make_due(operation)
        engine.run_operation(operation_id=operation.id)
    assert [after for _, after in sent if after] == [0.5, 1.0, 2.0, 4.0]
    assert reread(operation).message == "The cloud did not answer in 5 s."


def test_transient_trouble_past_the_deadline_is_a_failure_that_says_what_it_was(tenant: Tenant) -> None:
    does(fails_with(Hiccup("The cloud did not answer in 5 s.")))
    operation = submitted(tenant)
    Operation.objects.filter(id=operation.id).update(deadline_at=F("due_at"))
    engine.run_operation(operation_id=operation.id)
    ended = reread(operation)
    assert (ended.state, ended.code) == (State.FAILED, "cloud_unreachable")
    assert ended.message == "Given up: The cloud did not answer in 5 s."


def test_trouble_after_patient_waits_is_tried_again_at_once_and_not_as_if_the_waits_had_been_trouble(
    tenant: Tenant, sent: list[tuple[uuid.UUID, float]]
) -> None:
    def work(run: Run) -> None:
        if run.operation.attempts <= 6:
            raise NotYet("Still booting.", code="engine_not_ready", after=0.25)
        raise Hiccup("One bad answer.")

    does(work)
    operation = submitted(tenant)
    for _ in range(7):
        make_due(operation)
        engine.run_operation(operation_id=operation.id)
    assert sent[-1] == (operation.id, 0.5)


def test_an_attempt_that_got_further_before_its_trouble_is_followed_by_the_next_at_once(
    tenant: Tenant, sent: list[tuple[uuid.UUID, float]]
) -> None:
    def work(run: Run) -> None:
        with run.phase("first"):
            run.step(phase="first", done=[0, 0, 0, 1, 1][run.operation.attempts - 1], total=2, detail="some")
            raise Hiccup("One bad answer.")

    does(work)
    operation = submitted(tenant)
    for _ in range(5):
        make_due(operation)
        engine.run_operation(operation_id=operation.id)
    assert [after for _, after in sent if after] == [0.5, 1.0, 2.0, 0.5, 1.0]


def test_time_in_which_no_worker_ran_does_not_count_against_the_deadline(tenant: Tenant) -> None:
    does(fails_with(NotYet("The hosts boot.", code="engine_not_ready", after=0.25)))
    operation = submitted(tenant)
    night = timedelta(hours=9)
    Operation.objects.filter(id=operation.id).update(
        state=State.RUNNING, lease_token=uuid.uuid4(), lease_expires_at=now() - night, deadline_at=now() - night + timedelta(minutes=1)
    )
    engine.run_operation(operation_id=operation.id)
    waiting = reread(operation)
    assert waiting.state == State.WAITING
    assert waiting.deadline_at is not None
    assert timedelta(seconds=30) < waiting.deadline_at - now() <= timedelta(minutes=1)


def test_in_a_queue_those_who_came_first_ask_more_often_and_other_organisations_count(
    tenant: Tenant, sent: list[tuple[uuid.UUID, float]]
) -> None:
    does(fails_with(CloudCrowded("The cloud is starting 30 other hosts.")))
    other = Tenant.objects.create(slug=f"t{uuid.uuid4().hex[:8]}", name="Other", created_at=now())
    queue = [submitted(owner) for owner in (tenant, other, tenant)]
    for operation in queue:
        engine.run_operation(operation_id=operation.id)
    waits = dict(sent)
    assert [waits[operation.id] for operation in queue] == [5.0, 5.5, 6.0]
    assert all(reread(operation).troubles == 0 for operation in queue)


def test_a_refusal_fails_at_once_but_a_handler_without_deadline_never_gives_up(tenant: Tenant) -> None:
    does(fails_with(Refusal("Not allowed.")))
    operation, endless = submitted(tenant), submitted(tenant, kind="bay.endless")
    engine.run_operation(operation_id=operation.id)
    engine.run_operation(operation_id=endless.id)
    assert (reread(operation).state, reread(operation).code) == (State.FAILED, "cloud_refused")
    assert (reread(endless).state, reread(endless).code) == (State.WAITING, "cloud_refused")


def test_a_mistake_of_ours_fails_with_a_code_and_tells_the_user_nothing_inner(tenant: Tenant) -> None:
    does(fails_with(ZeroDivisionError("secret detail")))
    operation = submitted(tenant)
    engine.run_operation(operation_id=operation.id)
    ended = reread(operation)
    assert (ended.state, ended.code) == (State.FAILED, "internal")
    assert "secret detail" not in ended.message


def test_progress_never_goes_back_over_attempts_and_phases_keep_their_times(tenant: Tenant) -> None:
    seen: list[int] = []

    def work(run: Run) -> None:
        with run.phase("first"):
            run.step(phase="first", done=1, total=2, detail="1 of 2")
            seen.append(reread(run.operation).progress)
        with run.phase("second"):
            run.step(phase="second", done=1, total=3, detail="1 of 3")
            seen.append(reread(run.operation).progress)
            if run.operation.attempts < 3:
                raise NotYet("Later.", code="engine_not_ready", after=0.1)

    does(work)
    operation = submitted(tenant)
    for _ in range(3):
        make_due(operation)
        engine.run_operation(operation_id=operation.id)
    assert seen == sorted(seen)
    ended = reread(operation)
    assert ended.progress == 100
    assert [(phase["name"], phase["state"]) for phase in ended.phases] == [("first", "done"), ("second", "done")]
    assert all(phase["seconds"] is not None for phase in ended.phases)


def test_a_preempting_operation_cancels_an_idle_one_and_runs_at_once(tenant: Tenant) -> None:
    subject = uuid.uuid4()
    create = submitted(tenant, subject=subject)
    delete = submitted(tenant, kind="bay.endless", subject=subject, preempts=True)
    assert reread(create).state == State.CANCELLED
    engine.run_operation(operation_id=create.id)
    engine.run_operation(operation_id=delete.id)
    assert (reread(create).state, reread(delete).state) == (State.CANCELLED, State.SUCCEEDED)


def test_a_preempting_operation_waits_until_the_running_one_has_let_go(tenant: Tenant, sent: list[tuple[uuid.UUID, float]]) -> None:
    subject = uuid.uuid4()
    create = submitted(tenant, subject=subject)
    deletes: list[Operation] = []

    def work(run: Run) -> None:
        if run.operation.id != create.id:
            return
        deletes.append(submitted(tenant, kind="bay.endless", subject=subject, preempts=True))
        engine.run_operation(operation_id=deletes[0].id)
        assert reread(deletes[0]).state == State.PENDING, "two operations of one subject never run at once"
        for _ in range(40):
            threading.Event().wait(0.1)
            run.alive()

    does(work)
    engine.run_operation(operation_id=create.id)
    assert reread(create).state == State.CANCELLED
    assert sent[-1] == (deletes[0].id, 0.0), "the end of the one wakes the other"
    engine.run_operation(operation_id=deletes[0].id)
    assert reread(deletes[0]).state == State.SUCCEEDED


def test_a_dead_workers_operation_that_was_asked_to_stop_is_cancelled_without_acting(tenant: Tenant) -> None:
    calls: list[int] = []
    does(lambda run: calls.append(1))
    subject = uuid.uuid4()
    create = submitted(tenant, subject=subject)
    assert claim(operation_id=create.id) is not None
    delete = submitted(tenant, kind="bay.endless", subject=subject, preempts=True)
    Operation.objects.filter(id=create.id).update(lease_expires_at=now() - timedelta(seconds=1))
    engine.run_operation(operation_id=create.id)
    assert (reread(create).state, calls) == (State.CANCELLED, [])
    engine.run_operation(operation_id=delete.id)
    assert reread(delete).state == State.SUCCEEDED


def test_the_database_refuses_a_second_unfinished_operation_of_a_subject(tenant: Tenant) -> None:
    subject = uuid.uuid4()
    submitted(tenant, subject=subject)
    with pytest.raises(IntegrityError):
        submitted(tenant, subject=subject)


def test_the_sweep_sends_what_was_lost_but_not_what_was_just_sent(tenant: Tenant, sent: list[tuple[uuid.UUID, float]]) -> None:
    lost, fresh = submitted(tenant), submitted(tenant)
    Operation.objects.filter(id=lost.id).update(dispatched_at=now() - timedelta(seconds=6))
    sent.clear()
    assert engine.sweep() == 1
    assert sent == [(lost.id, 0.0)]
    assert engine.sweep() == 0
    assert reread(fresh).state == State.PENDING


def test_a_broker_that_is_down_never_fails_a_request(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(registry.KINDS, "bay.probe", f"{__name__}.Handler")

    def down(*args: object, **kwargs: object) -> None:
        raise ConnectionRefusedError("broker")

    monkeypatch.setattr("apps.common.dispatch.current_app.send_task", down)
    operation = submitted(tenant)
    assert reread(operation).state == State.PENDING


def test_history_cannot_be_rewritten(tenant: Tenant) -> None:
    operation = submitted(tenant)
    engine.run_operation(operation_id=operation.id)
    with pytest.raises(DatabaseError, match="history"), transaction.atomic():
        Event.objects.filter(operation=operation).update(message="nothing happened")
    with pytest.raises(DatabaseError, match="history"), transaction.atomic():
        Event.objects.filter(operation=operation).delete()


def test_a_cancelled_run_is_told_by_its_next_look_at_the_lease(tenant: Tenant) -> None:
    operation = submitted(tenant)
    Operation.objects.filter(id=operation.id).update(cancel_requested_at=now())
    claimed = claim(operation_id=operation.id)
    assert claimed is not None
    with pytest.raises(CancelRequested):
        Lease(claimed).check()
