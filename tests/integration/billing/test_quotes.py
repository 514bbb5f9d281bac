"""What bays are told of prices: by the tenant's currency and calendar, computed as the invoice is, and no price means no hosts."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from pytest_django.asserts import assertContains

from apps.audit.services import Actor
from apps.bays.estimates import Estimate, estimate_create, estimate_resize
from apps.bays.models import Bay
from apps.bays.pricing import prices_for
from apps.bays.selectors import get_bay
from apps.bays.services import create_bay, resize_bay
from apps.bays.spec import parse_spec
from apps.billing.credit.grants import grant_credit
from apps.billing.models import Account, Budget, Plan, Subscription
from apps.billing.periods import month_at
from apps.billing.prices.book import price_book
from apps.billing.usage.measured import used_by
from apps.billing.usage.rating import Terms, bill, charges
from apps.common.errors import InvalidInput
from apps.hosts.models import Cloud, Flavor
from apps.tenants.holds import set_holds
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import access_for, api_of, join, make_bay, make_cloud, make_flavor, make_price, make_tenant, make_user, owner_of
from tests.integration.billing.clock import at

pytestmark = pytest.mark.django_db
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
LATER = DECEMBER + timedelta(days=9, hours=5)
"""Some time in December, which has 744 hours."""


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    return make_tenant("demo")


def estimate(tenant: Tenant, *, node_count: int = 1, **more: Any) -> Estimate:
    data = {"name": "next", "coe": "swarm", "flavor": "c1.small", "node_count": node_count, **more}
    return estimate_create(access=access_for(tenant), spec=parse_spec(data=data))


def on_plan(tenant: Tenant, **terms: Any) -> Plan:
    plan = Plan.objects.create(
        code="special", title="Special", currency="USD", created_at=DECEMBER, **{"kind": Plan.Kind.PAY_AS_YOU_GO, **terms}
    )
    Subscription.objects.create(tenant=tenant, plan=plan, starts_at=DECEMBER - timedelta(days=900), created_by="tests", created_at=DECEMBER)
    return plan


def billed_in(tenant: Tenant, *, currency: str, zone: str = "UTC") -> Account:
    return Account.objects.create(tenant=tenant, currency=currency, time_zone=zone, created_at=DECEMBER, billed_until=DECEMBER)


def what_is_billed(tenant: Tenant, terms: Terms, *, month: datetime) -> Decimal:
    book, period = price_book(currency="USD"), month_at(at=month, zone="UTC")
    used = used_by(tenant_id=tenant.id, period=period, as_of=period.end, book=book)
    return bill(found=charges(used=used, rates=book.rates), terms=terms, currency="USD").net


def test_hosts_that_run_the_whole_month_are_billed_what_was_quoted(tenant: Tenant) -> None:
    plan = on_plan(tenant, discount_percent=Decimal("7.5"), allowance=Decimal(3))
    make_price(Flavor.objects.get(), "0.02", starts_at=DECEMBER + timedelta(days=20), tiers=[{"from_hours": 500, "per_hour": "0.013"}])
    with at(DECEMBER):
        quoted = estimate(tenant, node_count=3).price_per_month
        make_bay(tenant, node_count=3)
    assert quoted == what_is_billed(tenant, Terms.of(plan=plan), month=DECEMBER)
    assert quoted != Decimal("22.32")


def test_a_second_bay_is_billed_what_was_quoted_beside_the_first(tenant: Tenant) -> None:
    plan = on_plan(tenant, allowance=Decimal(10), discount_percent=Decimal(20))
    with at(DECEMBER):
        make_bay(tenant, "first", node_count=2)
        alone = what_is_billed(tenant, Terms.of(plan=plan), month=DECEMBER)
        quoted = estimate(tenant, node_count=3).price_per_month
        make_bay(tenant, "second", node_count=3)
    assert quoted == what_is_billed(tenant, Terms.of(plan=plan), month=DECEMBER) - alone
    assert quoted == Decimal("17.86")  # the first uses up the allowance: 3 hosts × 744 h × 0.01, less 20 %


def test_a_quote_names_the_month_and_says_what_the_plan_takes_off(tenant: Tenant) -> None:
    on_plan(tenant, allowance=Decimal(5), discount_percent=Decimal(10))
    with at(LATER):
        found = estimate(tenant, node_count=2)
    assert (found.price_per_hour, found.currency) == (Decimal("0.02"), "USD")
    assert (found.month.code, found.month.hours) == ("2026-12", 744)
    assert [(figure.label, figure.amount) for figure in found.quote.figures] == [
        ("Special: 10 % discount", Decimal("-1.49")),
        ("Special: monthly allowance", Decimal("-5.00")),
    ]
    assert found.price_per_month == Decimal("14.88") - Decimal("6.49")


def test_tiers_count_all_the_tenant_has(tenant: Tenant) -> None:
    make_price(Flavor.objects.get(), "0.010", starts_at=DECEMBER - timedelta(days=90), tiers=[{"from_hours": 744, "per_hour": "0.005"}])
    with at(LATER):
        assert estimate(tenant).price_per_month == Decimal("7.44")
        make_bay(tenant, "first")
        found = estimate(tenant)
    assert (found.price_per_hour, found.price_per_month) == (Decimal("0.01"), Decimal("3.72"))
    assert [figure.amount for figure in found.quote.figures] == [Decimal("-3.72")]


def test_the_month_is_that_of_the_tenants_calendar_with_the_hours_its_clocks_leave(tenant: Tenant) -> None:
    billed_in(tenant, currency="USD", zone="Europe/Berlin")
    with at(datetime(2027, 2, 28, 23, 30, tzinfo=UTC)):  # March has begun in Berlin, and will be an hour short
        found = estimate(tenant)
    assert (found.month.code, found.month.hours, found.price_per_month) == ("2027-03", 743, Decimal("7.43"))


def test_a_change_is_quoted_with_what_it_changes(tenant: Tenant) -> None:
    with at(LATER):
        make_bay(tenant, "other", node_count=4)
        bay = make_bay(tenant, "web", node_count=2)
        up = estimate_resize(access=access_for(tenant), bay=get_bay(access=access_for(tenant), reference="web"), count=5)
        down = estimate_resize(access=access_for(tenant), bay=bay, count=1)
    assert (up.quote.before.per_month, up.price_per_month, up.price_per_hour) == (Decimal("14.88"), Decimal("37.20"), Decimal("0.05"))
    assert (up.quote.change_per_hour, up.quote.change_per_month) == (Decimal("0.03"), Decimal("22.32"))
    assert (down.quote.change_per_hour, down.quote.change_per_month) == (Decimal("-0.01"), Decimal("-7.44"))


def test_a_price_that_begins_later_counts_from_then_on_and_a_former_one_never(tenant: Tenant) -> None:
    make_price(Flavor.objects.get(), "0.020", starts_at=LATER - timedelta(days=1))
    make_price(Flavor.objects.get(), "0.030", starts_at=DECEMBER + timedelta(days=30))
    with at(LATER):
        found = estimate(tenant)
    assert found.price_per_hour == Decimal("0.02")
    assert found.price_per_month == Decimal("0.02") * 30 * 24 + Decimal("0.03") * 24


def test_a_clouds_own_price_comes_first(tenant: Tenant) -> None:
    make_price(Flavor.objects.get(), "0.5", cloud=make_cloud("metal"))
    assert estimate(tenant).price_per_hour == Decimal("0.01")
    assert estimate(tenant, cloud="metal").price_per_hour == Decimal("0.5")
    assert estimate(tenant, cloud="metal", node_count=50).price_per_hour == 25  # refused or not, the price is that cloud's


def test_who_is_billed_in_another_currency_sees_prices_in_it(tenant: Tenant) -> None:
    billed_in(tenant, currency="EUR")
    make_price(Flavor.objects.get(), "0.009", currency="EUR")
    make_bay(tenant, node_count=2)
    member = signed_in(tenant)
    assertContains(member.get("/t/demo/bays/"), "€0.018")
    assertContains(member.get("/t/demo/bays/web/"), "€0.018")
    assertContains(member.get("/t/demo/bays/new"), "€0.009")
    seen = api_of(tenant).get("tenants/demo/bays").json()["results"][0]
    assert (seen["price_per_hour"], seen["currency"]) == ("0.01800000", "EUR")


def signed_in(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(owner_of(tenant), backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


# --- what has no price cannot be had -------------------------------------------------------------------------------------------


def test_a_flavor_without_a_price_in_the_tenants_currency_is_refused_with_the_reason(tenant: Tenant) -> None:
    billed_in(tenant, currency="CHF")
    spec = parse_spec(data={"name": "web", "coe": "swarm", "flavor": "c1.small"})
    with pytest.raises(InvalidInput, match="no price in CHF on Local"):
        create_bay(access=access_for(tenant), spec=spec)
    found = estimate(tenant)
    assert "no price in CHF" in found.refusal
    assert (found.price_per_hour, found.price_per_month, found.quote.change_per_month) == (None, None, None)
    said = api_of(tenant).post("tenants/demo/bays/estimate", {"coe": "swarm", "flavor": "c1.small"}).json()
    assert (said["accepted"], said["price_per_hour"], said["price_per_month"], said["change_per_hour"]) == (False, None, None, None)
    page = signed_in(tenant).get("/t/demo/bays/new")
    assertContains(page, "The flavor c1.small has no price in CHF on Local, so it cannot be had there")
    assertContains(page, "no price in CHF</span>")


def test_a_bay_whose_flavor_lost_its_price_shrinks_but_does_not_grow(tenant: Tenant) -> None:
    make_bay(tenant, node_count=2)
    billed_in(tenant, currency="CHF")
    access = access_for(tenant)
    with pytest.raises(InvalidInput, match="no price in CHF"):
        resize_bay(access=access, reference="web", node_count=3)
    assert estimate_resize(access=access, bay=Bay.objects.get(), count=1).refusal == ""
    assert resize_bay(access=access, reference="web", node_count=1).node_count == 1
    assert api_of(tenant).get("tenants/demo/bays/web").json()["price_per_hour"] is None
    member = signed_in(tenant)
    for page in ("", "web/", "web/settings", "web/resize?node_count=2", "web/resize/estimate?node_count=2"):
        assert member.get(f"/t/demo/bays/{page}").status_code in {200, 422}, page


def test_hosts_go_where_their_flavor_has_a_price(tenant: Tenant) -> None:
    flavor = make_flavor("c1.large", vcpus=4, price=None)
    make_price(flavor, "0.04", cloud=make_cloud("second"))
    assert make_bay(tenant, flavor="c1.large").cloud.name == "second"
    assert estimate(tenant, flavor="c1.large").cloud == "second"
    assert "no price in USD on Local" in estimate(tenant, flavor="c1.large", cloud="local").refusal


def test_the_catalogue_lists_by_price_and_says_of_what_has_none_why_it_cannot_be_had(tenant: Tenant) -> None:
    make_flavor("c1.new", price=None)
    make_flavor("c1.cheap", price="0.00000125")
    rows = api_of(tenant).get("flavors").json()["results"]
    assert [(row["name"], row["price_per_hour"], row["available"]) for row in rows] == [
        ("c1.cheap", "0.00000125", True),
        ("c1.small", "0.01000000", True),
        ("c1.new", None, False),
    ]
    assert rows[2]["reason"].startswith("The flavor c1.new has no price in USD on Local")
    assert {row["currency"] for row in rows} == {"USD"}


# --- and around it -------------------------------------------------------------------------------------------------------------


def test_a_hold_refuses_in_the_estimate_what_it_refuses_in_earnest(tenant: Tenant) -> None:
    set_holds(tenant_id=tenant.id, family="dunning", sentences={"dunning": "An invoice is overdue: nothing may grow until it is paid."})
    said = api_of(tenant).post("tenants/demo/bays/estimate", {"coe": "swarm", "flavor": "c1.small"}).json()
    assert (said["accepted"], said["price_per_hour"]) == (False, "0.01000000")
    assert said["refusal"].startswith("An invoice is overdue")


def test_what_is_left_of_budgets_and_credit_stands_beside_it_for_who_may_see_that(tenant: Tenant) -> None:
    billed_in(tenant, currency="USD")
    by = {"created_by": "tests", "created_at": DECEMBER, "updated_at": DECEMBER}
    Budget.objects.create(tenant=tenant, name="Team", amount=Decimal(5), **by)
    grant_credit(by=Actor.system("tests"), tenant=tenant, kind="prepaid", amount=Decimal(20), currency="USD", reason="bought")
    with at(DECEMBER):
        make_bay(tenant, "web", node_count=2)
    with at(DECEMBER + timedelta(hours=300)):
        found = estimate(tenant)
    assert [(figure.label, figure.amount) for figure in found.remaining] == [("Credit", Decimal("14.00")), ("Team", Decimal("-1.00"))]
    assert all(figure.sentence for figure in found.remaining)
    said = api_of(tenant).post("tenants/demo/bays/estimate", {"coe": "swarm", "flavor": "c1.small"}).json()
    assert [row["label"] for row in said["remaining"]] == ["Credit", "Team"]
    page = signed_in(tenant).post("/t/demo/bays/new/estimate", {"name": "x", "coe": "swarm", "flavor": "c1.small", "node_count": "1"})
    assertContains(page, "of the budget “Team”")
    viewer = make_user()
    join(tenant, viewer, role=Role.VIEWER)
    assert api_of(tenant, viewer).post("tenants/demo/bays/estimate", {"coe": "swarm", "flavor": "c1.small"}).json()["remaining"] == []


def test_a_plan_in_another_currency_stops_no_estimate(tenant: Tenant) -> None:
    billed_in(tenant, currency="EUR")
    make_price(Flavor.objects.get(), "0.010", currency="EUR")
    Budget.objects.create(tenant=tenant, name="Team", amount=5, created_by="x", created_at=DECEMBER, updated_at=DECEMBER)
    on_plan(tenant, allowance=Decimal(5), discount_percent=Decimal(50))
    with at(LATER):
        found = estimate(tenant)
    assert (found.price_per_month, found.remaining) == (Decimal("3.72"), ())


def test_asking_for_prices_writes_nothing(tenant: Tenant) -> None:
    estimate(tenant)
    prices_for(tenant=tenant)
    assert not Account.objects.exists()
    assert not Plan.objects.exists()


def test_an_estimate_asks_the_database_little_however_much_a_tenant_has(
    tenant: Tenant, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    cloud = Cloud.objects.get()
    for number in range(8):
        make_flavor(f"c2.{number}", price=None)
        make_price(Flavor.objects.get(name=f"c2.{number}"), "0.01", cloud=cloud)
        make_bay(tenant, f"bay-{number}", flavor=f"c2.{number}", node_count=2)
        Budget.objects.create(tenant=tenant, name=f"{number}", amount=5, created_by="x", created_at=DECEMBER, updated_at=DECEMBER)
    billed_in(tenant, currency="USD")
    grant_credit(by=Actor.system("tests"), tenant=tenant, kind="prepaid", amount=Decimal(20), currency="USD", reason="bought")
    access, spec = access_for(tenant), parse_spec(data={"name": "next", "coe": "swarm", "flavor": "c1.small"})
    estimate_create(access=access, spec=spec)  # the portal's default plan and issuer are made when they are first needed
    with django_assert_max_num_queries(29):  # ten for limits and room, five for the quote, the rest for what is left of credit and budgets
        estimate_create(access=access, spec=spec)


def test_a_resize_is_estimated_over_rest_for_who_may_see_the_bay(tenant: Tenant) -> None:
    make_bay(tenant, node_count=2)
    said = api_of(tenant).post("tenants/demo/bays/web/estimate", {"node_count": 3}).json()
    assert (said["price_per_hour"], said["change_per_hour"], said["accepted"]) == ("0.03000000", "0.01000000", True)
    assert Bay.objects.get().node_count == 2
    viewer, clerk, stranger = make_user(), make_user(), make_user()
    join(tenant, viewer, role=Role.VIEWER)
    join(tenant, clerk, role=Role.BILLING)
    elsewhere = make_tenant(owner=stranger)
    assert api_of(tenant, viewer).post("tenants/demo/bays/web/estimate", {"node_count": 3}).status_code == 200
    assert api_of(tenant, clerk).post("tenants/demo/bays/web/estimate", {"node_count": 3}).status_code == 403
    assert api_of(elsewhere).post("tenants/demo/bays/web/estimate", {"node_count": 3}).status_code == 404
    assert api_of(elsewhere).post(f"tenants/{elsewhere.slug}/bays/web/estimate", {"node_count": 3}).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "node_count"), ({"node_count": "3"}, "node_count"), ({"node_count": 0}, "node_count"), ({"node_count": 2, "name": "x"}, "name")],
)
def test_a_resize_that_cannot_be_meant_is_refused_beside_its_field(tenant: Tenant, body: dict[str, Any], field: str) -> None:
    make_bay(tenant)
    answer = api_of(tenant).post("tenants/demo/bays/web/estimate", body)
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])


def test_the_page_of_a_resize_says_what_changes(tenant: Tenant) -> None:
    make_bay(tenant)
    member = signed_in(tenant)
    month = prices_for(tenant=tenant).month
    added = f"{Decimal('0.02') * round(month.hours):.2f}"
    assertContains(member.get("/t/demo/bays/web/resize?node_count=3"), f"<b>+$0.02/h</b> · +${added}/month")
    assertContains(member.get("/t/demo/bays/web/resize/estimate?node_count=3"), f"That is <b>+$0.02</b> per hour, +${added} per month")
