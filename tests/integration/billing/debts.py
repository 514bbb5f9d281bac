"""Invoices that are owed, for tests of payments and dunning: rows as they are issued, without a month of use behind them."""

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from apps.billing.invoices.parties import customer_of, seller_of
from apps.billing.models import Invoice
from apps.billing.terms.accounts import account_of, default_issuer
from apps.tenants.models import Tenant

ISSUED = datetime(2026, 3, 1, 9, tzinfo=UTC)
DUE_ON = date(2026, 3, 15)
_numbers = itertools.count(1)


def make_invoice(tenant: Tenant, gross: str = "120.00", *, due_on: date = DUE_ON, currency: str = "USD", **more: Any) -> Invoice:
    """Return a new open invoice over `gross`, tax included, issued two weeks before it is due."""
    issuer = default_issuer()
    issuer.payment_text = "Harbour Bank, IBAN XX12 3456 7890"
    issuer.save(update_fields=["payment_text"])
    number, amount = next(_numbers), Decimal(gross)
    return Invoice.objects.create(
        tenant=tenant, issuer=issuer, number=more.pop("number", f"2026-{number:04}"), period_start=ISSUED + timedelta(days=number),
        period_end=ISSUED + timedelta(days=number + 1), time_zone="UTC", currency=currency, seller=seller_of(issuer=issuer),
        customer=customer_of(account=account_of(tenant=tenant)), net=amount, tax=Decimal(0), gross=amount, issued_at=ISSUED, due_on=due_on,
        **more,
    )  # fmt: skip


def credit(invoice: Invoice, gross: str) -> Invoice:
    """Return a new credit note that takes back so much of the invoice."""
    number, amount = next(_numbers), -Decimal(gross)
    return Invoice.objects.create(
        tenant=invoice.tenant, issuer=invoice.issuer, kind=Invoice.Kind.CREDIT_NOTE, corrects=invoice, number=f"C-{number}",
        period_start=invoice.period_start, period_end=invoice.period_end, time_zone="UTC", currency=invoice.currency, seller=invoice.seller,
        customer=invoice.customer, net=amount, tax=Decimal(0), gross=amount, issued_at=invoice.issued_at, due_on=invoice.due_on,
        state=Invoice.State.PAID,
    )  # fmt: skip
