"""The port to those who take money: what each can do for an invoice, and where it sends people who want to pay.

Every provider passes `tests/contracts/test_payment_provider.py`; adding one is copying a neighbour and a line in `PROVIDERS`. A provider
knows no database: it gets what it needs as frozen dataclasses. What it learns of money that came is written down by `payments.services`.
"""

from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import ClassVar, Protocol
from uuid import UUID

from apps.common.errors import CarinaError, Conflict


class ProviderSilent(CarinaError):
    """Who takes the money does not answer, or refuses our credentials; `retry_after` is in seconds."""

    status = 503
    code = "payment_provider_unreachable"
    title = "The payment provider does not answer"
    retry_after = 30


@dataclass(frozen=True, kw_only=True)
class Due:
    """What is to be paid on an invoice: the amount that is still owed, in its currency. `page` is the invoice's full address."""

    tenant_id: UUID
    invoice_id: UUID
    number: str
    amount: Decimal
    currency: str
    payment_text: str
    page: str


@dataclass(frozen=True, kw_only=True)
class TopUp:
    """Prepaid credit that somebody wants to buy. `page` is the full address to come back to."""

    tenant_id: UUID
    tenant_name: str
    amount: Decimal
    currency: str
    page: str


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """What people do by themselves to pay: in words, and what they must copy to the letter."""

    text: str
    amount: Decimal
    currency: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a provider lets an invoice be paid: by what is written in `instructions`, or, without any, on a page of its own (`checkout`)."""

    provider: str
    title: str
    instructions: Instructions | None = None


class PaymentProvider(Protocol):
    """One way to pay, made anew for each use; its settings are the portal's."""

    name: ClassVar[str]
    title: ClassVar[str]
    has_page: ClassVar[bool]
    """Whether it has a page of its own to pay on, for invoices and for credit."""

    @classmethod
    def is_offered(cls) -> bool:
        """Tell whether the operator has set it up; if not, nobody hears of it."""
        ...

    def way(self, *, due: Due) -> Way | None:
        """Return how what is due can be paid; None if it cannot: an amount or a currency that it does not take. Asks nobody."""
        ...

    def checkout(self, *, due: Due) -> str:
        """Return the address where what is due is paid. The same asked twice leads to one payment.

        Raises Conflict where there is no such page, the amount cannot be paid there or was paid just now, ProviderSilent where nobody
        answers.
        """
        ...

    def checkout_top_up(self, *, top_up: TopUp) -> str:
        """Return the address where prepaid credit is bought. Raises as `checkout` does."""
        ...


PROVIDERS: dict[str, str] = {
    "stripe": "apps.billing.payments.providers.stripe.Stripe",
    "manual": "apps.billing.payments.providers.manual.BankTransfer",
}
"""In the order in which they are offered."""


def load_provider(*, name: str) -> type[PaymentProvider]:
    """Return the class of a provider; raises KeyError for a name that is not in `PROVIDERS`."""
    module, _, attribute = PROVIDERS[name].rpartition(".")
    provider: type[PaymentProvider] = getattr(import_module(module), attribute)
    return provider


def offered() -> list[PaymentProvider]:
    """Return the providers that are set up."""
    return [provider() for name in PROVIDERS if (provider := load_provider(name=name)).is_offered()]


def no_page(*, title: str) -> Conflict:
    """Return the refusal of a provider that has no page to pay on."""
    return Conflict(f"{title} has no page to pay on: follow the instructions on the invoice.", code="no_checkout")
