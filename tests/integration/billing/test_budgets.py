"""Budgets are set, changed and deleted by who manages billing, and say what they mean at once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.audit.models import AuditEvent
from apps.billing.budgets.rows import budget_month
from apps.billing.budgets.services import (
    BUDGETS_PER_TENANT,
    DEFAULT_RULES,
    budgets_of,
    change_budget,
    create_budget,
    delete_budget,
    find_budget,
)
from apps.billing.budgets.watching import look_at
from apps.billing.estimates.remaining import remaining_of
from apps.billing.models import Account, Budget, BudgetCrossing
from apps.billing.terms.accounts import account_of
from apps.common.errors import Conflict, Forbidden, InvalidInput, NotFound
from apps.tenants.context import Access
from apps.tenants.models import Hold, Tenant
from apps.tenants.roles import Role
from tests.factories import access_for, join, make_bay, make_cloud, make_flavor, make_tenant, make_user
from tests.integration.billing.clock import at

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
BLOCK = [{"percent": 100, "action": "block"}]


@pytest.fixture
def tenant() -> Tenant:
    """An organisation with one host at $1 an hour since the first of March."""
    make_cloud()
    make_flavor(price="1")
    with at(MARCH):
        tenant = make_tenant()
        make_bay(tenant)
    return tenant


@pytest.fixture
def access(tenant: Tenant) -> Access:
    return access_for(tenant)


def hour(hours: float) -> datetime:
    return MARCH + timedelta(hours=hours)


def test_a_budget_without_rules_mails_at_half_at_eighty_percent_and_when_it_is_spent(access: Access) -> None:
    budget = create_budget(access=access, name="monthly", amount="250")
    assert (budget.amount, budget.rules) == (Decimal("250.00"), list(DEFAULT_RULES))
    assert [row.name for row in budgets_of(access=access)] == ["monthly"]
    event = AuditEvent.objects.get(action="budget.created")
    assert event.sentence == "set the budget monthly of $250.00 a month"
    assert event.actor_label == access.actor.label


@pytest.mark.parametrize("amount", ["0", "-1", "1.005", "NaN", "Infinity", "1e12", "ten", "", None, True, [], {}, "9" * 50])
def test_an_amount_that_is_none_is_refused(access: Access, amount: object) -> None:
    with pytest.raises(InvalidInput) as refusal:
        create_budget(access=access, name="monthly", amount=amount)
    assert set(refusal.value.errors) == {"amount"}


@pytest.mark.parametrize(("amount", "currency", "fits"), [("1.5", "JPY", False), ("150", "JPY", True), ("1.005", "KWD", False)])
def test_amounts_are_in_what_the_currency_can_be_paid_in(access: Access, amount: str, currency: str, fits: bool) -> None:
    account_of(tenant=access.tenant)
    Account.objects.update(currency=currency)
    if fits:
        assert create_budget(access=access, name="monthly", amount=amount).amount == Decimal(amount)
    else:
        with pytest.raises(InvalidInput, match=currency):
            create_budget(access=access, name="monthly", amount=amount)


@pytest.mark.parametrize(
    "rules",
    [
        "mail", {}, [1], [{"percent": 80}], [{"percent": 80, "action": "mail", "to": "x"}], [{"percent": 0, "action": "mail"}],
        [{"percent": 201, "action": "mail"}], [{"percent": True, "action": "mail"}], [{"percent": 80.5, "action": "mail"}],
        [{"percent": 80, "action": "shout"}], [{"percent": 80, "action": []}], [{"percent": 80, "action": "mail"}] * 2,
        [{"percent": share, "action": "mail"} for share in range(1, 12)],
    ],
)  # fmt: skip
def test_rules_that_are_none_are_refused(access: Access, rules: object) -> None:
    with pytest.raises(InvalidInput) as refusal:
        create_budget(access=access, name="monthly", amount=1, rules=rules)
    assert set(refusal.value.errors) == {"rules"}
    assert not Budget.objects.exists()


def test_a_name_is_a_name_and_taken_once(access: Access) -> None:
    with pytest.raises(InvalidInput) as refusal:
        create_budget(access=access, name="My budget", amount=1)
    assert set(refusal.value.errors) == {"name"}
    create_budget(access=access, name="team", amount=1)
    with pytest.raises(Conflict, match="“team” already"):
        create_budget(access=access, name="team", amount=1)
    create_budget(access=access, name="other", amount=1)
    with pytest.raises(Conflict, match="“team” already"):
        change_budget(access=access, reference="other", name="team")


def test_there_are_so_many_and_no_more(access: Access) -> None:
    for number in range(BUDGETS_PER_TENANT):
        create_budget(access=access, name=f"b{number}", amount=1000)
    with pytest.raises(Conflict) as refusal:
        create_budget(access=access, name="one-more", amount=1000)
    assert refusal.value.code == "too_many_budgets"


def test_a_budget_is_found_by_name_and_by_id_in_its_own_organisation_only(access: Access) -> None:
    budget = create_budget(access=access, name="team", amount=1)
    assert find_budget(access=access, reference="team") == find_budget(access=access, reference=str(budget.id)) == budget
    stranger = access_for(make_tenant())
    for reference in ("team", str(budget.id), "\x00"):
        with pytest.raises(NotFound):
            find_budget(access=stranger, reference=reference)
        with pytest.raises(NotFound):
            change_budget(access=stranger, reference=reference, amount=2)
        with pytest.raises(NotFound):
            delete_budget(access=stranger, reference=reference)


def test_members_without_the_right_neither_see_nor_change_budgets(tenant: Tenant, access: Access) -> None:
    create_budget(access=access, name="team", amount=1)
    for role in (Role.VIEWER, Role.OPERATOR):
        member = make_user()
        join(tenant, member, role=role)
        theirs = access_for(tenant, member)
        for use_case in (
            lambda theirs=theirs: budgets_of(access=theirs),
            lambda theirs=theirs: find_budget(access=theirs, reference="team"),
            lambda theirs=theirs: create_budget(access=theirs, name="x", amount=1),
            lambda theirs=theirs: change_budget(access=theirs, reference="team", amount=2),
            lambda theirs=theirs: delete_budget(access=theirs, reference="team"),
        ):
            with pytest.raises(Forbidden):
                use_case()
    billing = make_user()
    join(tenant, billing, role=Role.BILLING)
    assert change_budget(access=access_for(tenant, billing), reference="team", amount=2).amount == 2


def test_a_budget_that_is_spent_already_blocks_at_once_and_no_more_when_it_is_raised_or_deleted(tenant: Tenant, access: Access) -> None:
    with at(hour(10)):
        create_budget(access=access, name="team", amount=5, rules=BLOCK)
        assert "The budget “team” allows no growth from 100 % on, and $10.00 of its $5.00 a month are spent" in Hold.objects.get().sentence
        change_budget(access=access, reference="team", amount=50)
        assert not tenant.holds.exists()
        change_budget(access=access, reference="team", amount=6)
        assert tenant.holds.exists()
        delete_budget(access=access, reference="team")
        assert not tenant.holds.exists()


def test_what_stays_the_same_is_no_change(access: Access) -> None:
    create_budget(access=access, name="team", amount=5)
    change_budget(access=access, reference="team", name="team", amount="5.00", rules=[*DEFAULT_RULES])
    assert not AuditEvent.objects.filter(action="budget.changed").exists()
    change_budget(access=access, reference="team", amount=6)
    event = AuditEvent.objects.get(action="budget.changed")
    assert (event.data["before"]["amount"], event.data["amount"]) == ("5.00", "6.00")


def test_rules_that_a_raise_puts_out_of_reach_act_again_when_they_are_reached_again(tenant: Tenant, access: Access) -> None:
    with at(hour(10)):
        create_budget(access=access, name="team", amount=10)
        look_at(tenant_id=tenant.id, at=hour(10))
        assert sorted(BudgetCrossing.objects.values_list("percent", flat=True)) == [50, 80, 100]
        change_budget(access=access, reference="team", amount=20)
    assert sorted(BudgetCrossing.objects.values_list("percent", flat=True)) == [50]


def test_estimates_say_what_is_left_of_each_budget(tenant: Tenant, access: Access) -> None:
    create_budget(access=access, name="big", amount=100)
    create_budget(access=access, name="small", amount=5)
    big, small = remaining_of(account=account_of(tenant=tenant), at=hour(10)).budgets
    assert big.left == 90
    assert big.amount == 100
    assert big.spent == 10
    assert big.sentence == "$90.00 of the budget “big” ($100.00 a month) are left."
    assert small.sentence == "The budget “small” ($5.00 a month) is exceeded by $5.00."


def test_how_budgets_stand_is_told_with_forecast_and_reached_rules(tenant: Tenant, access: Access) -> None:
    create_budget(access=access, name="a-fine", amount=1000)
    create_budget(access=access, name="b-tight", amount=100)
    create_budget(access=access, name="c-exceeded", amount=5)
    with at(hour(10)):
        create_budget(access=access, name="d-blocks", amount=9, rules=BLOCK)
        look_at(tenant_id=tenant.id, at=hour(10))
        month = budget_month(access=access, at=hour(10))
    assert month.spent == 10
    assert month.forecast == 744
    assert month.currency == "USD"
    assert [row.state for row in month.rows] == ["fine", "tight", "exceeded", "blocks"]
    assert [row.share for row in month.rows] == [1, 10, 200, 111]
    assert [rule.reached_at is not None for rule in month.rows[2].rules] == [True, True, True]
    assert [rule.reached_at is not None for rule in month.rows[1].rules] == [False, False, False]
    assert [rule.amount for rule in month.rows[1].rules] == [50, 80, 100]
