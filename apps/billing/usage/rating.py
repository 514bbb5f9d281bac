"""From use to money: a pure function of usage, price book and plan. Exact until the very end; the same for invoices, estimates and pages.

A price's tiers count the host-hours of the whole tenant under that price within the period; what tiers save is spread over its bays by
their hours, so that neither the order of use nor how it was split matters.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from apps.billing.models import Plan
from apps.billing.prices.book import Rate
from apps.billing.usage.measured import Used
from apps.common.money import apportioned, rounded


@dataclass(frozen=True, kw_only=True)
class Charge:
    """What one row of usage costs, exactly, in the currency of the price book it was rated with."""

    used: Used
    rate: Rate
    exact: Fraction


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What of a plan changes an amount; see `Plan`."""

    title: str = ""
    kind: str = Plan.Kind.PAY_AS_YOU_GO
    allowance: Decimal = Decimal(0)
    discount_percent: Decimal = Decimal(0)
    commitment: Decimal = Decimal(0)

    @classmethod
    def of(cls, *, plan: Plan) -> "Terms":
        """Return the terms of a plan."""
        return cls(
            title=plan.title, kind=plan.kind, allowance=plan.allowance, discount_percent=plan.discount_percent, commitment=plan.commitment
        )


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """What the terms add to or take from the usage; `kind` is an `InvoiceLine.Kind`, the amount negative where it is taken off."""

    kind: str
    text: str
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Bill:
    """Usage of a period in money. `amounts` are those of `charges`, one by one, and sum to `usage`, the rounded exact sum; `net` is `usage`
    and all adjustments.
    """

    currency: str
    charges: tuple[Charge, ...]
    amounts: tuple[Decimal, ...]
    usage: Decimal
    adjustments: tuple[Adjustment, ...]

    @property
    def net(self) -> Decimal:
        """What is charged, before promotions and tax."""
        return self.usage + sum((each.amount for each in self.adjustments), Decimal(0))


def charges(*, used: Iterable[Used], rates: Mapping[int, Rate]) -> list[Charge]:
    """Return what each row of usage costs, in an order of their own; usage without a price is left out.

    All of one month of one tenant must come together. The order is always the same, since who of equals gets the odd cent depends on it.
    """
    rows: dict[int, list[Used]] = defaultdict(list)
    for each in used:
        if each.price_id is not None:
            rows[each.price_id].append(each)
    found = []
    for price_id, mine in rows.items():
        rate = rates[price_id]
        seconds = sum(each.seconds for each in mine)
        cost = rate.cost(seconds=seconds)
        found += [Charge(used=each, rate=rate, exact=cost * each.seconds / seconds) for each in mine if seconds]
    return sorted(found, key=lambda charge: (charge.used.bay_id, charge.used.cloud_id, charge.used.flavor_id, charge.rate.id))


def bill(*, found: Sequence[Charge], terms: Terms, currency: str, whole_month: bool = True) -> Bill:
    """Return the charges of a month as amounts, with what the terms change. A commitment is charged for whole months only."""
    amounts = apportioned(parts=[charge.exact for charge in found], currency=currency)
    usage = sum(amounts, rounded(amount=0, currency=currency))
    return Bill(
        currency=currency,
        charges=tuple(found),
        amounts=tuple(amounts),
        usage=usage,
        adjustments=tuple(adjustments(usage=usage, terms=terms, currency=currency, whole_month=whole_month)),
    )


def adjustments(*, usage: Decimal, terms: Terms, currency: str, whole_month: bool = True) -> list[Adjustment]:
    """Return what the terms change about so much usage in a month: discount first, then allowance, then what is missing to a commitment."""
    found, left = [], usage
    if terms.discount_percent and left > 0:
        amount = -rounded(amount=Fraction(left) * Fraction(terms.discount_percent) / 100, currency=currency)
        found.append(Adjustment(kind="discount", text=f"{terms.title}: {terms.discount_percent.normalize():f} % discount", amount=amount))
        left += amount
    if terms.allowance and left > 0:
        amount = -min(left, rounded(amount=terms.allowance, currency=currency))
        found.append(Adjustment(kind="allowance", text=f"{terms.title}: monthly allowance", amount=amount))
        left += amount
    if whole_month and terms.commitment > left:
        amount = rounded(amount=terms.commitment - left, currency=currency)
        found.append(Adjustment(kind="commitment", text=f"{terms.title}: up to the monthly commitment", amount=amount))
    return [each for each in found if each.amount]
