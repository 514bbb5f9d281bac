from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.billing.models.invoices import Invoice
from apps.common.models import Identified
from apps.tenants.models import Tenant


class Payment(Identified):
    """Money that was received for an invoice (or given back, if negative). `reference` is the provider's own, once and for ever."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="payments")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="payments")
    provider = models.CharField(max_length=16)
    reference = models.CharField(max_length=255)
    amount = models.DecimalField(max_digits=14, decimal_places=3)
    currency = models.CharField(max_length=3)
    received_at = models.DateTimeField()
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "reference"], name="one_payment_per_reference"),
            models.CheckConstraint(condition=~Q(amount=0), name="payments_are_of_something"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} by {self.provider}"


class StripeEvent(models.Model):
    """An event Stripe has sent, under its own id: acted upon once, however often it comes, and played again where that failed.

    One with a `problem` waits until somebody has dealt with it (`settled_at`); nothing is done about it by itself from then on.
    """

    id = models.CharField(primary_key=True, max_length=255)
    kind = models.CharField(max_length=80)
    payload = models.JSONField()
    received_at = models.DateTimeField()
    handled_at = models.DateTimeField(null=True)
    problem = models.TextField(blank=True)
    settled_at = models.DateTimeField(null=True)
    settled_by = models.CharField(max_length=254, blank=True)
    settled_note = models.CharField(max_length=500, blank=True)

    def __str__(self) -> str:
        return f"{self.id} {self.kind}"


class Reminder(models.Model):
    """A step of dunning that was taken for an invoice."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="reminders")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="reminders")
    step = models.CharField(max_length=16)
    at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["invoice", "step"], name="one_reminder_per_step")]

    def __str__(self) -> str:
        return f"{self.invoice_id} {self.step}"
