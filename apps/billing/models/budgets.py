from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.common.models import Identified
from apps.tenants.models import Tenant


class Budget(Identified):
    """What a tenant means to spend a month, and what happens at which share of it.

    `rules` are [{"percent": 80, "action": "mail"}, {"percent": 100, "action": "block"}]; actions are named in `billing.budgets.actions`.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="budgets")
    name = models.CharField(max_length=40)
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    rules = models.JSONField(default=list)
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], name="one_budget_per_name"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="budgets_are_of_something"),
        ]

    def __str__(self) -> str:
        return self.name


class BudgetCrossing(models.Model):
    """That a budget reached a share in a month, and that its action was taken: once."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="budget_crossings")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="crossings")
    period_start = models.DateTimeField()
    percent = models.PositiveIntegerField()
    action = models.CharField(max_length=16)
    spent = models.DecimalField(max_digits=14, decimal_places=3)
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["budget", "period_start", "percent", "action"], name="one_crossing_per_month_and_rule")
        ]

    def __str__(self) -> str:
        return f"{self.budget_id} {self.percent} %"
