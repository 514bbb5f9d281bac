import uuid
from typing import ClassVar

from django.db import models


class AuditEvent(models.Model):
    """Who did what, once and for ever. No foreign keys: the log outlives what it speaks of and never blocks a delete."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField()
    tenant_id = models.UUIDField(null=True)
    actor_id = models.CharField(max_length=64)
    actor_label = models.CharField(max_length=254)
    action = models.CharField(max_length=64)
    target_id = models.CharField(max_length=64)
    target_label = models.CharField(max_length=254)
    sentence = models.TextField()
    data = models.JSONField(default=dict)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant_id", "-at"], name="audit_of_tenant")]

    def __str__(self) -> str:
        return f"{self.at:%F %T} {self.actor_label}: {self.sentence}"
