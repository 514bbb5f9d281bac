from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.common.models import Identified
from apps.operations.states import UNFINISHED, State
from apps.tenants.models import Tenant

_UNFINISHED = Q(state__in=[state.value for state in UNFINISHED])


class Operation(Identified):
    """One requested change and its progress: state machine and outbox at once.

    Written by two hands only: services insert rows and set `cancel_requested_at`; the engine writes all else, and only while it
    holds the lease (`lease_token`). The subject is known by id alone, so that the engine stays headless.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="operations")
    kind = models.CharField(max_length=32)
    subject_id = models.UUIDField()
    generation = models.PositiveIntegerField()
    preempts = models.BooleanField(default=False)
    requested_by = models.CharField(max_length=254)
    state = models.CharField(max_length=16, choices=[(state, state) for state in State], default=State.PENDING)
    code = models.CharField(max_length=32, blank=True)
    message = models.TextField(blank=True)
    progress = models.PositiveSmallIntegerField(default=0)
    phase = models.CharField(max_length=32, blank=True)
    phases = models.JSONField(default=list)
    attempts = models.PositiveIntegerField(default=0)
    troubles = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    dispatched_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject_id"], condition=Q(state="running"), name="one_running_operation"),
            models.UniqueConstraint(fields=["subject_id", "preempts"], condition=_UNFINISHED, name="one_unfinished_operation"),
            models.CheckConstraint(
                condition=Q(state="running", lease_token__isnull=False, lease_expires_at__isnull=False)
                | (~Q(state="running") & Q(lease_token=None, lease_expires_at=None)),
                name="only_running_operations_are_leased",
            ),
            models.CheckConstraint(
                condition=(_UNFINISHED & Q(finished_at=None)) | (~_UNFINISHED & Q(finished_at__isnull=False)),
                name="only_finished_operations_have_an_end",
            ),
            models.CheckConstraint(condition=Q(progress__lte=100), name="progress_is_a_percentage"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=_UNFINISHED, name="unfinished_operations"),
            models.Index(fields=["subject_id", "-created_at"], name="operations_of_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id} {self.state}"

    @property
    def unfinished(self) -> bool:
        """Whether it is still to be done."""
        return self.state in UNFINISHED


class Event(models.Model):
    """Something that happened to a subject, for its owner to read. Rows are only ever inserted (a database rule refuses the rest)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="events")
    subject_id = models.UUIDField()
    operation = models.ForeignKey(Operation, on_delete=models.PROTECT, null=True, related_name="events")
    at = models.DateTimeField()
    level = models.CharField(max_length=8, choices=[("info", "info"), ("warning", "warning"), ("error", "error")])
    code = models.CharField(max_length=48)
    message = models.TextField()
    data = models.JSONField(default=dict)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["subject_id", "-at", "-id"], name="events_of_subject")]

    def __str__(self) -> str:
        return f"{self.at:%F %T} {self.message}"
