from django.urls import URLPattern

from apps.billing.api import budgets, credit, invoices, payments, usage
from apps.common.api.slashes import both

TENANT = "api/v1/tenants/<str:tenant>"

urlpatterns: list[URLPattern] = [
    *both(route=f"{TENANT}/usage", view=usage.Usage, name="api-usage"),
    *both(route=f"{TENANT}/usage.csv", view=usage.UsageCsv, name="api-usage-csv"),
    *both(route=f"{TENANT}/usage.json", view=usage.UsageJson, name="api-usage-json"),
    *both(route=f"{TENANT}/usage.focus.csv", view=usage.UsageFocus, name="api-usage-focus"),
    *both(route=f"{TENANT}/credit", view=credit.Credit, name="api-credit"),
    *both(route=f"{TENANT}/budgets", view=budgets.BudgetList, name="api-budgets"),
    *both(route=f"{TENANT}/budgets/<str:budget>", view=budgets.BudgetDetail, name="api-budget"),
    *both(route=f"{TENANT}/invoices/<str:number>/pay", view=payments.InvoicePay, name="api-pay-invoice"),
    *both(route=f"{TENANT}/billing", view=invoices.BillingDetails, name="api-billing"),
    *both(route=f"{TENANT}/invoices", view=invoices.InvoiceList, name="api-invoices"),
    *both(route=f"{TENANT}/invoices/draft", view=invoices.InvoiceDraft, name="api-invoice-draft"),
    *both(route=f"{TENANT}/invoices/<str:number>.pdf", view=invoices.InvoicePdf, name="api-invoice-pdf"),
    *both(route=f"{TENANT}/invoices/<str:number>.xml", view=invoices.InvoiceXml, name="api-invoice-xml"),
    *both(route=f"{TENANT}/invoices/<str:number>", view=invoices.InvoiceDetail, name="api-invoice"),
]
