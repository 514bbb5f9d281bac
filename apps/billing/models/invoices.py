from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.billing.models.accounts import Plan
from apps.common.models import Identified
from apps.tenants.models import Tenant


class Issuer(Identified):
    """Who writes invoices: the company that runs the portal. `payment_text` says how to pay (bank, IBAN)."""

    code = models.CharField(max_length=16, unique=True)
    legal_name = models.CharField(max_length=200)
    address = models.TextField(blank=True)
    country = models.CharField(max_length=2, blank=True)
    vat_id = models.CharField(max_length=20, blank=True)
    email = models.EmailField(blank=True)
    payment_text = models.TextField(blank=True)
    payment_days = models.PositiveIntegerField(default=14)
    is_default = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="one_default_issuer")]

    def __str__(self) -> str:
        return self.code


class TaxRate(models.Model):
    """The tax on what is sold to a country, in percent, from a day on."""

    country = models.CharField(max_length=2)
    name = models.CharField(max_length=20, default="VAT")
    percent = models.DecimalField(max_digits=5, decimal_places=2)
    starts_on = models.DateField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["country", "starts_on"], name="one_tax_rate_at_a_time"),
            models.CheckConstraint(condition=Q(percent__gte=0, percent__lte=100), name="tax_rates_are_percentages"),
        ]

    def __str__(self) -> str:
        return f"{self.country} {self.percent} %"


class InvoiceSeries(models.Model):
    """The numbers an issuer has given so far in one series; locked while one is given, so that there is no gap and no double."""

    issuer = models.ForeignKey(Issuer, on_delete=models.PROTECT, related_name="series")
    prefix = models.CharField(max_length=20)
    last_number = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["issuer", "prefix"], name="one_counter_per_series")]

    def __str__(self) -> str:
        return f"{self.prefix}{self.last_number}"


class Invoice(Identified):
    """An invoice or a credit note, as it was issued: all it says is kept with it and never changes.

    Only what happens to it afterwards does: `state`, the PDF (written once), when it was mailed. `paid` are payments and prepaid credit;
    `seller` and `customer` are what issuer and account were at the time.
    """

    class Kind(models.TextChoices):
        """What it is."""

        INVOICE = "invoice"
        CREDIT_NOTE = "credit_note"

    class State(models.TextChoices):
        """Whether something is still owed on it."""

        OPEN = "open"
        PAID = "paid"
        CANCELLED = "cancelled"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="invoices")
    issuer = models.ForeignKey(Issuer, on_delete=models.PROTECT, related_name="invoices")
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.INVOICE)
    number = models.CharField(max_length=40)
    corrects = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="credit_notes")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    time_zone = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    plan = models.CharField(max_length=80, blank=True)
    seller = models.JSONField()
    customer = models.JSONField()
    net = models.DecimalField(max_digits=14, decimal_places=3)
    tax = models.DecimalField(max_digits=14, decimal_places=3)
    gross = models.DecimalField(max_digits=14, decimal_places=3)
    tax_name = models.CharField(max_length=20, blank=True)
    tax_percent = models.DecimalField(max_digits=5, decimal_places=2, default=0)
    tax_text = models.TextField(blank=True)
    note = models.TextField(blank=True)
    issued_at = models.DateTimeField()
    due_on = models.DateField()

    state = models.CharField(max_length=16, choices=State, default=State.OPEN)
    paid = models.DecimalField(max_digits=14, decimal_places=3, default=0)
    pdf = models.BinaryField(null=True)
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["issuer", "number"], name="one_invoice_per_number"),
            models.UniqueConstraint(fields=["tenant", "period_start"], condition=Q(kind="invoice"), name="one_invoice_per_period"),
            models.CheckConstraint(condition=Q(period_end__gt=models.F("period_start")), name="periods_have_a_length"),
            models.CheckConstraint(condition=Q(gross=models.F("net") + models.F("tax")), name="gross_is_net_and_tax"),
            models.CheckConstraint(
                condition=Q(kind="invoice", corrects=None) | Q(kind="credit_note", corrects__isnull=False),
                name="credit_notes_correct_something",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "-issued_at"], name="invoices_of_tenant")]

    def __str__(self) -> str:
        return self.number


class InvoiceLine(models.Model):
    """One line of an invoice.

    For usage: `seconds` of hosts of a flavor in a bay under a price, used in the period that begins at `used_from`, which for late usage
    is an earlier one.
    """

    class Kind(models.TextChoices):
        """What it is about; the order is that on paper."""

        USAGE = "usage"
        LATE = "late"
        ALLOWANCE = "allowance"
        DISCOUNT = "discount"
        COMMITMENT = "commitment"
        PROMOTION = "promotion"
        CORRECTION = "correction"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="invoice_lines", db_index=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=16, choices=Kind)
    text = models.CharField(max_length=300)
    bay_id = models.UUIDField(null=True)
    cloud_id = models.UUIDField(null=True)
    flavor_id = models.UUIDField(null=True)
    price_id = models.BigIntegerField(null=True)
    seconds = models.BigIntegerField(null=True)
    per_hour = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    used_from = models.DateTimeField(null=True)
    amount = models.DecimalField(max_digits=14, decimal_places=3)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["invoice", "position"], name="one_line_per_position")]
        indexes: ClassVar = [models.Index(fields=["tenant", "used_from"], name="lines_by_period_of_use")]

    def __str__(self) -> str:
        return f"{self.text} {self.amount}"


class BilledPeriod(models.Model):
    """A period of a tenant that was closed, once, on which terms, and with which invoice: none where there was nothing to bill.

    Late usage is compared with these periods, so that it matters neither what the time zone nor what the plan is by then.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="billed_periods", db_index=False)
    start = models.DateTimeField()
    end = models.DateTimeField()
    time_zone = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, null=True, related_name="billed_period")
    closed_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "start"], name="one_closing_per_period"),
            models.CheckConstraint(condition=Q(end__gt=models.F("start")), name="billed_periods_have_a_length"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.start:%F %T} – {self.end:%F %T}"
