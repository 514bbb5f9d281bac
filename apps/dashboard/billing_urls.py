"""Addresses of the operators' pages of billing; part of the dashboard's (`dashboard:operator-prices` …)."""

from django.urls import path

from apps.common.pages import both
from apps.dashboard import (
    operator_billing_accounts,
    operator_billing_invoices,
    operator_billing_issuers,
    operator_billing_months,
    operator_billing_payments,
    operator_billing_plans,
    operator_billing_prices,
)

BILLING = "operators/billing/"
PRICES = f"{BILLING}prices/"
PLAN = f"{BILLING}plans/<uuid:plan_id>/"
ISSUER = f"{BILLING}issuers/<uuid:issuer_id>/"
ACCOUNT = f"{BILLING}accounts/<uuid:tenant_id>/"
PAYMENTS = f"{BILLING}payments/"
INVOICE = f"{BILLING}invoices/<uuid:invoice_id>/"

urlpatterns = [
    *both(PRICES, operator_billing_prices.prices, "operator-prices"),
    path(f"{PRICES}save", operator_billing_prices.price_save, name="operator-price-save"),
    *both(f"{PRICES}<uuid:flavor_id>/", operator_billing_prices.price_history, "operator-price-history"),
    path(f"{PRICES}<int:price_id>/withdraw", operator_billing_prices.price_withdraw, name="operator-price-withdraw"),
    *both(f"{BILLING}plans/", operator_billing_plans.plans, "operator-plans"),
    path(f"{PLAN}default", operator_billing_plans.plan_default, name="operator-plan-default"),
    path(f"{PLAN}retire", operator_billing_plans.plan_retire, name="operator-plan-retire"),
    *both(f"{BILLING}issuers/", operator_billing_issuers.issuers, "operator-issuers"),
    *both(ISSUER, operator_billing_issuers.issuer, "operator-issuer"),
    path(f"{ISSUER}default", operator_billing_issuers.issuer_default, name="operator-issuer-default"),
    path(f"{BILLING}taxes/set", operator_billing_issuers.tax_rate, name="operator-tax-rate"),
    path(f"{BILLING}taxes/<int:rate_id>/withdraw", operator_billing_issuers.tax_rate_withdraw, name="operator-tax-rate-withdraw"),
    *both(f"{BILLING}accounts/", operator_billing_accounts.accounts, "operator-accounts"),
    *both(ACCOUNT, operator_billing_accounts.account, "operator-account"),
    path(f"{ACCOUNT}currency", operator_billing_accounts.account_currency, name="operator-account-currency"),
    path(f"{ACCOUNT}plan", operator_billing_accounts.account_plan, name="operator-account-plan"),
    path(f"{ACCOUNT}credit", operator_billing_accounts.account_credit, name="operator-account-credit"),
    *both(INVOICE, operator_billing_invoices.invoice, "operator-invoice"),
    path(f"{INVOICE}pdf", operator_billing_invoices.invoice_pdf, name="operator-invoice-pdf"),
    path(f"{INVOICE}payment", operator_billing_invoices.invoice_payment, name="operator-invoice-payment"),
    path(f"{INVOICE}refund", operator_billing_invoices.invoice_refund, name="operator-invoice-refund"),
    path(f"{INVOICE}credit-note", operator_billing_invoices.invoice_credit_note, name="operator-invoice-credit-note"),
    *both(PAYMENTS, operator_billing_payments.payments, "operator-payments"),
    path(f"{PAYMENTS}<str:event_id>/again", operator_billing_payments.event_again, name="operator-event-again"),
    path(f"{PAYMENTS}<str:event_id>/settle", operator_billing_payments.event_settle, name="operator-event-settle"),
    *both(f"{BILLING}months/", operator_billing_months.months, "operator-months"),
    path(f"{BILLING}months/run", operator_billing_months.months_run, name="operator-months-run"),
]
