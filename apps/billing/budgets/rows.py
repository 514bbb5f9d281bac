"""What pages and the API show of budgets: how much of each is spent this month, what it will be, and which rules were reached."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from apps.billing.budgets.actions import ACTIONS, load_action
from apps.billing.budgets.services import budgets_of
from apps.billing.models import Budget
from apps.billing.periods import local_day
from apps.billing.terms.accounts import account_of
from apps.billing.usage.spend import month_so_far
from apps.common.money import rounded
from apps.tenants.context import Access


@dataclass(frozen=True, kw_only=True)
class RuleRow:
    """A rule: what is done at which share, from which amount on, and since when it was reached this month; None if it was not."""

    percent: int
    action: str
    title: str
    amount: Decimal
    reached_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class BudgetRow:
    """A budget this month: amounts in the account's currency, shares in whole percent. `blocks` is whether it refuses growth now."""

    budget: Budget
    spent: Decimal
    forecast: Decimal
    share: int
    forecast_share: int
    rules: list[RuleRow]
    blocks: bool

    @property
    def left(self) -> Decimal:
        """What is left of it, negative once more was spent."""
        return self.budget.amount - self.spent

    @property
    def over(self) -> Decimal:
        """By how much it is exceeded; negative while it is not."""
        return -self.left

    @property
    def bar(self) -> int:
        """The part of a bar that is full, of 100."""
        return max(0, min(self.share, 100))

    @property
    def state(self) -> str:
        """How it stands: blocks, exceeded, tight (it will be exceeded before the month ends) or fine."""
        if self.blocks:
            return "blocks"
        if self.left < 0:
            return "exceeded"
        return "tight" if self.forecast > self.budget.amount else "fine"


@dataclass(frozen=True, kw_only=True)
class BudgetMonth:
    """All budgets of a tenant, by name, with the month they are about: its first and its last day, what was spent and what will be."""

    currency: str
    first: date
    last: date
    spent: Decimal
    forecast: Decimal
    rows: list[BudgetRow]


def budget_month(*, access: Access, at: datetime) -> BudgetMonth:
    """Return how the tenant's budgets stand at the moment."""
    budgets = list(budgets_of(access=access).prefetch_related("crossings"))
    account = account_of(tenant=access.tenant)
    spend = month_so_far(account=account, at=at)
    holding = {code.rpartition(":")[2] for code in access.tenant.holds.filter(code__startswith="budget:").values_list("code", flat=True)}
    rows = [
        BudgetRow(
            budget=budget,
            spent=spend.spent,
            forecast=spend.forecast,
            share=_share(spend.spent, budget),
            forecast_share=_share(spend.forecast, budget),
            rules=_rules(budget, start=spend.period.start, currency=spend.currency),
            blocks=budget.id.hex in holding,
        )
        for budget in budgets
    ]
    zone = account.time_zone
    return BudgetMonth(
        currency=spend.currency,
        first=local_day(at=spend.period.start, zone=zone),
        last=local_day(at=spend.period.end, zone=zone) - timedelta(days=1),
        spent=spend.spent,
        forecast=spend.forecast,
        rows=rows,
    )


def _share(amount: Decimal, budget: Budget) -> int:
    return int(100 * Fraction(amount) / Fraction(budget.amount))


def _rules(budget: Budget, *, start: datetime, currency: str) -> list[RuleRow]:
    reached = {(each.percent, each.action): each.at for each in budget.crossings.all() if each.period_start == start}
    return [
        RuleRow(
            percent=rule["percent"],
            action=rule["action"],
            title=str(load_action(name=rule["action"]).title) if rule["action"] in ACTIONS else rule["action"],
            amount=rounded(amount=Fraction(budget.amount) * rule["percent"] / 100, currency=currency),
            reached_at=reached.get((rule["percent"], rule["action"])),
        )
        for rule in budget.rules
    ]
