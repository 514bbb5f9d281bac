"""Bank transfer: the issuer says where to, the invoice's number says what for, and an operator records what arrived."""

from typing import ClassVar

from apps.billing.payments.providers.base import Due, Instructions, TopUp, Way, no_page


class BankTransfer:
    """The way that is always there, if the issuer says how to pay."""

    name: ClassVar[str] = "manual"
    title: ClassVar[str] = "Bank transfer"
    has_page: ClassVar[bool] = False

    @classmethod
    def is_offered(cls) -> bool:
        """Yes: it needs nothing of the portal."""
        return True

    def way(self, *, due: Due) -> Way | None:
        """Return the instructions; None where the issuer does not say how to pay."""
        if not due.payment_text.strip():
            return None
        what = Instructions(text=due.payment_text.strip(), amount=due.amount, currency=due.currency, reference=due.number)
        return Way(provider=self.name, title=self.title, instructions=what)

    def checkout(self, *, due: Due) -> str:
        """Refuse: a bank's page is not ours to open."""
        del due
        raise no_page(title=self.title)

    def checkout_top_up(self, *, top_up: TopUp) -> str:
        """Refuse likewise."""
        del top_up
        raise no_page(title=self.title)
