"""Which handler carries out which kind of operation: dotted paths, imported on first use, so that the engine knows nobody above it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from apps.operations.models import Operation

if TYPE_CHECKING:
    from apps.operations.engine import Outcome
    from apps.operations.run import Run


@dataclass(frozen=True, kw_only=True)
class PhaseSpec:
    """A named part of an operation. `weight` is its share of the progress bar, relative to the others."""

    name: str
    title: str
    weight: int


class Handler(Protocol):
    """Carries out one kind of operation."""

    deadline: timedelta | None
    """How long after it was asked an operation may go on before it is given up; None: for ever (deletes)."""

    def phases(self, *, operation: Operation) -> Sequence[PhaseSpec]:
        """Return the phases the operation will show, in order."""
        ...

    def execute(self, run: "Run") -> None:
        """Make the world as the subject's desired state says. Called again from the top after any crash, so it looks first, then acts.

        Returns when all is as desired; raises NotYet to be called again later, ProviderError/EngineError for what the world did.
        """
        ...

    def finish(self, *, operation: Operation, outcome: "Outcome") -> None:
        """Write the subject's observed columns for the end of the operation; runs in the transaction that ends it."""
        ...


KINDS: dict[str, str] = {
    "bay.create": "apps.bays.reconcile.Ensure",
    "bay.resize": "apps.bays.reconcile.Ensure",
    "bay.heal": "apps.bays.reconcile.Ensure",
    "bay.rotate_ca": "apps.bays.rotation.Rotate",
    "bay.delete": "apps.bays.removal.Remove",
}


def load_handler(*, kind: str) -> Handler:
    """Return the handler of a kind of operation; raises KeyError for an unknown one."""
    module, _, name = KINDS[kind].rpartition(".")
    handler: Handler = getattr(import_module(module), name)()
    return handler
