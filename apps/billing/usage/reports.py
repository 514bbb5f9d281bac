"""A month of a tenant as its usage page shows it: figures, chart and breakdown, all from one reading of the month's usage."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from apps.billing.models import Account
from apps.billing.periods import days_of, local_day
from apps.billing.prices.book import PriceBook, price_book
from apps.billing.usage.breakdowns import Breakdown, RatedMonth, bay_words, bays, breakdown, costs_of_seconds, tag_keys
from apps.billing.usage.charts import Chart, chart_of
from apps.billing.usage.date_ranges import DateRange, month_range
from apps.billing.usage.measured import merged
from apps.billing.usage.rating import Bill
from apps.billing.usage.spend import bill_of, month_to_bill, spend_from, spend_of, terms_of, usage_by_day
from apps.tenants.models import Tenant


@dataclass(frozen=True, kw_only=True)
class Report:
    """A month until now. `forecast` is None once it is over, `before` (what the month before it cost) where there was none.

    `tag` is the key by which the breakdown goes, one of `tag_keys`, where it goes by tags.
    """

    month: DateRange
    bill: Bill
    forecast: Decimal | None
    before: Decimal | None
    chart: Chart
    breakdown: Breakdown
    tag_keys: list[str]
    tag: str

    @property
    def currency(self) -> str:
        """The currency of all amounts."""
        return self.bill.currency

    @property
    def running(self) -> bool:
        """Whether it is the present month."""
        return self.forecast is not None


def report_of(*, account: Account, month: DateRange, group: str, at: datetime) -> Report:
    """Return a month, taken apart by one of `breakdowns.GROUPS`, or by `tag`, which stands for the first tag there is, or `tag:…`."""
    book = price_book(currency=account.currency)
    running = month.period.start <= at < month.period.end
    period = month_to_bill(account=account, at=at) if running else month.period
    rows = usage_by_day(account=account, period=period, as_of=at, book=book)
    used = merged(used=[used for _, used in rows])
    forecast = None
    if running:
        spend = spend_from(account=account, period=period, used=used, at=at, book=book)
        bill, forecast = spend.bill, spend.forecast
    else:
        bill = bill_of(used=used, book=book, terms=terms_of(account=account, period=period), whole_month=at >= period.end)
    rated = RatedMonth(rows=rows, per_second=costs_of_seconds(used=used, book=book))
    mine = bays(account=account, ids={each.bay_id for each in used})
    names = {bay_id: bay_words(bay=bay) for bay_id, bay in mine.items()}
    keys = tag_keys(bays=mine.values())
    kind, _, tag = group.partition(":")
    if kind == "tag":
        tag = tag or (keys[0] if keys else "")
        group = f"tag:{tag}"
    return Report(
        month=month,
        bill=bill,
        forecast=forecast,
        before=_before(account, month, at, book),
        chart=chart_of(
            month=rated, days=[day for day, _ in days_of(period=month.period, zone=month.zone)], names=names, currency=account.currency
        ),
        breakdown=breakdown(account=account, months=[rated], group=group, mine=mine),
        tag_keys=keys,
        tag=tag,
    )


def months_to_choose(*, tenant: Tenant, account: Account, at: datetime) -> list[date]:
    """Return the first days of the months the tenant has existed in, newest first."""
    day = local_day(at=at, zone=account.time_zone).replace(day=1)
    oldest = local_day(at=min(tenant.created_at, at), zone=account.time_zone).replace(day=1)
    found = [day]
    while day > oldest:
        day = month_before(day=day)
        found.append(day)
    return found


def month_before(*, day: date) -> date:
    """Return the first day of the month before that of `day`."""
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)


def _before(account: Account, month: DateRange, at: datetime, book: PriceBook) -> Decimal | None:
    before = month_range(day=month_before(day=month.first), zone=month.zone)
    if before.period.end <= account.tenant.created_at:
        return None
    return spend_of(account=account, period=before.period, as_of=at, book=book).net
