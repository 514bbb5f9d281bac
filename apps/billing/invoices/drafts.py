"""What an invoice says before it has a number: of usage, prices, terms, credit and tax, by the same code all month long and at its end.

Reading comes first, arithmetic after it: what is charged is `rating`'s, late usage `late`'s, tax that of `taxes.rules`; here they become
lines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import structlog

from apps.billing.credit.grants import planned_uses
from apps.billing.invoices.books import Books, may_have_credit
from apps.billing.invoices.late import late_lines
from apps.billing.invoices.lines import LONGEST_TEXT, DraftLine, Kind, usage_lines
from apps.billing.models import Account, CreditGrant, Plan
from apps.billing.periods import Period, local_day, period_from
from apps.billing.taxes.rules import Tax, tax_for
from apps.billing.usage.measured import Used, used_in
from apps.billing.usage.period_terms import terms_in
from apps.billing.usage.rating import bill, charges

Use = tuple[CreditGrant, Decimal]
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An invoice that could be issued for the period. `promotions` and `prepaid` are the grants it would use, and how much of each.

    `net` is the sum of the lines, promotions among them; prepaid credit pays up to `gross` and is no line.
    """

    account: Account
    period: Period
    plan: Plan
    lines: tuple[DraftLine, ...]
    promotions: tuple[Use, ...]
    prepaid: tuple[Use, ...]
    net: Decimal
    tax: Decimal
    tax_terms: Tax

    @property
    def currency(self) -> str:
        """The currency of all amounts."""
        return self.account.currency

    @property
    def gross(self) -> Decimal:
        """What is charged with tax; negative where late usage gives back more than was used."""
        return self.net + self.tax

    @property
    def prepaid_used(self) -> Decimal:
        """What prepaid credit pays."""
        return sum((amount for _, amount in self.prepaid), Decimal(0))

    @property
    def left_to_pay(self) -> Decimal:
        """What is owed after that; nothing where the gross is negative."""
        return max(self.gross - self.prepaid_used, Decimal(0))

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to say: no use, nothing late, nothing the terms ask for. Such a month gets no invoice."""
        return not self.lines


def draft_of(*, account: Account, at: datetime, books: Books | None = None, used: Sequence[Used] | None = None) -> Draft:
    """Return the invoice of the account's next period, with all that is known at the moment; after the period's end, as it will be issued.

    Amounts are in the account's currency. `used` is what was used of that period until then, for who has read it already. A commitment
    counts once the period is over. Raises Conflict where the plan, or a month with late usage, is in another currency, and ZoneInfo's
    errors for a time zone that does not exist.
    """
    books = books or Books()
    currency, zone = account.currency, account.time_zone
    period = period_from(start=account.billed_until, zone=zone)
    plan = books.plan_of(account=account)
    terms = terms_in(plan=plan, period=period, zone=zone, currency=currency)
    if used is None:
        used = used_in_next(account=account, at=at, books=books)
    _warn_of_unpriced(account, used)
    found = bill(
        found=charges(used=used, rates=books.prices(currency=currency).rates), terms=terms, currency=currency, whole_month=at >= period.end
    )
    lines = [*usage_lines(found=found, used_from=period.start, books=books), *late_lines(account=account, books=books)]
    lines += [DraftLine(kind=each.kind, text=each.text, amount=each.amount) for each in found.adjustments]
    return _settled(account=account, period=period, plan=plan, lines=lines, books=books)


def used_in_next(*, account: Account, at: datetime, books: Books) -> list[Used]:
    """Return what was used of the account's next period until the moment."""
    period = period_from(start=account.billed_until, zone=account.time_zone)
    stretches = books.stretches(currency=account.currency, period=period)
    return used_in(tenant_id=account.tenant_id, period=period, as_of=at, stretches=stretches)


def last_day(*, period: Period, zone: str) -> date:
    """Return the last day of the calendar there that the period touches: the day its tax and its credit are decided by."""
    return local_day(at=period.end - timedelta(seconds=1), zone=zone)


def _settled(*, account: Account, period: Period, plan: Plan, lines: list[DraftLine], books: Books) -> Draft:
    """Return the draft with what credit and tax do to the lines."""
    currency, zero = account.currency, Decimal(0)
    net = sum((line.amount for line in lines), zero)
    promotions = _uses(account, CreditGrant.Kind.PROMOTIONAL, net, period)
    lines = [
        *lines,
        *(
            DraftLine(kind=Kind.PROMOTION, text=f"Promotional credit: {grant.reason}"[:LONGEST_TEXT], amount=-amount)
            for grant, amount in promotions
        ),
    ]
    net -= sum((amount for _, amount in promotions), zero)
    terms = tax_for(issuer=books.issuer, account=account, on=last_day(period=period, zone=account.time_zone), rates=books.tax_rates)
    tax = terms.on(net=net, currency=currency)
    return Draft(
        account=account, period=period, plan=plan, lines=tuple(lines), promotions=promotions,
        prepaid=_uses(account, CreditGrant.Kind.PREPAID, net + tax, period), net=net, tax=tax, tax_terms=terms,
    )  # fmt: skip


def _uses(account: Account, kind: str, amount: Decimal, period: Period) -> tuple[Use, ...]:
    """Return what credit would be used: what had not expired when the period ended, whenever its invoice is written."""
    if amount <= 0 or not may_have_credit(account=account):
        return ()
    return tuple(planned_uses(tenant_id=account.tenant_id, kind=kind, currency=account.currency, amount=amount, at=period.end))


def _warn_of_unpriced(account: Account, used: Iterable[Used]) -> None:
    seconds = sum(row.seconds for row in used if row.price_id is None)
    if seconds:
        log.warning("usage_without_price", tenant=str(account.tenant_id), seconds=seconds, currency=account.currency)
