"""Reading operations."""

from uuid import UUID

from django.db.models import QuerySet

from apps.operations.models import Operation
from apps.operations.states import UNFINISHED


def unfinished_of(*, subject_id: UUID) -> QuerySet[Operation]:
    """Return what is still to be done for a subject, a preempting operation first. Decisive only under the subject's row lock."""
    return Operation.objects.filter(subject_id=subject_id, state__in=UNFINISHED).order_by("-preempts")
