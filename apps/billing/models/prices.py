from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.hosts.models import Cloud, Flavor


class Price(models.Model):
    """What one host of a flavor costs an hour from `starts_at` on, until the next price of the same flavor, cloud and currency starts.

    Without a cloud it holds for every cloud that has no price of its own; a price of a cloud whose `per_hour` is NULL ends that exception.
    `tiers` are cheaper (or dearer) rates for what is used beyond so many host-hours in a month under this price, lowest first:
    [{"from_hours": 1000, "per_hour": "0.008"}]. The database refuses to change a price that has begun, and one that begins in the past.
    """

    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="prices")
    cloud = models.ForeignKey(Cloud, on_delete=models.PROTECT, null=True, related_name="prices")
    currency = models.CharField(max_length=3)
    per_hour = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    tiers = models.JSONField(default=list)
    starts_at = models.DateTimeField()
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["flavor", "cloud", "currency", "starts_at"], nulls_distinct=False, name="one_price_at_a_time"),
            models.CheckConstraint(condition=Q(per_hour__gte=0) | Q(per_hour=None, cloud__isnull=False), name="prices_are_nothing_or_more"),
            models.CheckConstraint(condition=Q(currency__regex="^[A-Z]{3}$"), name="prices_have_a_currency"),
        ]

    def __str__(self) -> str:
        return f"{self.flavor_id} {self.per_hour} {self.currency} from {self.starts_at:%F %T}"
