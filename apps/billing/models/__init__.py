"""Rows of billing, by subject: accounts and plans, prices, usage, invoices, payments, credit, budgets."""

from apps.billing.models.accounts import Account, Plan, Subscription
from apps.billing.models.budgets import Budget, BudgetCrossing
from apps.billing.models.credit import CreditGrant, CreditNotice, CreditUse
from apps.billing.models.invoices import BilledPeriod, Invoice, InvoiceLine, InvoiceSeries, Issuer, TaxRate
from apps.billing.models.payments import Payment, Reminder, StripeEvent
from apps.billing.models.prices import Price
from apps.billing.models.usage import DailyUsage, Interval, MeteredHost

__all__ = [
    "Account",
    "BilledPeriod",
    "Budget",
    "BudgetCrossing",
    "CreditGrant",
    "CreditNotice",
    "CreditUse",
    "DailyUsage",
    "Interval",
    "Invoice",
    "InvoiceLine",
    "InvoiceSeries",
    "Issuer",
    "MeteredHost",
    "Payment",
    "Plan",
    "Price",
    "Reminder",
    "StripeEvent",
    "Subscription",
    "TaxRate",
]
