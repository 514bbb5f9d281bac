"""What pages show of bays: states as word, icon and tone; progress as phases with their seconds; trouble with what to do about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.bays.models import Bay, Condition, Health, Host
from apps.common.clock import now
from apps.operations.codes import code_named
from apps.operations.models import Operation
from apps.operations.states import State

Words = str | Promise
EVENTS_PER_PAGE = 50
PATIENT_CODES = frozenset({"engine_not_ready", "cloud_busy", "cloud_crowded", "leftovers"})
"""Waits that belong to every change; they are only worth words when they last."""
PATIENCE = timedelta(seconds=20)
QUICK_LOOKS = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True)
class Look:
    """A state for the eye: `tone` is one of good, busy, warn, bad, idle; the word alone must say it all."""

    word: Words
    icon: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class PhaseRow:
    """A phase of an operation. `seconds` is how long it took, or takes so far; None before it began."""

    title: str
    state: str
    seconds: float | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A running operation. `look_again` is how soon the page shall ask again, as htmx writes it."""

    operation: Operation
    title: str
    percent: int
    seconds: float
    phases: list[PhaseRow]
    look_again: str


@dataclass(frozen=True, kw_only=True)
class LastChange:
    """The newest operation, after it was done: what it was, how long it took, and what of that each phase."""

    title: str
    seconds: float
    finished_at: datetime
    phases: list[PhaseRow]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why a bay is not well: what happened, whether it is up to the user, what to do, and the label of the button that does it."""

    title: str
    message: str
    advice: str
    user_can_fix: bool
    button: str
    tone: str


_WHILE = {
    "creating": Look(word=gettext_lazy("Creating"), icon="loader-2", tone="busy"),
    "updating": Look(word=gettext_lazy("Updating"), icon="loader-2", tone="busy"),
    "deleting": Look(word=gettext_lazy("Deleting"), icon="loader-2", tone="busy"),
}
_ACTIVE = {
    Health.HEALTHY: Look(word=gettext_lazy("Active"), icon="circle-check", tone="good"),
    Health.UNKNOWN: Look(word=gettext_lazy("Active"), icon="circle-check", tone="good"),
    Health.DEGRADED: Look(word=gettext_lazy("Degraded"), icon="alert-triangle", tone="warn"),
    Health.UNREACHABLE: Look(word=gettext_lazy("Unreachable"), icon="plug-connected-x", tone="bad"),
}
_HOSTS = {
    Host.State.PLANNED: Look(word=gettext_lazy("Planned"), icon="hourglass", tone="idle"),
    Host.State.STARTED: Look(word=gettext_lazy("Joining the cluster"), icon="loader-2", tone="busy"),
    Host.State.READY: Look(word=gettext_lazy("Ready"), icon="circle-check", tone="good"),
    Host.State.LOST: Look(word=gettext_lazy("Lost"), icon="plug-connected-x", tone="bad"),
    Host.State.DRAINING: Look(word=gettext_lazy("Leaving"), icon="logout", tone="warn"),
    Host.State.REMOVED: Look(word=gettext_lazy("Removed"), icon="x", tone="idle"),
}
_TITLES = {
    "bay.create": gettext_lazy("Creating your bay"),
    "bay.resize": gettext_lazy("Resizing"),
    "bay.heal": gettext_lazy("Healing"),
    "bay.rotate_ca": gettext_lazy("Replacing the certificate authority"),
    "bay.delete": gettext_lazy("Deleting"),
}
_DONE = {
    "bay.create": gettext_lazy("Created"),
    "bay.resize": gettext_lazy("Resized"),
    "bay.heal": gettext_lazy("Healed"),
    "bay.rotate_ca": gettext_lazy("Certificate authority replaced"),
    "bay.delete": gettext_lazy("Deleted"),
}


def look_of_bay(*, bay: Bay) -> Look:
    """Return how a bay's status is shown."""
    if bay.busy:
        if _waits_long(bay.operation) and bay.status != "deleting":
            return Look(word=_("Waiting"), icon="clock", tone="warn")
        return _WHILE[bay.status]
    if bay.condition == Condition.ACTIVE:
        return _ACTIVE[Health(bay.health)]
    if bay.condition == Condition.ERROR:
        return Look(word=_("Error"), icon="alert-circle", tone="bad")
    return Look(word=bay.get_condition_display(), icon="hourglass", tone="idle")


def look_of_host(*, host: Host) -> Look:
    """Return how a host's state is shown."""
    return _HOSTS[Host.State(host.state)]


def progress_of(*, bay: Bay) -> Progress | None:
    """Return what is being done to the bay; None when nothing is."""
    operation = bay.operation
    if operation is None or not operation.unfinished:
        return None
    age = now() - operation.created_at
    return Progress(
        operation=operation,
        title=str(_TITLES[operation.kind]),
        percent=operation.progress,
        seconds=age.total_seconds(),
        phases=[_row(phase) for phase in operation.phases],
        look_again="500ms" if age < QUICK_LOOKS else "1s",
    )


def last_change_of(*, bay: Bay) -> LastChange | None:
    """Return the newest operation if it was done; None while one runs, or when the newest failed."""
    operation = bay.operation
    if operation is None or operation.state != State.SUCCEEDED or operation.finished_at is None:
        return None
    return LastChange(
        title=str(_DONE[operation.kind]),
        seconds=(operation.finished_at - operation.created_at).total_seconds(),
        finished_at=operation.finished_at,
        phases=[_row(phase) for phase in operation.phases],
    )


def trouble_of(*, bay: Bay) -> Trouble | None:
    """Return what is wrong with the bay, or what its operation has been waiting for too long; None when all is as it should be."""
    if bay.busy and not _waits_long(bay.operation):
        return None
    code, message = bay.reason
    if not code:
        return None
    words = code_named(code=code)
    failed = bay.condition == Condition.ERROR
    return Trouble(
        title=words.title,
        message=message if message != words.title else "",
        advice=words.advice,
        user_can_fix=words.user_can_fix,
        button="" if bay.busy else (_("Try again") if failed else _("Heal")),
        tone="bad" if failed and not bay.busy else "warn",
    )


def leaving_hosts(*, bay: Bay, node_count: int) -> list[Host]:
    """Return the hosts that go when the bay is resized to `node_count`: workers, highest numbers first."""
    workers = [host for host in bay.live_hosts if host.role == "worker" and host.state != Host.State.DRAINING]
    stay = max(0, node_count - bay.manager_count)
    return list(reversed(workers[stay:]))


def _waits_long(operation: Operation | None) -> bool:
    if operation is None or operation.state != State.WAITING:
        return False
    return operation.code not in PATIENT_CODES or now() - operation.created_at > PATIENCE


def _row(phase: dict[str, Any]) -> PhaseRow:
    seconds = phase["seconds"]
    if seconds is None and phase["started_at"]:
        seconds = max(0.0, (now() - datetime.fromisoformat(phase["started_at"])).total_seconds())
    return PhaseRow(title=phase["title"], state=phase["state"], seconds=seconds, detail=phase["detail"])
