"""Prices and quotes for bays, out of the price book: what implements the port `apps.bays.pricing` (`settings.PRICE_LIST`).

A quote is a hypothetical invoice. Hosts become rows of use over the tenant's calendar month and go through the same `rating` as the
invoice does, beside everything else the tenant has running, so that tiers, discount, allowance and commitment are counted once.
Nothing here writes: whoever has no account or no plan yet is quoted by the portal's defaults.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _

from apps.bays.models import NodeGroup
from apps.bays.pricing import HOUR, Cost, Figure, Hosts, Month, Quote, cost_of
from apps.billing.estimates.remaining import remaining_of
from apps.billing.models import Account, Plan, Subscription
from apps.billing.periods import Period, local_day, month_at
from apps.billing.prices.book import Rate, Stretch, price_book
from apps.billing.usage.measured import Used
from apps.billing.usage.rating import Bill, Terms, bill, charges
from apps.common.errors import Conflict
from apps.common.money import rounded, smallest
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import Tenant

ANY = UUID(int=0)
"""Stands for the bay of hypothetical hosts, and for a cloud that is not known yet: rating only tells rows apart by them."""


@dataclass(frozen=True, kw_only=True)
class _Running:
    """What the tenant has besides the bay that is asked about, and that bay's own hosts."""

    rest: list[Hosts]
    own: list[Hosts]


class BookPrices:
    """Prices of the book in the tenant's currency at a moment, or in the portal's for anybody. Reads account and prices when it is made."""

    def __init__(self, *, tenant: Tenant | None, at: datetime) -> None:
        self._tenant, self._at = tenant, at.replace(microsecond=0)
        self._account = Account.objects.select_related("tenant").filter(tenant=tenant).first() if tenant is not None else None
        self._currency = self._account.currency if self._account else settings.CURRENCY
        self._zone = self._account.time_zone if self._account else settings.BILLING_TIME_ZONE
        self._book = price_book(currency=self._currency)
        self._period = month_at(at=at, zone=self._zone)

    @property
    def currency(self) -> str:
        """The account's currency, the portal's where there is none."""
        return self._currency

    @cached_property
    def month(self) -> Month:
        """The calendar month of the account's time zone."""
        first = local_day(at=self._at, zone=self._zone).replace(day=1)
        return Month(first=first, seconds=self._period.seconds)

    def per_hour(self, *, flavor: Flavor, cloud: Cloud | None) -> Decimal | None:
        """Return the price in the book, that of the first tier; None without one."""
        rate = self._book.rate_at(flavor_id=flavor.id, cloud_id=cloud.id if cloud is not None else None, at=self._at)
        return rate.per_hour if rate is not None else None

    def why_none(self, *, flavor: Flavor, cloud: Cloud | None) -> str:
        """Return the sentence of why the flavor cannot be had there; empty if it can."""
        if self.per_hour(flavor=flavor, cloud=cloud) is not None:
            return ""
        where = f" on {cloud.title}" if cloud is not None else ""
        return f"The flavor {flavor.name} has no price in {self.currency}{where}, so it cannot be had there; ask the operator for one."

    def per_month(self, *, per_hour: Decimal) -> Decimal:
        """Return the hourly price times the hours of the month, rounded as invoices are."""
        return rounded(amount=Fraction(per_hour) * self._period.seconds / HOUR, currency=self.currency)

    def quote(self, *, hosts: Sequence[Hosts], instead_of: UUID | None = None) -> Quote:
        """Return by how much the invoice of a whole month with these hosts would be higher than one without them.

        Everything the tenant has is counted as if it ran from the first second of the month to the last: until now at the price that
        holds now, from now on at the prices the book has for then.
        """
        running = self._running(instead_of)
        rest, before, after = (self._bill([*running.rest, *some]) for some in ((), running.own, hosts))
        return Quote(
            before=self._cost(running.own, before, rest),
            after=self._cost(hosts, after, rest),
            figures=self._figures(hosts, after, rest),
        )

    def remaining(self) -> Sequence[Figure]:
        """Return what is left of budgets and credit after what this month's use has cost so far."""
        if self._account is None:
            return ()
        try:
            rows = remaining_of(account=self._account, at=self._at).rows
        except Conflict:  # the plan's amounts are in another currency: nothing can be rated until an operator has mended that
            return ()
        return [Figure(label=row.label, amount=row.left, sentence=row.sentence) for row in rows]

    def _running(self, own: UUID | None) -> _Running:
        if self._tenant is None:
            return _Running(rest=[], own=[])
        groups = NodeGroup.objects.filter(
            tenant=self._tenant, count__gt=0, bay__deleted_at=None, bay__delete_requested_at=None
        ).select_related("flavor", "bay__cloud")
        rows = [(group.bay_id == own, Hosts(flavor=group.flavor, cloud=group.bay.cloud, count=group.count)) for group in groups]
        return _Running(rest=[hosts for mine, hosts in rows if not mine], own=[hosts for mine, hosts in rows if mine])

    def _bill(self, hosts: Sequence[Hosts]) -> Bill:
        used = [each for some in hosts for each in self._used(some)]
        return bill(found=charges(used=used, rates=self._book.rates), terms=self._terms, currency=self.currency)

    def _used(self, hosts: Hosts) -> list[Used]:
        cloud_id = hosts.cloud.id if hosts.cloud is not None else ANY
        stretches = self._stretches.get((hosts.flavor.id, cloud_id)) or self._stretches.get((hosts.flavor.id, None), [])
        return [
            Used(
                bay_id=ANY,
                cloud_id=cloud_id,
                flavor_id=hosts.flavor.id,
                price_id=_price_id(each.rate),
                seconds=hosts.count * each.period.seconds,
            )
            for each in stretches
        ]

    @cached_property
    def _stretches(self) -> dict[tuple[UUID, UUID | None], list[Stretch]]:
        """Which price holds when, until the month's end; what holds now is taken to have held since the month began."""
        found = defaultdict(list)
        for each in self._book.stretches(period=Period(start=self._at, end=self._period.end)):
            start = self._period.start if each.period.start == self._at else each.period.start
            found[each.flavor_id, each.cloud_id].append(replace(each, period=Period(start=start, end=each.period.end)))
        return found

    @cached_property
    def _terms(self) -> Terms:
        """The terms in force when the month began; like `terms.accounts.plan_at`, without making a default plan where there is none."""
        begun = (
            Subscription.objects.filter(tenant=self._tenant, starts_at__lte=self._period.start)
            .select_related("plan")
            .order_by("-starts_at")
            .first()
        )
        plan = begun.plan if begun is not None else Plan.objects.filter(is_default=True).first()
        if plan is None:
            return Terms()
        if plan.currency and plan.currency != self.currency:  # its amounts mean nothing here, and no invoice is written by them
            return Terms(title=plan.title, kind=plan.kind, discount_percent=plan.discount_percent)
        return Terms.of(plan=plan)

    def _cost(self, hosts: Sequence[Hosts], with_them: Bill, without: Bill) -> Cost:
        """Return the list's cost of the hosts, with what the bills differ by in place of its sum for the month."""
        listed = cost_of(prices=self, hosts=hosts)
        return replace(listed, per_month=with_them.net - without.net) if listed.per_month is not None else listed

    def _figures(self, hosts: Sequence[Hosts], after: Bill, rest: Bill) -> list[Figure]:
        """Return what lies between the hourly price times the hours of the month and what the invoice would be higher by."""
        listed = cost_of(prices=self, hosts=hosts)
        if listed.per_month is None:
            return []
        other = after.usage - rest.usage - listed.per_month
        if abs(other) <= smallest(currency=self.currency):  # sums are rounded apart
            other = Decimal(0)
        amounts = {_("Tiers, and prices that change this month"): other}
        for sign, one in ((1, after), (-1, rest)):
            for each in one.adjustments:
                amounts[each.text] = amounts.get(each.text, Decimal(0)) + sign * each.amount
        return [Figure(label=label, amount=amount) for label, amount in amounts.items() if amount]


def _price_id(rate: Rate | None) -> int | None:
    return rate.id if rate is not None else None
