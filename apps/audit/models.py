import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q


class AuditEvent(models.Model):
    """Who did what, once and for ever. No foreign keys: the log outlives what it speaks of and never blocks a delete.

    `tenant_id` is empty for what concerns the portal as a whole, `address` where no request was being served. The database refuses to
    change or remove rows.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField()
    tenant_id = models.UUIDField(null=True)
    actor_id = models.CharField(max_length=64)
    actor_label = models.CharField(max_length=254)
    address = models.GenericIPAddressField(null=True)
    action = models.CharField(max_length=64)
    target_id = models.CharField(max_length=64)
    target_label = models.CharField(max_length=254)
    sentence = models.TextField()
    data = models.JSONField(default=dict)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["tenant_id", "-at"], name="audit_of_tenant"),
            models.Index(fields=["-at", "-id"], name="audit_newest"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(actor_id="") & ~Q(actor_label="") & ~Q(action=""), name="every_action_has_an_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%F %T} {self.actor_label}: {self.sentence}"
