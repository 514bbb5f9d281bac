import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models


class IdempotencyKey(models.Model):
    """The answer to a POST, kept for a day, so that the same request sent twice acts once.

    Rows are written in two steps: claimed (no status yet), then answered, in the transaction of the change itself.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    path = models.CharField(max_length=500)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    location = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "path", "key"], name="one_answer_per_idempotency_key")]

    def __str__(self) -> str:
        return f"{self.path} {self.key}"


class Identified(models.Model):
    """A row with a random UUID: nothing can be guessed from an id, and things outside are named after it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        abstract = True
