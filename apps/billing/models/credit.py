from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.billing.models.invoices import Invoice
from apps.common.models import Identified
from apps.tenants.models import Tenant


class CreditGrant(Identified):
    """Credit a tenant was given or has bought. Promotional credit lowers what is charged, prepaid credit pays what is owed.

    What is left is counted: the amount less its uses. Nothing is left of it from `expires_at` on.
    """

    class Kind(models.TextChoices):
        """Whose money it is."""

        PROMOTIONAL = "promotional"
        PREPAID = "prepaid"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="credit_grants")
    kind = models.CharField(max_length=16, choices=Kind)
    amount = models.DecimalField(max_digits=14, decimal_places=3)
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=200)
    reference = models.CharField(max_length=255, blank=True)
    granted_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=254)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="credit_is_of_something"),
            models.UniqueConstraint(fields=["tenant", "reference"], condition=~Q(reference=""), name="one_credit_per_reference"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} {self.kind}"


class CreditNotice(models.Model):
    """That somebody was told that a grant ends, with what was left of it by then: once for each grant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="credit_notices")
    grant = models.OneToOneField(CreditGrant, on_delete=models.PROTECT, related_name="notice")
    left = models.DecimalField(max_digits=14, decimal_places=3)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.left} of {self.grant_id}"


class CreditUse(models.Model):
    """What of a grant an invoice used."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="credit_uses")
    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="uses")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_uses")
    amount = models.DecimalField(max_digits=14, decimal_places=3)
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["grant", "invoice"], name="one_use_per_grant_and_invoice"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="uses_are_of_something"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of {self.grant_id}"
