"""The terms of a plan for one period: what the plan gives and asks for a month, in proportion where the period is only a part of one."""

from dataclasses import replace
from fractions import Fraction

from apps.billing.models import Plan
from apps.billing.periods import Period, month_at
from apps.billing.usage.rating import Terms
from apps.common.errors import Conflict
from apps.common.money import rounded


def terms_in(*, plan: Plan, period: Period, zone: str, currency: str) -> Terms:
    """Return the plan's terms for the period, amounts in the currency.

    A month is cut where a tenant moves to another time zone; each part has its share of allowance and commitment by its length, so that
    no number of moves gains or costs any. Raises Conflict for a plan whose amounts are in another currency.
    """
    if plan.currency and plan.currency != currency:
        raise Conflict(f"The plan “{plan.title}” is in {plan.currency}, but the account is billed in {currency}: give it another plan.")
    terms = Terms.of(plan=plan)
    share = Fraction(period.seconds, month_at(at=period.start, zone=zone).seconds)
    if share >= 1:
        return terms
    return replace(
        terms,
        allowance=rounded(amount=Fraction(terms.allowance) * share, currency=currency),
        commitment=rounded(amount=Fraction(terms.commitment) * share, currency=currency),
    )
