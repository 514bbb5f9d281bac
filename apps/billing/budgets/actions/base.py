"""What every action of a budget is told, and what it may do."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from django.utils.functional import Promise

from apps.billing.models import Account, Budget
from apps.billing.periods import Period
from apps.common.money import in_words


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A budget that has reached `percent` of its amount: `spent` in the calendar month `period` until `at`, before promotions and tax."""

    account: Account
    budget: Budget
    percent: int
    spent: Decimal
    period: Period
    at: datetime

    @property
    def share(self) -> int:
        """What was spent, in whole percent of the budget."""
        return int(100 * Fraction(self.spent) / Fraction(self.budget.amount))

    def words(self, amount: Decimal) -> str:
        """Return an amount with the account's currency, as people read it."""
        return in_words(amount=amount, currency=self.account.currency)


class BudgetAction:
    """An action. Override `act` for what happens once, when a rule's share is reached, and `holds` for what stands while it is.

    An action has no state of its own: both are told everything they need. They may raise: it is logged and tried again at the next
    look, within a minute.
    """

    title: str | Promise = ""
    """What forms and lists call it."""

    def act(self, *, standing: Standing) -> None:
        """Do what is to be done once a month for a rule. Of several rules reached at one look, only for the highest.

        Called in a transaction that notes that it was done; raise OSError if it could not be, and it is tried again.
        """

    def holds(self, *, standing: Standing) -> str:
        """Return the sentence with which growth is refused while the share is reached: why, and what to do. Empty to refuse nothing."""
        del standing
        return ""
