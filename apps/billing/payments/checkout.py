"""Paying, for whoever may: what ways there are for an invoice, and where to go to pay it or to buy credit in advance."""

from decimal import Decimal

from django.conf import settings
from django.urls import reverse

from apps.audit.services import record
from apps.billing.models import Invoice
from apps.billing.payments.providers.base import Due, PaymentProvider, TopUp, Way, offered
from apps.billing.receivables.overdue import invoice_page
from apps.billing.receivables.owed import owed
from apps.billing.terms.accounts import account_of
from apps.common.errors import Conflict, InvalidInput, NotFound
from apps.common.money import in_words, rounded
from apps.tenants.context import Access
from apps.tenants.roles import Permission

LEAST_TOP_UP, MOST_TOP_UP = 1, 100_000
"""Units of the account's currency; Stripe itself takes nothing smaller than about half a euro."""


def ways_to_pay(*, access: Access, invoice: Invoice) -> list[Way]:
    """Return how the invoice can be paid: none where nothing is owed on it, and none for those who may not pay. Asks no provider."""
    if not access.may(Permission.BILLING_MANAGE) or owed(invoice=invoice) <= 0:
        return []
    due = _due(access, invoice)
    return [way for provider in offered() if (way := provider.way(due=due)) is not None]


def can_top_up() -> bool:
    """Tell whether credit can be bought at all: whether a provider with a page of its own is set up."""
    return any(provider.has_page for provider in offered())


def start_payment(*, access: Access, number: str, provider: str) -> str:
    """Return the address at a provider where what is owed on the invoice `number` is paid.

    Raises Forbidden without billing:manage, NotFound for an invoice the tenant does not have, InvalidInput for a provider that is not
    offered, Conflict where nothing is owed or the provider cannot take it, ProviderSilent where it does not answer.
    """
    access.require(Permission.BILLING_MANAGE)
    invoice = access.tenant.invoices.filter(number=number, kind=Invoice.Kind.INVOICE).select_related("issuer").defer("pdf").first()
    if invoice is None:
        raise NotFound(f"{access.tenant.name} has no invoice {number[:40]}.", code="invoice_not_found")
    chosen = _offered(provider)
    if owed(invoice=invoice) <= 0:
        raise Conflict(f"Nothing is owed on invoice {invoice.number}.", code="nothing_owed")
    due = _due(access, invoice)
    url = chosen.checkout(due=due)
    record(
        by=access.actor, action="payment.started", tenant_id=access.tenant.id, target_id=str(invoice.id), target_label=invoice.number,
        sentence=f"went to pay {in_words(amount=due.amount, currency=due.currency)} of invoice {invoice.number}",
        data={"provider": provider},
    )  # fmt: skip
    return url


def start_topup(*, access: Access, amount: Decimal, provider: str = "stripe") -> str:
    """Return the address where prepaid credit of `amount` in the account's currency is bought; it is granted once it is paid.

    Raises Forbidden without billing:manage, InvalidInput for an amount or a provider that cannot be, Conflict and ProviderSilent as
    `start_payment` does.
    """
    access.require(Permission.BILLING_MANAGE)
    chosen = _offered(provider)
    currency = account_of(tenant=access.tenant).currency
    if not amount.is_finite() or not LEAST_TOP_UP <= amount <= MOST_TOP_UP or amount != rounded(amount=amount, currency=currency):
        raise InvalidInput.field("amount", f"Credit can be bought from {LEAST_TOP_UP} to {MOST_TOP_UP:,} {currency}, in whole cents.")
    page = settings.BASE_URL + reverse("billing:credit", args=[access.tenant.slug])
    top_up = TopUp(tenant_id=access.tenant.id, tenant_name=access.tenant.name, amount=amount, currency=currency, page=page)
    url = chosen.checkout_top_up(top_up=top_up)
    record(
        by=access.actor, action="payment.started", tenant_id=access.tenant.id, target_id=str(access.tenant.id),
        target_label=access.tenant.slug, sentence=f"went to buy {in_words(amount=amount, currency=currency)} of credit",
        data={"provider": provider},
    )  # fmt: skip
    return url


def _offered(name: str) -> PaymentProvider:
    known = {provider.name: provider for provider in offered()}
    if name not in known:
        raise InvalidInput.field("provider", f"Here one can pay by: {', '.join(known)}.", code="provider_not_offered")
    return known[name]


def _due(access: Access, invoice: Invoice) -> Due:
    return Due(
        tenant_id=access.tenant.id,
        invoice_id=invoice.id,
        number=invoice.number,
        amount=rounded(amount=owed(invoice=invoice), currency=invoice.currency),
        currency=invoice.currency,
        payment_text=invoice.issuer.payment_text,
        page=invoice_page(tenant_slug=access.tenant.slug, number=invoice.number),
    )
