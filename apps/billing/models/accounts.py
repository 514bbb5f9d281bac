from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.common.models import Identified
from apps.tenants.models import Tenant


class Account(models.Model):
    """How a tenant is billed: in which currency, by whose calendar, to which address.

    `rolled_until` is up to when usage is summed by day (`DailyUsage`), `billed_until` the end of the last month that was invoiced: the next
    period begins there, whatever the time zone is by then. Usage that changes before that is noted by the database as `late_from`.
    """

    tenant = models.OneToOneField(Tenant, on_delete=models.PROTECT, primary_key=True, related_name="billing")
    currency = models.CharField(max_length=3)
    time_zone = models.CharField(max_length=64, default="UTC")
    legal_name = models.CharField(max_length=200, blank=True)
    address = models.TextField(blank=True)
    country = models.CharField(max_length=2, blank=True)
    vat_id = models.CharField(max_length=20, blank=True)
    email = models.EmailField(blank=True)
    created_at = models.DateTimeField()
    rolled_until = models.DateTimeField(null=True)
    billed_until = models.DateTimeField()
    late_from = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(currency__regex="^[A-Z]{3}$"), name="accounts_have_a_currency")]

    def __str__(self) -> str:
        return f"{self.tenant_id} in {self.currency}"


class Plan(Identified):
    """The terms of an account. Amounts are per calendar month in the plan's currency, or in any where it is empty and no amount is set.

    Never changed once somebody has it: what is new is a new plan.
    """

    class Kind(models.TextChoices):
        """How it is paid."""

        FREE = "free", "Free beta with a monthly allowance"
        PAY_AS_YOU_GO = "payg", "Pay as you go"
        PREPAID = "prepaid", "Prepaid credit"
        COMMITTED = "committed", "Commitment with a discount"

    code = models.CharField(max_length=40, unique=True)
    title = models.CharField(max_length=80)
    kind = models.CharField(max_length=16, choices=Kind)
    currency = models.CharField(max_length=3, blank=True)
    allowance = models.DecimalField(max_digits=14, decimal_places=2, default=0)
    discount_percent = models.DecimalField(max_digits=5, decimal_places=2, default=0)
    commitment = models.DecimalField(max_digits=14, decimal_places=2, default=0)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="one_default_plan"),
            models.CheckConstraint(
                condition=Q(allowance__gte=0, commitment__gte=0, discount_percent__gte=0, discount_percent__lte=100),
                name="plans_take_nothing_back",
            ),
            models.CheckConstraint(condition=~Q(currency="") | Q(allowance=0, commitment=0), name="amounts_of_plans_have_a_currency"),
        ]

    def __str__(self) -> str:
        return self.code


class Subscription(models.Model):
    """From when on a tenant has a plan: from the beginning of a period on. The newest that has begun is in force."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="subscriptions")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="subscriptions")
    starts_at = models.DateTimeField()
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "starts_at"], name="one_plan_at_a_time")]

    def __str__(self) -> str:
        return f"{self.plan_id} from {self.starts_at:%F}"
