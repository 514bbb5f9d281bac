"""Addresses of billing: an organisation's own pages, then the operators'."""

from django.urls import URLPattern, path

from apps.billing.pages import budgets as budget_pages
from apps.billing.pages.credit import credit
from apps.billing.pages.invoices import invoice, invoice_file, invoices
from apps.billing.pages.pay import pay
from apps.billing.pages.settings import details
from apps.billing.pages.stripe_webhook import stripe_webhook
from apps.billing.pages.usage import usage, usage_file
from apps.common.pages import both

app_name = "billing"
BILLING = "t/<str:tenant>/billing/"
CONSOLE = "operators/billing/"

urlpatterns: list[URLPattern] = [
    *both(BILLING, usage, "usage"),
    path(f"{BILLING}usage.csv", usage_file, {"kind": "csv"}, name="usage_csv"),
    path(f"{BILLING}usage.json", usage_file, {"kind": "json"}, name="usage_json"),
    path(f"{BILLING}usage.focus.csv", usage_file, {"kind": "focus.csv"}, name="usage_focus"),
    *both(f"{BILLING}credit", credit, "credit"),
    *both(f"{BILLING}budgets", budget_pages.budgets, "budgets"),
    *both(f"{BILLING}budgets/<uuid:budget_id>", budget_pages.budget, "budget"),
    path(f"{BILLING}budgets/<uuid:budget_id>/delete", budget_pages.budget_delete, name="budget_delete"),
    *both("billing/stripe/webhook", stripe_webhook, "stripe_webhook"),
    path(f"{BILLING}invoices/<str:number>/pay", pay, name="pay"),
    *both(f"{BILLING}invoices", invoices, "invoices"),
    path(f"{BILLING}invoices/<str:number>.pdf", invoice_file, {"kind": "pdf"}, name="invoice_pdf"),
    path(f"{BILLING}invoices/<str:number>.json", invoice_file, {"kind": "json"}, name="invoice_json"),
    path(f"{BILLING}invoices/<str:number>.xml", invoice_file, {"kind": "xml"}, name="invoice_xml"),
    *both(f"{BILLING}invoices/<str:number>", invoice, "invoice"),
    *both(f"{BILLING}settings", details, "settings"),
]
