from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import F, Q

from apps.bays.models import Bay
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import Tenant


class MeteredHost(models.Model):
    """A host that was active at least once: what is billed of it, under a number of its own. Written by the database (docs/billing.md)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="metered_hosts")
    host = models.UUIDField(unique=True)
    bay = models.ForeignKey(Bay, on_delete=models.PROTECT, related_name="metered_hosts")
    cloud = models.ForeignKey(Cloud, on_delete=models.PROTECT, related_name="+")
    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="+")

    host_id: UUID

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant"], name="metered_hosts_of_tenant")]

    def __str__(self) -> str:
        return f"{self.host}"


class Interval(models.Model):
    """A time during which a host is billed: half-open, in whole seconds, without an end while it lasts.

    Written by a trigger of the database in the transaction that records the host active, or accepts its deletion, so that no path can
    forget it. Two of one host never overlap: an exclusion constraint sees to that.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="intervals", db_index=False)
    host = models.ForeignKey(MeteredHost, on_delete=models.PROTECT, related_name="intervals", db_index=False)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=16, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["host", "started_at"], name="one_interval_per_start"),
            models.UniqueConstraint(fields=["host"], condition=Q(ended_at=None), name="one_open_interval_per_host"),
            models.CheckConstraint(condition=Q(ended_at=None) | Q(ended_at__gt=F("started_at")), name="intervals_end_after_they_start"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "ended_at", "started_at"], name="intervals_of_tenant")]

    def __str__(self) -> str:
        return (
            f"{self.host_id} {self.started_at:%F %T} – {self.ended_at:%F %T}"
            if self.ended_at
            else f"{self.host_id} {self.started_at:%F %T} –"
        )


class DailyUsage(models.Model):
    """What hosts of one flavor in one bay were used under one price on one day of the tenant's calendar, in host-seconds.

    Derived from intervals and made anew whenever they change (`usage.rollups`): nothing is ever computed from it that intervals would
    not give as well, only slower.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="daily_usage", db_index=False)
    day = models.DateField()
    bay = models.ForeignKey(Bay, on_delete=models.PROTECT, related_name="+", db_index=False)
    cloud = models.ForeignKey(Cloud, on_delete=models.PROTECT, related_name="+", db_index=False)
    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="+", db_index=False)
    price = models.ForeignKey("billing.Price", on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    seconds = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "day", "bay", "cloud", "flavor", "price"], nulls_distinct=False, name="one_sum_per_day_and_price"
            ),
            models.CheckConstraint(condition=Q(seconds__gt=0), name="sums_are_of_something"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.day} {self.seconds} s"
