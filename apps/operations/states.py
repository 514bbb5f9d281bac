"""The few states that drive the machine. What people read is the code and the phase."""

from enum import StrEnum


class State(StrEnum):
    """`pending` → `running` → `succeeded` or `failed`; `running` → `waiting` → `running`; any unfinished one → `cancelled`."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = (State.PENDING, State.RUNNING, State.WAITING)
