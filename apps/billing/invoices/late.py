"""Late usage: what was used in periods that were invoiced already and is not what their invoices said. The next invoice says so.

The database notes in `account.late_from` that intervals before `billed_until` have changed. Each period since is summed again and rated as
it should have been, at its own prices and terms; what was billed for it, by whichever invoices, is taken off. Both totals are rounded by
the same rule, so that all invoices about a period together sum to the rounded cost of all of its usage.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Sum

from apps.billing.invoices.books import Books
from apps.billing.invoices.lines import LONGEST_TEXT, DraftLine, Kind, by_name, line_of, names_of, text_of
from apps.billing.models import Account, BilledPeriod, InvoiceLine
from apps.billing.periods import Period
from apps.billing.prices.book import Rate
from apps.billing.usage.measured import Used, used_in
from apps.billing.usage.period_terms import terms_in
from apps.billing.usage.rating import Bill, Charge, bill, charges
from apps.common.errors import Conflict
from apps.common.money import apportioned

Key = tuple[UUID, UUID, UUID, int]
"""Bay, cloud, flavor, price."""


def late_lines(*, account: Account, books: Books) -> list[DraftLine]:
    """Return the lines about late usage that the account's next invoice has, by period; none where nothing has changed.

    Raises Conflict for a change in a period that was billed in another currency than the account's.
    """
    if account.late_from is None:
        return []
    periods = list(
        BilledPeriod.objects.filter(tenant_id=account.tenant_id, end__gt=account.late_from).select_related("plan").order_by("start")
    )
    billed = _billed(account, periods)
    return [line for each in periods for line in _lines_of(each, billed=billed.get(each.start, []), account=account, books=books)]


def _billed(account: Account, periods: Iterable[BilledPeriod]) -> dict[datetime, list[Used]]:
    """Return the host-seconds that invoices have billed so far, by the start of the period they were used in."""
    rows = (
        InvoiceLine.objects.filter(tenant_id=account.tenant_id, kind__in=[Kind.USAGE, Kind.LATE])
        .filter(used_from__in=[each.start for each in periods], seconds__isnull=False)
        .values_list("used_from", "bay_id", "cloud_id", "flavor_id", "price_id")
        .annotate(total=Sum("seconds"))
        .order_by()
    )
    found: dict[datetime, list[Used]] = defaultdict(list)
    for used_from, bay_id, cloud_id, flavor_id, price_id, seconds in rows:
        found[used_from].append(Used(bay_id=bay_id, cloud_id=cloud_id, flavor_id=flavor_id, price_id=price_id, seconds=int(seconds)))
    return found


def _lines_of(row: BilledPeriod, *, billed: Sequence[Used], account: Account, books: Books) -> list[DraftLine]:
    """Return the lines about one period."""
    period = Period(start=row.start, end=row.end)
    stretches = books.stretches(currency=row.currency, period=period)
    used = used_in(tenant_id=row.tenant_id, period=period, as_of=row.end, stretches=stretches)
    changes = _changes(before=billed, after=used)
    if not changes:
        return []
    month = f"{row.start.astimezone(ZoneInfo(row.time_zone)):%B %Y}"
    if row.currency != account.currency:
        raise Conflict(
            f"Usage of {month} has changed after it was billed in {row.currency}, but the account is in {account.currency} now: "
            f"set it back to {row.currency} until its next invoice."
        )
    rates = books.prices(currency=row.currency).rates
    terms = terms_in(plan=row.plan, period=period, zone=row.time_zone, currency=row.currency)
    before = bill(found=charges(used=billed, rates=rates), terms=terms, currency=row.currency)
    after = bill(found=charges(used=used, rates=rates), terms=terms, currency=row.currency)
    parts = _parts(changes, before=_by_price(billed), after=_by_price(used), rates=rates)
    amounts = _summing_to(parts=parts, total=after.usage - before.usage, currency=row.currency)
    lines = _usage_lines(changes, amounts, rates=rates, month=month, used_from=row.start, books=books)
    lines += _terms_lines(before=before, after=after, month=month, used_from=row.start)
    return lines if any(line.amount for line in lines) else []


def _changes(*, before: Iterable[Used], after: Iterable[Used]) -> list[Used]:
    """Return what was used more (or, negative, less) than was billed. Usage without a price was and is not billed."""
    seconds: dict[Key, int] = defaultdict(int)
    for sign, rows in ((-1, before), (1, after)):
        for row in rows:
            if row.price_id is not None:
                seconds[row.bay_id, row.cloud_id, row.flavor_id, row.price_id] += sign * row.seconds
    return [
        Used(bay_id=bay_id, cloud_id=cloud_id, flavor_id=flavor_id, price_id=price_id, seconds=change)
        for (bay_id, cloud_id, flavor_id, price_id), change in sorted(seconds.items())
        if change
    ]


def _by_price(used: Iterable[Used]) -> dict[int, int]:
    sums: dict[int, int] = defaultdict(int)
    for row in used:
        if row.price_id is not None:
            sums[row.price_id] += row.seconds
    return sums


def _parts(changes: Iterable[Used], *, before: Mapping[int, int], after: Mapping[int, int], rates: Mapping[int, Rate]) -> list[Fraction]:
    """Return what each change costs, exactly: what a price's change costs altogether, with its tiers, in proportion to the seconds.

    Where a price's seconds only moved between bays, they are worth the average of what they cost.
    """
    parts = []
    for change in changes:
        price_id = change.price_id or 0
        old, new = before.get(price_id, 0), after.get(price_id, 0)
        rate = rates[price_id]
        if new != old:
            parts.append((rate.cost(seconds=new) - rate.cost(seconds=old)) * change.seconds / (new - old))
        else:
            parts.append(rate.cost(seconds=new) * change.seconds / new)
    return parts


def _summing_to(*, parts: Sequence[Fraction], total: Decimal, currency: str) -> list[Decimal]:
    """Return the parts as amounts that sum to `total`, which is less than a smallest unit away from the sum of the exact ones."""
    largest = max(range(len(parts)), key=lambda place: abs(parts[place]))
    missing = Fraction(total) - sum(parts, Fraction(0))
    return apportioned(parts=[part + missing * (place == largest) for place, part in enumerate(parts)], currency=currency)


def _usage_lines(
    changes: Sequence[Used], amounts: Sequence[Decimal], *, rates: Mapping[int, Rate], month: str, used_from: datetime, books: Books
) -> list[DraftLine]:
    names = names_of(used=changes, books=books)
    rows = sorted(zip(changes, amounts, strict=True), key=lambda row: by_name(row[0], names))
    lines = []
    for change, amount in rows:
        charge = Charge(used=change, rate=rates[change.price_id or 0], exact=Fraction(amount))
        text = f"Late usage of {month}: {text_of(charge=charge, names=names)}"
        lines.append(line_of(kind=Kind.LATE, text=text, used=change, charge=charge, amount=amount, used_from=used_from))
    return lines


def _terms_lines(*, before: Bill, after: Bill, month: str, used_from: datetime) -> list[DraftLine]:
    """Return what the change makes of each thing the period's terms added or took off."""
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    texts: dict[str, str] = {}
    for sign, found in ((-1, before), (1, after)):
        for each in found.adjustments:
            amounts[each.kind] += sign * each.amount
            texts[each.kind] = each.text
    return [
        DraftLine(kind=Kind.LATE, text=f"Late usage of {month}: {texts[kind]}"[:LONGEST_TEXT], amount=amount, used_from=used_from)
        for kind, amount in sorted(amounts.items())
        if amount
    ]
