"""What is left of credit and budgets after this month's spend so far: what estimates show beside what a change costs."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.utils.translation import gettext as _

from apps.billing.credit.grants import balance_after_spend
from apps.billing.models import Account, Budget, CreditGrant
from apps.billing.usage.spend import month_to_bill, spend_of
from apps.common.money import in_words


@dataclass(frozen=True, kw_only=True)
class RemainingRow:
    """One thing that is left: credit, or of one budget, whose `left` is negative once more was spent. `sentence` says it to people."""

    kind: str
    label: str
    left: Decimal
    currency: str
    sentence: str
    amount: Decimal | None = None
    spent: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class Remaining:
    """All of them; no rows for a tenant that has neither credit nor budgets."""

    rows: tuple[RemainingRow, ...] = ()

    @property
    def credit(self) -> RemainingRow | None:
        """What is left of credit, if any was ever granted."""
        return next((row for row in self.rows if row.kind == "credit"), None)

    @property
    def budgets(self) -> tuple[RemainingRow, ...]:
        """What is left of each budget."""
        return tuple(row for row in self.rows if row.kind == "budget")


def remaining_of(*, account: Account, at: datetime) -> Remaining:
    """Return what is left of credit and of each budget after what this month's use has cost until the moment, in the account's currency."""
    rows = []
    if CreditGrant.objects.filter(tenant_id=account.tenant_id, currency=account.currency).exists():
        rows.append(_credit(account=account, at=at))
    budgets = list(Budget.objects.filter(tenant_id=account.tenant_id).order_by("name"))
    if budgets:
        spent = spend_of(account=account, period=month_to_bill(account=account, at=at), as_of=at).net
        rows += [_budget(budget=budget, spent=spent, currency=account.currency) for budget in budgets]
    return Remaining(rows=tuple(rows))


def _credit(*, account: Account, at: datetime) -> RemainingRow:
    left = balance_after_spend(account=account, at=at).total
    words = in_words(amount=left, currency=account.currency)
    sentence = _("%(left)s of credit are left after what was used so far.") % {"left": words}
    return RemainingRow(kind="credit", label=_("Credit"), left=left, currency=account.currency, sentence=sentence)


def _budget(*, budget: Budget, spent: Decimal, currency: str) -> RemainingRow:
    left = budget.amount - spent
    words = {
        "name": budget.name,
        "amount": in_words(amount=budget.amount, currency=currency),
        "left": in_words(amount=abs(left), currency=currency),
    }
    sentence = _("%(left)s of the budget “%(name)s” (%(amount)s a month) are left.") if left >= 0 else _(
        "The budget “%(name)s” (%(amount)s a month) is exceeded by %(left)s."
    )  # fmt: skip
    return RemainingRow(
        kind="budget", label=budget.name, left=left, currency=currency, sentence=sentence % words, amount=budget.amount, spent=spent
    )
