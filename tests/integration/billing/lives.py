"""Lives of hosts for property tests: drawn by hypothesis, played on the hosts' rows with the clock moved, and counted by hand.

What is counted by hand (`Ledger`) shares no code with the portal: it looks at hosts after every event, keeps spans of time, finds the
price of every piece of them by looking at all prices, and goes through tiers hour by hour.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import floor
from uuid import UUID, uuid4

from django.db import transaction
from hypothesis import HealthCheck
from hypothesis import settings as effort
from hypothesis import strategies as st

from apps.bays.leaving import note_leaving
from apps.bays.models import Bay, Host, NodeGroup
from apps.billing.models import Account, Interval, Price
from apps.billing.periods import Period, month_of
from apps.hosts.models import Cloud, Flavor
from apps.tenants.models import Tenant
from tests.factories import make_cloud, make_flavor, make_price, make_tenant
from tests.integration.billing.clock import at

STEADY = effort(
    max_examples=80, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
DECIMALS = {"USD": 2, "JPY": 0, "KWD": 3}
Key = tuple[UUID, UUID, UUID, int | None]
"""Bay, cloud, flavor, price."""
Span = tuple[datetime, datetime | None]

MONTHS = st.sampled_from(
    [
        ("UTC", date(2026, 5, 1)), ("UTC", date(2028, 2, 1)), ("UTC", date(2026, 12, 1)), ("Europe/Berlin", date(2026, 3, 1)),
        ("Europe/Berlin", date(2026, 10, 1)), ("America/New_York", date(2026, 11, 1)), ("America/Sao_Paulo", date(2018, 11, 1)),
        ("Asia/Beirut", date(2026, 3, 1)), ("Pacific/Apia", date(2011, 12, 1)), ("Asia/Kathmandu", date(2027, 2, 1)),
        ("Australia/Lord_Howe", date(2026, 4, 1)), ("America/St_Johns", date(2009, 11, 1)), ("Pacific/Kiritimati", date(2026, 1, 1)),
        ("America/Havana", date(2026, 11, 1)), ("Antarctica/Troll", date(2024, 2, 1)),
    ]
)  # fmt: skip
"""Time zones and months in which something is odd: clocks that change, at midnight too, a day that is missing, leap years, a year's end."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """After so long (or before, if negative, as clocks are set back), or at an edge of the month, something happens to hosts of a bay."""

    what: str
    bay: int
    hosts: int
    """A bit for each of its hosts."""
    size: int
    after: timedelta
    edge: str


@dataclass(frozen=True, kw_only=True)
class NewPrice:
    """A price that begins so many hours after the month (before, if negative); flavor and cloud by number, no cloud is all of them."""

    hours: int
    flavor: int
    cloud: int | None
    per_hour: str | None
    tiers: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happens in a test: where and in which month, under which prices, to bays of which flavor, cloud and size."""

    zone: str
    day: date
    currency: str
    prices: tuple[NewPrice, ...]
    bays: tuple[tuple[int, int, int], ...]
    events: tuple[Event, ...]

    @property
    def month(self) -> Period:
        """The month it is about."""
        return month_of(day=self.day, zone=self.zone)


_pauses = st.one_of(
    st.integers(0, 900),
    st.integers(0, 3 * 86400),
    st.integers(0, 9 * 86400),
    st.integers(-2 * 86400, -1),
).map(lambda seconds: timedelta(seconds=seconds))
_events = st.builds(
    Event,
    what=st.sampled_from(["ready", "lost", "ready", "lost", "ready", "resized", "healed", "resized", "drained", "gone", "deleted"]),
    bay=st.integers(0, 1),
    hosts=st.integers(1, 15) | st.just(15),
    size=st.integers(1, 4),
    after=st.builds(timedelta.__add__, _pauses, st.sampled_from([0, 0, 1, 999_999]).map(lambda micro: timedelta(microseconds=micro))),
    edge=st.sampled_from(["", "", "", "", "", "start", "end"]),
)
_tiers = st.dictionaries(st.integers(1, 400), st.sampled_from(["0.008", "0.00333333", "0.5", "0"]), max_size=2).map(
    lambda steps: tuple(sorted(steps.items()))
)
_first = st.builds(
    NewPrice, hours=st.just(-500), flavor=st.just(0), cloud=st.none(), per_hour=st.sampled_from(["0.01", "0.0725"]), tiers=_tiers
)
_more = st.lists(
    st.builds(
        NewPrice,
        hours=st.integers(-200, 900),
        flavor=st.sampled_from([0, 0, 1]),
        cloud=st.sampled_from([None, None, 0]),
        per_hour=st.sampled_from(["0.01", "0.03333333", "1.00000001", "0", None]),
        tiers=_tiers,
    ).filter(lambda price: price.cloud is not None or price.per_hour is not None),
    max_size=6,
)
_prices = st.tuples(_first, _more).map(
    lambda parts: tuple({(each.hours, each.flavor, each.cloud): each for each in (parts[0], *parts[1])}.values())
)
_starts = st.builds(
    Event,
    what=st.just("ready"),
    bay=st.just(0),
    hosts=st.just(15),
    size=st.just(1),
    after=st.timedeltas(timedelta(0), 3 * DAY),
    edge=st.just(""),
)
STORIES = st.builds(
    lambda place, starts, events, **more: Story(zone=place[0], day=place[1], events=(*starts, *events), **more),
    MONTHS,
    st.tuples(_starts, _starts.map(lambda event: replace(event, bay=1))),
    st.lists(_events, min_size=3, max_size=16),
    currency=st.sampled_from(["USD", "USD", "JPY", "KWD"]),
    prices=_prices,
    bays=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(1, 4)), min_size=1, max_size=2).map(tuple),
)


@dataclass(kw_only=True)
class Ledger:
    """What is billed, counted by hand."""

    prices: Sequence[Price]
    spans: dict[UUID, list[Span]] = field(default_factory=lambda: defaultdict(list))
    kinds: dict[UUID, tuple[UUID, UUID, UUID]] = field(default_factory=dict)

    def look(self, *, clock: datetime, hosts: Sequence[Host]) -> None:
        """Note which hosts are billed after something happened at this time of the clock."""
        second = clock.replace(microsecond=0)
        for host in hosts:
            spans = self.spans[host.id]
            runs, counts = bool(spans) and spans[-1][1] is None, host.state == "ready" and host.delete_requested_at is None
            if counts and not runs:
                last = spans[-1][1] if spans else None
                spans.append((max(second, last) if last else second, None))
                self.kinds[host.id] = (host.bay_id, host.cloud_id, host.group.flavor_id)
            elif runs and not counts:
                start, _ = spans.pop()
                if start < second:
                    spans.append((start, second))

    def seconds(self, *, period: Period, as_of: datetime) -> dict[Key, int]:
        """Return the host-seconds of the period that are over at `as_of`."""
        sums: dict[Key, int] = defaultdict(int)
        until = min(period.end, as_of.replace(microsecond=0))
        for host, spans in self.spans.items():
            bay, cloud, flavor = self.kinds.get(host, (host, host, host))
            for start, end in spans:
                first, last = max(start, period.start), min(end or until, until)
                edges = sorted({first, last, *(price.starts_at for price in self.prices if first < price.starts_at < last)})
                for before, after in pairwise(edges) if first < last else []:
                    price = self.price(flavor=flavor, cloud=cloud, moment=before)
                    sums[bay, cloud, flavor, price.id if price else None] += (after - before) // SECOND
        return dict(sums)

    def price(self, *, flavor: UUID, cloud: UUID, moment: datetime) -> Price | None:
        """Return the price that holds: the cloud's own or else the general one, the newest of those that have begun."""
        for place in (cloud, None):
            begun = [row for row in self.prices if (row.flavor_id, row.cloud_id) == (flavor, place) and row.starts_at <= moment]
            if begun and (newest := max(begun, key=lambda row: row.starts_at)).per_hour is not None:
                return newest
        return None

    def cost(self, *, period: Period, as_of: datetime) -> Fraction:
        """Return what the period costs, exactly."""
        sums: dict[int, int] = defaultdict(int)
        for (_, _, _, price_id), seconds in self.seconds(period=period, as_of=as_of).items():
            if price_id is not None:
                sums[price_id] += seconds
        prices = {price.id: price for price in self.prices}
        return sum((_cost_of_hours(prices[price_id], seconds) for price_id, seconds in sums.items()), Fraction(0))

    def amount(self, *, period: Period, as_of: datetime, currency: str) -> Decimal:
        """Return it to the smallest unit; nothing here is ever negative."""
        scale: int = 10 ** DECIMALS[currency]
        return Decimal(floor(self.cost(period=period, as_of=as_of) * scale + Fraction(1, 2))) / scale

    def intervals(self) -> dict[UUID, list[Span]]:
        """Return what the database must have noted for each host."""
        return {host: spans for host, spans in self.spans.items() if spans}


def _cost_of_hours(price: Price, seconds: int) -> Fraction:
    whole, rest = divmod(seconds, 3600)
    rates = [price.per_hour, *(Decimal(tier["per_hour"]) for tier in price.tiers)]
    from_hours = [0, *(tier["from_hours"] for tier in price.tiers)]
    cost = Fraction(0)
    for hour in range(whole + 1):
        rate = [rate for rate, begins in zip(rates, from_hours, strict=True) if begins <= hour][-1]
        cost += Fraction(rate or 0) * (Fraction(rest, 3600) if hour == whole else 1)
    return cost


class World:
    """A tenant in the database to which a story happens. `ledger` counts by hand, `clock` is where the clock stands."""

    def __init__(self) -> None:
        self.clouds = [make_cloud(), make_cloud("other")]
        self.flavors = [make_flavor(price="0.01"), make_flavor("c1.large", vcpus=2, price="0.03")]
        self.tenant: Tenant = make_tenant()
        self.bays: list[Bay] = []
        self.story: Story
        self.ledger: Ledger
        self.clock: datetime

    @contextmanager
    def told(self, story: Story) -> Iterator["World"]:
        """Begin a story: prices, account and bays that have no host yet; at the end all of it is taken back."""
        with transaction.atomic():
            self.story, month = story, story.month
            self.clock = month.start - 3 * DAY
            self.bays = []
            with at(month.start - 400 * DAY):  # before any price begins
                for price in story.prices:
                    self._price(price, month)
            self.ledger = Ledger(prices=list(Price.objects.filter(currency=story.currency)))
            Account.objects.create(
                tenant=self.tenant, currency=story.currency, time_zone=story.zone, created_at=self.clock, billed_until=month.start - 4 * DAY
            )
            for number, (flavor, cloud, size) in enumerate(story.bays):
                self.bays.append(self._bay(f"bay-{number}", self.flavors[flavor], self.clouds[cloud], size))
            yield self
            transaction.set_rollback(True)

    def play(self, events: Sequence[Event]) -> None:
        """Let events happen, one after the other."""
        for event in events:
            if event.bay >= len(self.bays):
                continue
            self.clock += event.after
            if event.edge:
                self.clock = self.story.month.start if event.edge == "start" else self.story.month.end
            with at(self.clock):
                self._happen(event, self.bays[event.bay])
            self.ledger.look(clock=self.clock, hosts=list(Host.objects.select_related("group").order_by("bay", "index", "id")))

    @property
    def account(self) -> Account:
        """The account, as it is now."""
        return Account.objects.get(tenant=self.tenant)

    def intervals(self) -> dict[UUID, list[Span]]:
        """What the database has noted for each host."""
        found: dict[UUID, list[Span]] = defaultdict(list)
        for host, start, end in Interval.objects.order_by("started_at").values_list("host__host", "started_at", "ended_at"):
            found[host].append((start, end))
        return dict(found)

    def split(self, cuts: Sequence[tuple[int, float]]) -> int:
        """Cut intervals into two where they are long enough: which, and after which share of it. Return how many were cut."""
        rows = list(Interval.objects.order_by("id"))
        done = 0
        for number, share in cuts:
            row = rows[number % len(rows)]
            end = row.ended_at or self.clock + 40 * DAY
            middle = row.started_at + timedelta(seconds=int((end - row.started_at).total_seconds() * share))
            if row.started_at < middle < end:
                Interval.objects.filter(id=row.id).update(ended_at=middle, ended_by="cut")
                rows.append(
                    Interval.objects.create(
                        tenant_id=row.tenant_id, host_id=row.host_id, started_at=middle, ended_at=row.ended_at, ended_by=row.ended_by
                    )
                )
                row.ended_at = middle
                done += 1
        return done

    def _price(self, price: NewPrice, month: Period) -> None:
        make_price(
            self.flavors[price.flavor], price.per_hour, starts_at=month.start + timedelta(hours=price.hours), currency=self.story.currency,
            cloud=None if price.cloud is None else self.clouds[price.cloud],
            tiers=[{"from_hours": hours, "per_hour": per_hour} for hours, per_hour in price.tiers],
        )  # fmt: skip

    def _bay(self, name: str, flavor: Flavor, cloud: Cloud, size: int) -> Bay:
        bay = Bay.objects.create(
            tenant=self.tenant, name=name, coe="swarm", coe_version="1", cloud=cloud, aggregate="default", created_by="tests",
            created_at=self.clock, updated_at=self.clock,
        )  # fmt: skip
        NodeGroup.objects.create(tenant=self.tenant, bay=bay, role="manager", flavor=flavor, count=size)
        self._wanted(bay)
        return bay

    def _wanted(self, bay: Bay) -> None:
        """Make rows of the hosts that are wanted and not there, as planning does."""
        group = bay.groups.get()
        taken = set(bay.hosts.exclude(state=Host.State.REMOVED).values_list("index", flat=True))
        staying = bay.hosts.exclude(state__in=[Host.State.DRAINING, Host.State.REMOVED]).count()
        free = [index for index in range(1, 20) if index not in taken]
        Host.objects.bulk_create(
            Host(
                id=uuid4(), tenant=self.tenant, bay=bay, cloud=bay.cloud, group=group, index=index, ref=f"{bay.name}-{index}",
                hostname=f"{bay.name}-{index}", created_at=self.clock,
            )
            for index in free[: max(0, group.count - staying)]
        )  # fmt: skip

    def _happen(self, event: Event, bay: Bay) -> None:
        live = list(bay.hosts.exclude(state=Host.State.REMOVED).order_by("index", "id"))
        chosen = bay.hosts.filter(id__in=[host.id for number, host in enumerate(live) if event.hosts >> number & 1])
        state = Host.State
        match event.what:
            case "ready":
                chosen.filter(state__in=[state.PLANNED, state.STARTED, state.LOST]).update(state=state.READY, ready_at=self.clock)
            case "lost":
                chosen.filter(state=state.READY).update(state=state.LOST)
            case "healed":
                chosen.filter(state=state.LOST).update(state=state.PLANNED)
            case "resized" if bay.delete_requested_at is None:
                bay.groups.update(count=event.size)
                note_leaving(bay=bay, at=self.clock)
                self._wanted(bay)
            case "drained":
                chosen.exclude(delete_requested_at=None).update(state=state.DRAINING)
            case "gone":
                chosen.filter(state__in=[state.DRAINING, state.LOST]).update(state=state.REMOVED, removed_at=self.clock)
            case "deleted":
                bay.delete_requested_at = self.clock
                bay.save(update_fields=["delete_requested_at"])
                note_leaving(bay=bay, at=self.clock)


def event(what: str, *, hours: float = 0, size: int = 1) -> Event:
    """Return an event so many hours after the one before, to all hosts of the first bay."""
    return Event(what=what, bay=0, hosts=15, size=size, after=timedelta(hours=hours), edge="")


SET_BACK = Story(
    zone="Europe/Berlin",
    day=date(2026, 3, 1),
    currency="USD",
    prices=(),
    bays=((0, 0, 2),),
    events=(
        event("ready", hours=80),
        event("lost", hours=10),
        event("ready", hours=-2),  # before it was lost: billed from then on, and not twice
        event("lost", hours=1),  # and lost again before that: not billed at all
        event("ready", hours=30),
        event("lost", hours=-40),
        event("ready", hours=50),
        event("deleted", hours=7),
    ),
)
"""Clocks that are set back at the worst moments."""
