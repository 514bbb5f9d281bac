"""What is the same for all tenants: prices, terms, taxes, names. Read once for a run that writes many invoices, each when first needed.

Nothing in it that matters to a period that is over can change any more: a price that has begun stays, and so does a plan somebody has.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from apps.bays.models import Bay
from apps.billing.models import Account, Issuer, Plan, Subscription, TaxRate
from apps.billing.periods import Period
from apps.billing.prices.book import PriceBook, Stretch, price_book
from apps.billing.terms.accounts import default_issuer, default_plan
from apps.hosts.models import Cloud, Flavor

# Written out, since asking for it once for each tenant is a good part of a run's time.
NEXT_PLAN = """
SELECT s.plan_id FROM billing_subscription s WHERE s.tenant_id = billing_account.tenant_id AND s.starts_at <= billing_account.billed_until
    ORDER BY s.starts_at DESC LIMIT 1
"""
ANY_CREDIT = "EXISTS (SELECT FROM billing_creditgrant g WHERE g.tenant_id = billing_account.tenant_id)"


class Books:
    """Keeps what it has read; make a new one for every run."""

    def __init__(self) -> None:
        self._prices: dict[str, PriceBook] = {}
        self._stretches: dict[tuple[str, Period], list[Stretch]] = {}
        self._clouds: dict[UUID, str] = {}
        self._flavors: dict[UUID, str] = {}
        self._plans: dict[UUID, Plan] = {}
        self._bays: dict[UUID, str] = {}

    def prepare(self) -> None:
        """Read what is made where there is none yet. Outside of any tenant's transaction: what that takes back must not be kept here."""
        self.issuer, self.default_plan  # noqa: B018 - each is kept by being looked at

    @cached_property
    def issuer(self) -> Issuer:
        """Who writes the invoices."""
        return default_issuer()

    @cached_property
    def default_plan(self) -> Plan:
        """The terms of everybody who has no others."""
        return default_plan()

    @cached_property
    def tax_rates(self) -> list[TaxRate]:
        """All of them."""
        return list(TaxRate.objects.all())

    def prices(self, *, currency: str) -> PriceBook:
        """Return the price book of a currency."""
        if currency not in self._prices:
            self._prices[currency] = price_book(currency=currency)
        return self._prices[currency]

    def stretches(self, *, currency: str, period: Period) -> list[Stretch]:
        """Return which price holds when during the period."""
        key = (currency, period)
        if key not in self._stretches:
            self._stretches[key] = self.prices(currency=currency).stretches(period=period)
        return self._stretches[key]

    def plan_of(self, *, account: Account) -> Plan:
        """Return the account's terms for its next period: those in force when that begins."""
        plan_id: UUID | None = getattr(account, "next_plan", None)
        if not hasattr(account, "next_plan"):
            begun = Subscription.objects.filter(tenant_id=account.tenant_id, starts_at__lte=account.billed_until)
            plan_id = begun.order_by("-starts_at").values_list("plan_id", flat=True).first()
        if plan_id is None:
            return self.default_plan
        if plan_id not in self._plans:
            self._plans[plan_id] = Plan.objects.get(id=plan_id)
        return self._plans[plan_id]

    def read_bays(self, *, ids: Iterable[UUID]) -> None:
        """Read the names of these bays, for all of a few tenants at once; those that were read before are forgotten."""
        self._bays = dict(Bay.objects.filter(id__in=set(ids)).values_list("id", "name"))

    def names(self, *, bays: Iterable[UUID], clouds: Iterable[UUID], flavors: Iterable[UUID]) -> dict[UUID, str]:
        """Return what these are called."""
        wanted = set(bays)
        if not wanted <= self._bays.keys():
            self.read_bays(ids=wanted)
        return {
            **{bay_id: self._bays[bay_id] for bay_id in wanted if bay_id in self._bays},
            **_known(self._clouds, clouds, lambda: dict(Cloud.objects.values_list("id", "name"))),
            **_known(self._flavors, flavors, lambda: dict(Flavor.objects.values_list("id", "name"))),
        }


def _known(kept: dict[UUID, str], wanted: Iterable[UUID], read: Callable[[], dict[UUID, str]]) -> dict[UUID, str]:
    ids = set(wanted)
    if not ids <= kept.keys():
        kept.update(read())
    return {each: kept[each] for each in ids}


def with_facts(*, accounts: QuerySet[Account]) -> QuerySet[Account]:
    """Return the same accounts with what a draft asks first read along: the next period's plan, and whether there is any credit."""
    return accounts.annotate(next_plan=RawSQL(NEXT_PLAN, []), any_credit=RawSQL(ANY_CREDIT, []))  # noqa: S611 - constants


def may_have_credit(*, account: Account) -> bool:
    """Tell whether it is worth looking for credit of the account's tenant."""
    return bool(getattr(account, "any_credit", True))
