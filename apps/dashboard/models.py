from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from apps.common.models import Identified
from apps.hosts.models import Cloud
from apps.tenants.models import Tenant


class Announcement(Identified):
    """What operators say to everybody who is signed in, from one moment to another, of the whole portal or of one cloud."""

    class Level(models.TextChoices):
        """How much it matters."""

        INFO = "info", "Information"
        WARNING = "warning", "Warning"
        CRITICAL = "critical", "Critical"

    text = models.CharField(max_length=500)
    level = models.CharField(max_length=16, choices=Level, default=Level.INFO)
    cloud = models.ForeignKey(Cloud, on_delete=models.CASCADE, null=True, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(ends_at=None) | Q(ends_at__gt=F("starts_at")), name="announcements_end_after_they_start")
        ]

    def __str__(self) -> str:
        return self.text


class SupportView(Identified):
    """An operator's look at a tenant as one of its viewers, for a short while. It changes nothing; its owners are told."""

    class End(models.TextChoices):
        """What ended it."""

        OPERATOR = "operator", "ended by the operator"
        TIME = "time", "time was over"
        SIGNED_OUT = "signed_out", "the operator signed out"
        DISABLED = "disabled", "the operator’s account was disabled"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="support_views")
    operator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="support_views")
    reason = models.CharField(max_length=500)
    started_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    end = models.CharField(max_length=16, choices=End, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["operator"], condition=Q(ended_at=None), name="one_support_view_at_a_time"),
            models.CheckConstraint(
                condition=Q(ended_at=None, end="") | (Q(ended_at__isnull=False) & ~Q(end="")), name="ended_support_views_say_why"
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("started_at")), name="support_views_have_an_end"),
        ]

    def __str__(self) -> str:
        return f"{self.operator_id} in {self.tenant_id} until {self.expires_at:%F %T}"
