"""What a budget does when a share of it is spent: plug-ins, one class each (docs/budgets.md says how to add one)."""

from functools import cache

from django.utils.module_loading import import_string

from apps.billing.budgets.actions.base import BudgetAction

ACTIONS = {
    "mail": "apps.billing.budgets.actions.mail.MailAction",
    "block": "apps.billing.budgets.actions.block.BlockAction",
}
"""By the name rules have for it, of at most 16 letters, which is never changed."""


@cache
def load_action(*, name: str) -> BudgetAction:
    """Return the action of that name. Raises KeyError for one there is none of."""
    action: BudgetAction = import_string(ACTIONS[name])()
    return action
