"""Budgets: what a tenant means to spend in a calendar month, and what happens at which share of it.

They count what is spent before promotional credit and tax, in the account's currency. Their actions are plug-ins
(`apps.billing.budgets.actions`); `apps.billing.budgets.watching` looks at them twice a minute, and here at once when one is changed.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import partial
from typing import Any, TypedDict
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from apps.audit.services import record
from apps.billing.budgets.actions import ACTIONS
from apps.billing.budgets.watching import apply_holds
from apps.billing.models import Account, Budget
from apps.billing.terms.accounts import account_of
from apps.billing.usage.spend import month_to_bill, spend_of
from apps.common.clock import now
from apps.common.dispatch import send
from apps.common.errors import Conflict, InvalidInput, NotFound
from apps.common.money import in_words, rounded
from apps.common.names import check_name
from apps.tenants.context import Access
from apps.tenants.roles import Permission

BUDGETS_PER_TENANT = 20
RULES_PER_BUDGET = 10
HIGHEST_PERCENT = 200
MOST = Decimal(1_000_000_000)
CENT = Decimal("0.01")


class Rule(TypedDict):
    """At which share of the budget which action is taken."""

    percent: int
    action: str


DEFAULT_RULES: tuple[Rule, ...] = ({"percent": 50, "action": "mail"}, {"percent": 80, "action": "mail"}, {"percent": 100, "action": "mail"})


def budgets_of(*, access: Access) -> QuerySet[Budget]:
    """Return the tenant's budgets by name."""
    access.require(Permission.BILLING_READ)
    return access.tenant.budgets.order_by("name")


def find_budget(*, access: Access, reference: str) -> Budget:
    """Return a budget by its name or its id. Raises NotFound where the tenant has none of either."""
    access.require(Permission.BILLING_READ)
    return _find(access, reference, budgets_of(access=access))


def create_budget(*, access: Access, name: str, amount: object, rules: object = None) -> Budget:
    """Set a budget and return it; without rules it mails at 50, 80 and 100 %. What it says about this month holds at once.

    `amount` is a number or text in units of the account's currency, a month. Raises InvalidInput for a name, amount or rule that is
    none, Conflict for a name that is taken or a budget too many.
    """
    access.require(Permission.BILLING_MANAGE)
    check_name(name=name)
    checked = parse_rules(value=list(DEFAULT_RULES) if rules is None else rules)
    moment = now()
    with transaction.atomic():
        account = _locked_account(access)
        sum_ = parse_amount(value=amount, currency=account.currency)
        if access.tenant.budgets.count() >= BUDGETS_PER_TENANT:
            raise Conflict(
                f"{access.tenant.name} has {BUDGETS_PER_TENANT} budgets, which is the most there can be.", code="too_many_budgets"
            )
        budget = Budget(
            tenant=access.tenant, name=name, amount=sum_, rules=checked, created_by=access.actor.label, created_at=moment, updated_at=moment
        )
        _save(budget, force_insert=True)
        _audit(access, budget, account, action="budget.created", verb="set")
        _look(access, moment)
    return budget


def change_budget(*, access: Access, reference: str, name: str | None = None, amount: object = None, rules: object = None) -> Budget:
    """Change what is named of a budget and return it; the rest stays. What it then says about this month holds at once.

    Rules that are not reached any more, because the amount was raised, act again when they are. Raises as `create_budget` does, and
    NotFound.
    """
    access.require(Permission.BILLING_MANAGE)
    moment = now()
    with transaction.atomic():
        account = _locked_account(access)
        budget = _find(access, reference, access.tenant.budgets.select_for_update())
        before = (budget.name, budget.amount, budget.rules)
        if name is not None and name != budget.name:
            budget.name = check_name(name=name)
        if amount is not None:
            budget.amount = parse_amount(value=amount, currency=account.currency)
        if rules is not None:
            budget.rules = parse_rules(value=rules)
        if (budget.name, budget.amount, budget.rules) == before:
            return budget
        budget.updated_at = moment
        _save(budget)
        _forget_unreached(budget, account, moment)
        _audit(access, budget, account, action="budget.changed", verb="changed", before={"amount": str(before[1]), "rules": before[2]})
        _look(access, moment)
    return budget


def delete_budget(*, access: Access, reference: str) -> None:
    """Delete a budget; what it blocked is free at once. Raises NotFound."""
    access.require(Permission.BILLING_MANAGE)
    with transaction.atomic():
        account = _locked_account(access)
        budget = _find(access, reference, access.tenant.budgets.select_for_update())
        _audit(access, budget, account, action="budget.deleted", verb="deleted")
        budget.delete()
        _look(access, now())


def parse_amount(*, value: object, currency: str) -> Decimal:
    """Return an amount from a number or text. Raises InvalidInput for what is none that a budget can have."""
    sentence = f"The amount must be a number above 0, at most {MOST:,}, in whole cents of {currency}, such as 250 or 99.90."
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidInput.field("amount", sentence)
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise InvalidInput.field("amount", sentence) from None
    if (
        not amount.is_finite()
        or not 0 < amount <= MOST
        or amount != rounded(amount=amount, currency=currency)
        or amount != amount.quantize(CENT)
    ):
        raise InvalidInput.field("amount", sentence)
    return amount.quantize(CENT)


def parse_rules(*, value: object) -> list[Rule]:
    """Return rules in order of their share. Raises InvalidInput for what is no rule, a rule that stands twice, or too many."""
    if not isinstance(value, list) or len(value) > RULES_PER_BUDGET:
        raise _bad_rules(f'The rules must be a list of at most {RULES_PER_BUDGET} such as [{{"percent": 80, "action": "mail"}}].')
    rules: list[Rule] = []
    for each in value:
        if not isinstance(each, Mapping) or set(each) != {"percent", "action"}:
            raise _bad_rules("Every rule needs a “percent” and an “action”, and nothing else.")
        percent, action = each["percent"], each["action"]
        if isinstance(percent, bool) or not isinstance(percent, int) or not 1 <= percent <= HIGHEST_PERCENT:
            raise _bad_rules(f"The share of a rule must be a whole number from 1 to {HIGHEST_PERCENT} percent.")
        if not isinstance(action, str) or action not in ACTIONS:
            raise _bad_rules(f"The action of a rule must be one of: {', '.join(ACTIONS)}.")
        rule: Rule = {"percent": percent, "action": action}
        if rule in rules:
            raise _bad_rules(f"The rule “{action} at {percent} %” stands twice.")
        rules.append(rule)
    return sorted(rules, key=lambda rule: (rule["percent"], rule["action"]))


def _bad_rules(sentence: str) -> InvalidInput:
    return InvalidInput.field("rules", sentence)


def _find(access: Access, reference: str, rows: QuerySet[Budget]) -> Budget:
    try:
        row = rows.filter(id=UUID(reference)).first()
    except ValueError:
        row = rows.filter(name=reference).first() if reference.isprintable() else None
    if row is None:
        raise NotFound(f"{access.tenant.name} has no budget “{reference[:40]}”.", code="budget_not_found")
    return row


def _locked_account(access: Access) -> Account:
    """Return the account, locked, so that budgets change one at a time and no look that began before ends after."""
    account_of(tenant=access.tenant)
    return Account.objects.select_for_update(no_key=True).get(tenant=access.tenant)


def _save(budget: Budget, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            budget.save(force_insert=force_insert)
    except IntegrityError as error:
        raise Conflict(
            f"There is a budget “{budget.name}” already; choose another name.", code="name_taken", errors={"name": "This name is taken."}
        ) from error


def _forget_unreached(budget: Budget, account: Account, at: datetime) -> None:
    """Forget that rules were reached this month which are not any more: they act again when they are."""
    period = month_to_bill(account=account, at=at)
    spent = spend_of(account=account, period=period, as_of=at).net
    share = 100 * Fraction(spent) / Fraction(budget.amount)
    budget.crossings.filter(period_start=period.start, percent__gt=share.numerator // share.denominator).delete()


def _look(access: Access, at: datetime) -> None:
    """Have holds follow at once, and what is done once (mails) right after the change is kept."""
    apply_holds(tenant_id=access.tenant.id, at=at)
    transaction.on_commit(partial(send, task="billing.watch_one", tenant_id=str(access.tenant.id)))


def _audit(access: Access, budget: Budget, account: Account, *, action: str, verb: str, before: dict[str, Any] | None = None) -> None:
    record(
        by=access.actor, action=action, tenant_id=access.tenant.id, target_id=str(budget.id), target_label=budget.name,
        sentence=f"{verb} the budget {budget.name} of {in_words(amount=budget.amount, currency=account.currency)} a month",
        data={"amount": str(budget.amount), "currency": account.currency, "rules": budget.rules, **({"before": before} if before else {})},
    )  # fmt: skip
