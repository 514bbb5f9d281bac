"""Mail to everybody who looks after what the organisation spends."""

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.billing.budgets.actions.base import BudgetAction, Standing
from apps.billing.periods import local_day
from apps.billing.terms.recipients import recipients_of
from apps.common.mails import send_to_each


class MailAction(BudgetAction):
    """Says how much of the budget is spent."""

    title = _("Mail")

    def act(self, *, standing: Standing) -> None:
        """Send the mail, to each recipient one of their own."""
        send_budget_mail(standing=standing, blocked=blocks(standing=standing))


def blocks(*, standing: Standing) -> bool:
    """Tell whether the budget blocks growth at what is spent of it now."""
    return any(rule["action"] == "block" and rule["percent"] <= standing.share for rule in standing.budget.rules)


def send_budget_mail(*, standing: Standing, blocked: bool) -> None:
    """Send the mail of a budget that has reached a share. `blocked` is whether growth is refused from now on."""
    tenant, zone = standing.account.tenant, standing.account.time_zone
    context = {
        "standing": standing,
        "budget": standing.budget,
        "tenant": tenant,
        "blocked": blocked,
        "amount": standing.words(standing.budget.amount),
        "spent": standing.words(standing.spent),
        "month": local_day(at=standing.period.start, zone=zone),
        "ends": local_day(at=standing.period.end, zone=zone),
        "page": settings.BASE_URL + reverse("billing:budgets", args=[tenant.slug]),
    }
    send_to_each(recipients=recipients_of(standing.account), template="billing/email/budget_reached", context=context)
