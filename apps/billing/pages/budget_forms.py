from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.billing.budgets.actions import ACTIONS, load_action
from apps.billing.budgets.services import DEFAULT_RULES, HIGHEST_PERCENT, Rule
from apps.billing.models import Budget
from apps.common.pages import DomainForm

PREFIX = "at_"


class BudgetForm(DomainForm):
    """A budget as people fill it in: for each action one field with the shares at which it is taken, such as “50, 80, 100”."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        error_messages={"required": gettext_lazy("Give the budget a name, for instance “monthly”.")},
        widget=forms.TextInput(attrs={"autocomplete": "off", "maxlength": 40}),
    )
    amount = forms.CharField(
        label=gettext_lazy("Amount a month"),
        error_messages={"required": gettext_lazy("Say how much you mean to spend a month.")},
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "decimal"}),
    )

    def __init__(self, *args: Any, budget: Budget | None = None, suggestion: str = "", **kwargs: Any) -> None:
        rules: Sequence[Rule] = budget.rules if budget is not None else DEFAULT_RULES
        first = {"name": budget.name, "amount": f"{budget.amount:f}"} if budget is not None else {"name": suggestion}
        shares = {f"{PREFIX}{action}": ", ".join(str(rule["percent"]) for rule in rules if rule["action"] == action) for action in ACTIONS}
        kwargs.setdefault("initial", {**first, **shares})
        super().__init__(*args, **kwargs)
        for action in ACTIONS:
            title = load_action(name=action).title
            self.fields[f"{PREFIX}{action}"] = forms.CharField(
                label=_("%(action)s at (percent)") % {"action": title},
                required=False,
                widget=forms.TextInput(attrs={"autocomplete": "off", "maxlength": 80}),
            )

    @property
    def action_fields(self) -> list[forms.BoundField]:
        """The fields of actions, for the template."""
        return [self[f"{PREFIX}{action}"] for action in ACTIONS]

    def clean(self) -> dict[str, Any]:
        """Read the shares; what is none is said at its field."""
        values = super().clean() or self.cleaned_data
        for action in ACTIONS:
            field = f"{PREFIX}{action}"
            words = str(values.get(field, "")).replace("%", " ").replace(",", " ").replace(";", " ").split()
            try:
                values[field] = sorted({_percent(word) for word in words})
            except ValueError:
                self.add_error(field, _("Write whole numbers from 1 to %(most)s, such as 50, 80, 100.") % {"most": HIGHEST_PERCENT})
        return values

    def rules(self) -> list[Rule]:
        """Return the rules that were typed."""
        return [{"percent": percent, "action": action} for action in ACTIONS for percent in self.cleaned_data[f"{PREFIX}{action}"]]


def _percent(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) <= len(str(HIGHEST_PERCENT)) and 1 <= int(word) <= HIGHEST_PERCENT):
        raise ValueError(word)
    return int(word)
