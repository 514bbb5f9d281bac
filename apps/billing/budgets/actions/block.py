"""No new bays and no further hosts while the budget is used up; what runs goes on, and everything may shrink or go."""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.billing.budgets.actions.base import BudgetAction, Standing
from apps.billing.budgets.actions.mail import send_budget_mail
from apps.billing.periods import local_day


class BlockAction(BudgetAction):
    """Refuses growth."""

    title = gettext_lazy("Block new bays and growth")

    def act(self, *, standing: Standing) -> None:
        """Tell people, unless the same share mails them anyway."""
        if {"percent": standing.percent, "action": "mail"} not in standing.budget.rules:
            send_budget_mail(standing=standing, blocked=True)

    def holds(self, *, standing: Standing) -> str:
        """Return why growth is refused, and what to do about it."""
        zone = standing.account.time_zone
        return _(
            "The budget “%(name)s” allows no growth from %(percent)s %% on, and %(spent)s of its %(amount)s a month are spent: no new bays "
            "and no more hosts until somebody who manages billing raises it (under Billing, Budgets), or until %(month)s ends on %(day)s."
        ) % {
            "name": standing.budget.name,
            "percent": standing.percent,
            "spent": standing.words(standing.spent),
            "amount": standing.words(standing.budget.amount),
            "month": f"{local_day(at=standing.period.start, zone=zone):%B}",
            "day": f"{local_day(at=standing.period.end, zone=zone):%-d %B}",
        }
