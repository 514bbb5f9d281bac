"""The price book is changed by operators, from now on or later, never for the past; what it would mean is shown before it is saved."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.services import Actor
from apps.billing.estimates.preview import Effect, preview_price
from apps.billing.models import Account, Price
from apps.billing.periods import Period
from apps.billing.prices.book import Tier, price_book
from apps.billing.prices.changes import set_price, withdraw_price
from apps.billing.prices.listing import price_list
from apps.billing.terms.accounts import account_of
from apps.billing.usage.measured import used_by
from apps.billing.usage.rating import Terms, bill, charges
from apps.common.errors import Conflict, Forbidden, InvalidInput, NotFound
from apps.hosts.models import Cloud, Flavor
from tests.factories import make_bay, make_cloud, make_flavor, make_price, make_tenant, make_user
from tests.integration.billing.clock import at

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def cloud() -> Cloud:
    return make_cloud()


@pytest.fixture
def flavor(cloud: Cloud) -> Flavor:
    return make_flavor(price="0.010")


@pytest.fixture
def boss() -> Actor:
    user = make_user("boss@example.com")
    User.objects.filter(id=user.id).update(is_staff=True)
    return user.actor


def sentences() -> set[str]:
    return set(AuditEvent.objects.filter(action__startswith="price.").values_list("sentence", flat=True))


def test_a_price_begins_at_the_next_whole_second(boss: Actor, flavor: Flavor) -> None:
    with at(NOON + timedelta(milliseconds=400)):
        price = set_price(by=boss, flavor=flavor, per_hour=Decimal("0.02"), currency="USD")
    assert (price.starts_at, price.created_by) == (NOON + timedelta(seconds=1), "boss@example.com")
    line = AuditEvent.objects.get(action="price.set")
    assert line.sentence == ("set the price of c1.small in USD from 2026-03-01 12:00:01 UTC on to $0.02 an hour, until then $0.01 an hour")
    assert (line.data["from"]["per_hour"], line.data["to"]["per_hour"]) == ("0.01", "0.02")


def test_what_was_used_before_stays_as_cheap_as_it_was(boss: Actor, flavor: Flavor) -> None:
    tenant = make_tenant()
    with at(NOON):
        make_bay(tenant)
    with at(NOON + HOUR):
        set_price(by=boss, flavor=flavor, per_hour=Decimal("0.03"), currency="USD")
    book = price_book(currency="USD")
    used = used_by(tenant_id=tenant.id, period=Period(start=NOON, end=NOON + 2 * HOUR), as_of=NOON + 2 * HOUR, book=book)
    assert sum(each.exact for each in charges(used=used, rates=book.rates)) == Decimal("0.04")


def test_a_price_never_begins_in_the_past_not_even_by_hand(boss: Actor, flavor: Flavor) -> None:
    with at(NOON):
        make_bay(make_tenant())
    with at(NOON + HOUR):
        with pytest.raises(InvalidInput, match="past"):
            set_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", starts_at=NOON)
        with pytest.raises(IntegrityError, match="past"), transaction.atomic():
            make_price(flavor, "1", starts_at=NOON)
        set_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", starts_at=NOON + HOUR)
        with pytest.raises(IntegrityError, match="has begun"), transaction.atomic():
            Price.objects.filter(per_hour=1).update(per_hour=2)
        with pytest.raises(IntegrityError, match="has begun"), transaction.atomic():
            Price.objects.all().delete()


def test_a_price_that_has_not_begun_is_replaced_by_one_with_the_same_beginning(boss: Actor, flavor: Flavor) -> None:
    with at(NOON):
        first = set_price(by=boss, flavor=flavor, per_hour=Decimal("0.02"), currency="USD", starts_at=NOON + HOUR)
        second = set_price(
            by=boss, flavor=flavor, per_hour=Decimal("0.05"), currency="USD", starts_at=NOON + HOUR,
            tiers=[Tier(from_hours=100, per_hour=Decimal("0.040"))],
        )  # fmt: skip
    assert second.id == first.id
    assert Price.objects.get(starts_at=NOON + HOUR).tiers == [{"from_hours": 100, "per_hour": "0.04"}]
    assert (
        "set the price of c1.small in USD from 2026-03-01 13:00:00 UTC on to $0.05 an hour, $0.04 beyond 100 host-hours a month, "
        "in place of $0.02 an hour"
    ) in sentences()


def test_a_price_that_has_begun_is_followed_not_replaced(boss: Actor, flavor: Flavor) -> None:
    with at(NOON):
        set_price(by=boss, flavor=flavor, per_hour=Decimal("0.02"), currency="USD")
        with pytest.raises(Conflict, match="stays"):
            set_price(by=boss, flavor=flavor, per_hour=Decimal("0.03"), currency="USD", starts_at=NOON)
        following = set_price(by=boss, flavor=flavor, per_hour=Decimal("0.03"), currency="USD")
    assert following.starts_at == NOON + timedelta(seconds=1)


def test_the_same_again_is_no_change_and_no_line(boss: Actor, flavor: Flavor) -> None:
    set_price(by=boss, flavor=flavor, per_hour=Decimal("0.0100"), currency="USD")
    assert (Price.objects.count(), AuditEvent.objects.filter(action="price.set").count()) == (1, 0)


def test_a_clouds_own_price_can_end(boss: Actor, flavor: Flavor, cloud: Cloud) -> None:
    with at(NOON):
        with pytest.raises(Conflict, match="no price of its own"):
            set_price(by=boss, flavor=flavor, per_hour=None, currency="USD", cloud=cloud)
        set_price(by=boss, flavor=flavor, per_hour=Decimal("0.5"), currency="USD", cloud=cloud)
        set_price(by=boss, flavor=flavor, per_hour=None, currency="USD", cloud=cloud, starts_at=NOON + HOUR)
    assert (
        "set the price of c1.small on Local in USD from 2026-03-01 13:00:00 UTC on to the general price, until then $0.50 an hour"
    ) in sentences()
    book = price_book(currency="USD")
    rates = [book.rate_at(flavor_id=flavor.id, cloud_id=cloud.id, at=NOON + hours * HOUR) for hours in (-1, 0, 1)]
    assert [rate and rate.per_hour for rate in rates] == [Decimal("0.01"), Decimal("0.5"), Decimal("0.01")]


@pytest.mark.parametrize("amount", ["-0.01", "10000.01", "0.000000001", "NaN", "Infinity", "1e9"])
def test_an_amount_that_is_none_is_refused(boss: Actor, flavor: Flavor, amount: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        set_price(by=boss, flavor=flavor, per_hour=Decimal(amount), currency="USD")
    assert "per_hour" in refusal.value.errors
    with pytest.raises(InvalidInput) as refusal:
        set_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", tiers=[Tier(from_hours=1, per_hour=Decimal(amount))])
    assert "tiers" in refusal.value.errors


@pytest.mark.parametrize("hours", [[0], [-1], [10, 10], [10, 5], list(range(1, 12)), [10**9]])
def test_tiers_climb_and_are_few(boss: Actor, flavor: Flavor, hours: list[int]) -> None:
    tiers = [Tier(from_hours=each, per_hour=Decimal(1)) for each in hours]
    with pytest.raises(InvalidInput) as refusal:
        set_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", tiers=tiers)
    assert "tiers" in refusal.value.errors


@pytest.mark.parametrize("currency", ["", "usd", "US", "EURO", "XXX", "UDS"])
def test_a_currency_is_one_of_iso_4217(boss: Actor, flavor: Flavor, currency: str) -> None:
    with pytest.raises(InvalidInput, match="ISO 4217"):
        set_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency=currency)


def test_nobody_but_an_active_operator_changes_prices(boss: Actor, flavor: Flavor) -> None:
    dismissed = make_user()
    User.objects.filter(id=dismissed.id).update(is_staff=True, is_active=False)
    with at(NOON):
        later = set_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", starts_at=NOON + HOUR)
        for who in (make_user().actor, dismissed.actor, Actor(id="someone", label="someone")):
            with pytest.raises(Forbidden):
                set_price(by=who, flavor=flavor, per_hour=Decimal(2), currency="USD")
            with pytest.raises(Forbidden):
                withdraw_price(by=who, price_id=later.id)
    assert Price.objects.count() == 2


def test_only_a_price_that_has_not_begun_is_withdrawn(boss: Actor, flavor: Flavor) -> None:
    with at(NOON):
        later = set_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", starts_at=NOON + HOUR)
        withdraw_price(by=boss, price_id=later.id)
        assert (
            "withdrew the price of c1.small in USD from 2026-03-01 13:00:00 UTC on, $1.00 an hour; $0.01 an hour goes on"
        ) in sentences()
        with pytest.raises(NotFound):
            withdraw_price(by=boss, price_id=later.id)
        with pytest.raises(Conflict, match="has begun"):
            withdraw_price(by=boss, price_id=Price.objects.get().id)


def test_the_portal_itself_sets_first_prices(flavor: Flavor) -> None:
    price = set_price(by=Actor.system("seed"), flavor=flavor, per_hour=Decimal("0.009"), currency="EUR")
    assert price.created_by == "Carina (seed)"


# --- the effect, before it is saved ------------------------------------------------------------------------------------------------


def test_a_preview_tells_what_each_would_pay_and_writes_nothing(boss: Actor, flavor: Flavor) -> None:
    big, small = make_tenant("big"), make_tenant("small")
    make_flavor("c1.other", price="5")
    with at(NOON):
        make_bay(big, "one", node_count=3)
        make_bay(big, "two", node_count=1)
        make_bay(small, node_count=1)
        make_bay(small, "else", node_count=1, flavor="c1.other")
        seen = preview_price(by=boss, flavor=flavor, per_hour=Decimal("0.03"), currency="USD")
    assert [(each.tenant.slug, each.effect.hosts, each.effect.bays) for each in seen.top] == [("big", 4, 2), ("small", 1, 1)]
    # March began before the price does, so it is April that is shown: 720 hours
    assert (seen.month.start, seen.month.seconds) == (datetime(2026, 4, 1, tzinfo=UTC), 720 * 3600)
    assert seen.top[0].effect == Effect(
        hosts=4, bays=2, hourly_before=Decimal("0.04"), hourly_after=Decimal("0.12"),
        month_before=Decimal("28.80"), month_after=Decimal("86.40"),
    )  # fmt: skip
    assert (seen.tenants, seen.total.hosts, seen.total.month_difference) == (2, 5, Decimal("72.00"))
    assert seen.last is not None
    assert seen.last.per_hour == Decimal("0.01")
    assert (Price.objects.count(), AuditEvent.objects.filter(action="price.set").count()) == (2, 0)


def test_a_preview_says_what_the_invoice_will_say(boss: Actor, flavor: Flavor) -> None:
    tenant = make_tenant()
    april = Period(start=datetime(2026, 4, 1, tzinfo=UTC), end=datetime(2026, 5, 1, tzinfo=UTC))
    change: dict[str, Any] = {
        "by": boss, "flavor": flavor, "per_hour": Decimal("0.03"), "currency": "USD", "starts_at": april.start,
        "tiers": [Tier(from_hours=1000, per_hour=Decimal("0.02"))],
    }  # fmt: skip
    with at(NOON):
        make_bay(tenant, node_count=2)
        (seen,) = preview_price(**change).top
        set_price(**change)
    book = price_book(currency="USD")
    used = used_by(tenant_id=tenant.id, period=april, as_of=april.end, book=book)
    whole = bill(found=charges(used=used, rates=book.rates), terms=Terms(), currency="USD")
    assert seen.effect.month_after == whole.net == Decimal("38.80")  # 1000 h at 0.03 and 440 h at 0.02


def test_a_clouds_own_price_touches_only_who_is_there(boss: Actor, flavor: Flavor, cloud: Cloud) -> None:
    here = make_tenant("here")
    elsewhere = make_cloud("elsewhere")
    with at(NOON):
        make_bay(here, node_count=2)
        assert preview_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", cloud=elsewhere).tenants == 0
        assert preview_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", cloud=cloud).total.hourly_after == 2
        set_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", cloud=cloud)
    with at(NOON + HOUR):
        assert preview_price(by=boss, flavor=flavor, per_hour=Decimal(7), currency="USD").tenants == 0
        ended = preview_price(by=boss, flavor=flavor, per_hour=None, currency="USD", cloud=cloud)
    assert (ended.total.hourly_before, ended.total.hourly_after) == (Decimal(2), Decimal("0.02"))


def test_a_preview_is_of_those_who_are_billed_in_that_currency(boss: Actor, flavor: Flavor) -> None:
    tenant = make_tenant()
    with at(NOON):
        make_bay(tenant)
        Account.objects.filter(tenant=account_of(tenant=tenant).tenant).update(currency="EUR")
        assert preview_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD").tenants == 0
        (seen,) = preview_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="EUR").top
    assert (seen.effect.hourly_before, seen.effect.hourly_after, seen.effect.month_after) == (Decimal(0), Decimal(1), Decimal(720))


def test_a_preview_refuses_what_saving_refuses(boss: Actor, flavor: Flavor) -> None:
    with pytest.raises(Forbidden):
        preview_price(by=make_user().actor, flavor=flavor, per_hour=Decimal(1), currency="USD")
    with pytest.raises(InvalidInput):
        preview_price(by=boss, flavor=flavor, per_hour=Decimal(-1), currency="USD")
    with pytest.raises(InvalidInput), at(NOON):
        preview_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="USD", starts_at=NOON - HOUR)


def test_the_price_list_says_what_holds_and_what_follows(boss: Actor, flavor: Flavor, cloud: Cloud) -> None:
    with at(NOON):
        later = set_price(by=boss, flavor=flavor, per_hour=Decimal("0.02"), currency="USD", starts_at=NOON + HOUR)
        latest = set_price(by=boss, flavor=flavor, per_hour=Decimal("0.03"), currency="USD", starts_at=NOON + 2 * HOUR)
        own = set_price(by=boss, flavor=flavor, per_hour=Decimal(1), currency="EUR", cloud=cloud)
        euro, dollar = price_list(at=NOON, flavor=flavor)
    assert (euro.current, euro.following, euro.any.cloud) == (own, None, cloud)
    assert dollar.current is not None
    assert (dollar.current.per_hour, dollar.following, dollar.prices[0]) == (Decimal("0.01"), later, latest)
