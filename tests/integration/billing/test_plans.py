"""Terms of accounts, by operators: plans and who has which from when on, currencies, issuers, tax rates."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.services import Actor
from apps.bays.services import delete_bay
from apps.billing.invoices.issuers import make_default_issuer, set_issuer
from apps.billing.models import Account, CreditGrant, Issuer, Plan, Subscription, TaxRate
from apps.billing.taxes.rates import set_tax_rate, withdraw_tax_rate
from apps.billing.terms.accounts import account_of, default_issuer, default_plan, plan_at
from apps.billing.terms.currency import set_currency, why_currency_stays
from apps.billing.terms.plans import create_plan, make_default, organisations_by_plan, retire_plan
from apps.billing.terms.subscriptions import subscribe, terms_of
from apps.common.errors import Conflict, Forbidden, InvalidInput, NotFound
from apps.tenants.models import Tenant
from tests.factories import access_for, make_bay, make_cloud, make_flavor, make_tenant, make_user
from tests.integration.billing.clock import at

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MARCH, APRIL, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 5))


@pytest.fixture
def boss() -> Actor:
    user = make_user("boss@example.com")
    User.objects.filter(id=user.id).update(is_staff=True)
    return user.actor


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor()
    with at(NOON):
        tenant = make_tenant("crew")
        account_of(tenant=tenant)
    return tenant


def make_plan(boss: Actor, code: str = "beta", **more: Any) -> Plan:
    return create_plan(by=boss, **{"code": code, "title": code.capitalize(), "kind": "payg", **more})


def sentences() -> list[str]:
    return list(AuditEvent.objects.order_by("at").values_list("sentence", flat=True))


# --- plans -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"kind": "payg"}, "Pay as you go"),
        ({"kind": "prepaid", "discount_percent": Decimal("2.5")}, "Prepaid credit, 2.5 % discount"),
        (
            {"kind": "free", "allowance": Decimal(50), "currency": "EUR"},
            "Free beta with a monthly allowance, €50.00 a month free of charge",
        ),
        (
            {"kind": "committed", "commitment": Decimal(100), "discount_percent": Decimal(20), "currency": "USD"},
            "Commitment with a discount, 20 % discount, at least $100.00 a month",
        ),
    ],
)
def test_a_plan_of_each_kind_is_made_and_written_down(boss: Actor, terms: dict[str, Any], words: str) -> None:
    make_plan(boss, "acme-2026", **terms)
    assert sentences() == [f"made the plan Acme-2026 (acme-2026): {words}"]


@pytest.mark.parametrize(
    ("field", "terms"),
    [
        ("code", {"code": "Beta"}),
        ("code", {"code": "-x"}),
        ("code", {"code": "x" * 41}),
        ("title", {"title": " "}),
        ("title", {"title": "x" * 81}),
        ("kind", {"kind": "gold"}),
        ("currency", {"currency": "XXX"}),
        ("currency", {"kind": "free", "allowance": Decimal(1)}),
        ("allowance", {"kind": "free", "currency": "USD"}),
        ("allowance", {"allowance": Decimal(1), "currency": "USD"}),
        ("allowance", {"kind": "free", "allowance": Decimal("0.001"), "currency": "USD"}),
        ("allowance", {"kind": "free", "allowance": Decimal("0.5"), "currency": "JPY"}),
        ("allowance", {"kind": "free", "allowance": Decimal("NaN"), "currency": "USD"}),
        ("commitment", {"kind": "committed", "currency": "USD"}),
        ("commitment", {"commitment": Decimal(1), "currency": "USD"}),
        ("commitment", {"kind": "committed", "commitment": Decimal(-1), "currency": "USD"}),
        ("discount_percent", {"discount_percent": Decimal(101)}),
        ("discount_percent", {"discount_percent": Decimal("0.001")}),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused_at_its_field(boss: Actor, field: str, terms: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        make_plan(boss, **{"code": "beta", **terms})
    assert set(refusal.value.errors) == {field}
    assert not Plan.objects.exists()


def test_a_code_is_taken_once(boss: Actor) -> None:
    make_plan(boss)
    with pytest.raises(Conflict, match="never changed"):
        make_plan(boss)


def test_new_organisations_start_with_the_new_default_and_all_others_keep_theirs(boss: Actor, tenant: Tenant) -> None:
    other = make_plan(boss, "other")
    with at(NOON):
        chosen = make_tenant("chosen")
        subscribe(by=boss, tenant=chosen, plan=other, at=NOON)
        make_default(by=boss, plan_id=make_plan(boss, "beta").id)
        newcomer = make_tenant("newcomer")
    assert (plan_at(tenant=newcomer, at=NOON).code, default_plan().code) == ("beta", "beta")
    for who, when, code in ((tenant, MARCH, "payg"), (tenant, MAY, "payg"), (chosen, NOON, "payg"), (chosen, APRIL, "other")):
        assert plan_at(tenant=who, at=when).code == code, (who, when)
    assert "made Beta (beta) the plan of new organisations, in place of Pay as you go (payg)" in sentences()
    counts = organisations_by_plan(at=APRIL)
    assert {plan.code: counts[plan.id] for plan in Plan.objects.all()} == {"payg": 1, "other": 1, "beta": 1}


def test_a_retired_plan_is_kept_by_who_has_it_and_given_to_nobody(boss: Actor, tenant: Tenant) -> None:
    plan = make_plan(boss)
    subscribe(by=boss, tenant=tenant, plan=plan, at=NOON)
    retire_plan(by=boss, plan_id=plan.id)
    assert plan_at(tenant=tenant, at=APRIL) == plan
    with pytest.raises(Conflict, match="retired"):
        subscribe(by=boss, tenant=make_tenant(), plan=plan, at=NOON)
    with pytest.raises(Conflict, match="retired"):
        make_default(by=boss, plan_id=plan.id)
    with pytest.raises(Conflict, match="default"):
        retire_plan(by=boss, plan_id=default_plan().id)


# --- who has which plan ----------------------------------------------------------------------------------------------------------


def test_another_plan_begins_with_the_next_month(boss: Actor, tenant: Tenant) -> None:
    plan = make_plan(boss)
    found = subscribe(by=boss, tenant=tenant, plan=plan, at=NOON)
    assert found.starts_at == APRIL
    assert (plan_at(tenant=tenant, at=NOON).code, plan_at(tenant=tenant, at=APRIL).code) == ("payg", "beta")
    line = AuditEvent.objects.get(action="plan.subscribed")
    assert (line.tenant_id, line.sentence) == (
        tenant.id, "gave Crew the plan Beta from 2026-04-01 00:00 UTC on, after Pay as you go",
    )  # fmt: skip


def test_the_month_is_that_of_the_tenant(boss: Actor, tenant: Tenant) -> None:
    Account.objects.update(time_zone="America/New_York", billed_until=datetime(2026, 3, 1, 5, tzinfo=UTC))
    assert subscribe(by=boss, tenant=tenant, plan=make_plan(boss), at=NOON).starts_at == datetime(2026, 4, 1, 4, tzinfo=UTC)


def test_months_that_wait_for_their_invoice_keep_their_plan(boss: Actor, tenant: Tenant) -> None:
    assert Account.objects.get().billed_until == MARCH
    later = APRIL + timedelta(minutes=30)
    assert subscribe(by=boss, tenant=tenant, plan=make_plan(boss), at=later).starts_at == MAY


def test_a_later_choice_for_the_same_month_replaces_the_earlier_one(boss: Actor, tenant: Tenant) -> None:
    subscribe(by=boss, tenant=tenant, plan=make_plan(boss, "one"), at=NOON)
    two = make_plan(boss, "two")
    subscribe(by=boss, tenant=tenant, plan=two, at=NOON)
    assert [(each.plan.code, each.starts_at) for each in Subscription.objects.all()] == [("two", APRIL)]
    with pytest.raises(Conflict, match="already"):
        subscribe(by=boss, tenant=tenant, plan=two, at=NOON)
    subscribe(by=boss, tenant=tenant, plan=default_plan(), at=NOON)
    assert plan_at(tenant=tenant, at=APRIL).code == "payg"


def test_at_once_is_possible_only_while_nothing_was_billed_in_the_month(boss: Actor, tenant: Tenant) -> None:
    one, two = make_plan(boss, "one"), make_plan(boss, "two")
    subscribe(by=boss, tenant=tenant, plan=two, at=NOON)
    assert subscribe(by=boss, tenant=tenant, plan=one, at=NOON, immediately=True).starts_at == MARCH
    assert Subscription.objects.count() == 1
    with at(NOON):
        bay = make_bay(tenant)
    with at(NOON + timedelta(minutes=1)):
        delete_bay(access=access_for(tenant), reference=bay.name)
    with pytest.raises(Conflict, match="billed in this period already: another plan can begin with the next one, at 2026-04-01"):
        subscribe(by=boss, tenant=tenant, plan=two, at=NOON, immediately=True)
    following = subscribe(by=boss, tenant=tenant, plan=two, at=APRIL + timedelta(days=3), immediately=True)
    assert following.starts_at == APRIL


def test_a_plan_in_another_currency_is_refused(boss: Actor, tenant: Tenant) -> None:
    plan = make_plan(boss, kind="free", allowance=Decimal(10), currency="EUR")
    with pytest.raises(Conflict, match="in EUR, the account in USD"):
        subscribe(by=boss, tenant=tenant, plan=plan, at=NOON)


def test_terms_name_the_plan_and_what_follows(boss: Actor, tenant: Tenant) -> None:
    assert terms_of(tenant=tenant, at=NOON).following is None
    found = subscribe(by=boss, tenant=tenant, plan=make_plan(boss), at=NOON)
    terms = terms_of(tenant=tenant, at=NOON)
    assert (terms.plan.code, terms.following, terms.period.end) == ("payg", found, APRIL)
    assert terms_of(tenant=tenant, at=APRIL).plan.code == "beta"


# --- currency of an account --------------------------------------------------------------------------------------------------------


def test_the_currency_changes_while_nothing_was_counted_in_it(boss: Actor, tenant: Tenant) -> None:
    assert set_currency(by=boss, tenant=tenant, currency="EUR").currency == "EUR"
    assert account_of(tenant=tenant).currency == "EUR"
    set_currency(by=boss, tenant=tenant, currency="EUR")
    assert [each for each in sentences() if "currency" in each] == ["set the currency of Crew from USD to EUR"]
    with pytest.raises(InvalidInput):
        set_currency(by=boss, tenant=tenant, currency="eur")


def hosts_billed(tenant: Tenant, boss: Actor) -> None:
    with at(NOON):
        make_bay(tenant)


def bays_on_their_way(tenant: Tenant, boss: Actor) -> None:
    make_bay(tenant, active=False)


def credit(tenant: Tenant, boss: Actor) -> None:
    CreditGrant.objects.create(
        tenant=tenant, kind="promotional", amount=Decimal(5), currency="USD", reason="welcome", granted_at=NOON, created_by="x"
    )


def plan_with_amounts(tenant: Tenant, boss: Actor) -> None:
    plan = make_plan(boss, kind="free", allowance=Decimal(10), currency="USD")
    subscribe(by=boss, tenant=tenant, plan=plan, at=NOON)


@pytest.mark.parametrize(
    ("count", "words"),
    [(hosts_billed, "hosts were billed"), (bays_on_their_way, "has bays"), (credit, "has credit"), (plan_with_amounts, "has a plan")],
)
def test_the_currency_stays_once_something_was_counted_in_it(
    boss: Actor, tenant: Tenant, count: Callable[[Tenant, Actor], None], words: str
) -> None:
    assert why_currency_stays(tenant=tenant) == ""
    count(tenant, boss)
    with pytest.raises(Conflict, match=words):
        set_currency(by=boss, tenant=tenant, currency="EUR")


# --- issuers -----------------------------------------------------------------------------------------------------------------------


def test_an_issuer_is_made_changed_and_becomes_the_one_who_writes(boss: Actor) -> None:
    made = set_issuer(by=boss, code="acme", legal_name="Acme Ltd", country="IE", vat_id="ie 1234567 t", payment_text="IBAN x\r\nBIC y")
    assert (made.vat_id, made.payment_text, made.is_default) == ("IE1234567T", "IBAN x\nBIC y", False)
    set_issuer(by=boss, code="acme", legal_name="Acme Ltd", country="IE", vat_id="IE1234567T", payment_text="IBAN x\nBIC y")
    set_issuer(by=boss, code="acme", legal_name="Acme plc", country="IE", vat_id="IE1234567T", payment_text="IBAN x\nBIC y")
    make_default_issuer(by=boss, issuer_id=made.id)
    assert (default_issuer().legal_name, Issuer.objects.filter(is_default=True).count()) == ("Acme plc", 1)
    assert sentences() == [
        "made Acme Ltd (acme) an issuer of invoices",
        "changed the issuer Acme plc (acme): legal name",
        "let Acme plc (acme) write the invoices from now on, in place of Carina",
    ]


def test_every_fault_of_an_issuer_is_named(boss: Actor) -> None:
    with pytest.raises(InvalidInput) as refusal:
        set_issuer(by=boss, code="A B", legal_name=" ", address="x\0", country="XX", email="nobody", vat_id="9" * 21, payment_days=-1)
    assert set(refusal.value.errors) == {"code", "legal_name", "address", "country", "email", "vat_id", "payment_days"}


# --- tax rates ---------------------------------------------------------------------------------------------------------------------


def test_a_tax_rate_never_changes_in_the_past(boss: Actor) -> None:
    with at(NOON):
        set_tax_rate(by=boss, country="DE", percent=Decimal(19), starts_on=date(2020, 1, 1))
        with pytest.raises(InvalidInput, match="never changes in the past"):
            set_tax_rate(by=boss, country="DE", percent=Decimal(20), starts_on=date(2026, 3, 9))
        set_tax_rate(by=boss, country="DE", percent=Decimal("20.5"), starts_on=date(2026, 3, 10))
        set_tax_rate(by=boss, country="FR", percent=Decimal(20), starts_on=date(2026, 3, 9), name="TVA")
    assert {(rate.country, str(rate.percent), rate.starts_on.isoformat()) for rate in TaxRate.objects.all()} == {
        ("DE", "19.00", "2020-01-01"), ("DE", "20.50", "2026-03-10"), ("FR", "20.00", "2026-03-09"),
    }  # fmt: skip
    assert "set the tax of Germany to 20.5 % VAT from 2026-03-10 on, until then 19 % VAT" in sentences()


def test_a_rate_that_has_not_begun_is_replaced_or_withdrawn(boss: Actor) -> None:
    with at(NOON):
        first = set_tax_rate(by=boss, country="DE", percent=Decimal(19), starts_on=date(2026, 3, 10))
        later = set_tax_rate(by=boss, country="DE", percent=Decimal(21), starts_on=date(2026, 4, 1))
        assert set_tax_rate(by=boss, country="DE", percent=Decimal(22), starts_on=date(2026, 4, 1)).id == later.id
        withdraw_tax_rate(by=boss, rate_id=later.id)
        with pytest.raises(NotFound):
            withdraw_tax_rate(by=boss, rate_id=later.id)
        with pytest.raises(Conflict, match="has begun"):
            withdraw_tax_rate(by=boss, rate_id=first.id)
    assert TaxRate.objects.get() == first


def test_the_same_rate_again_is_no_change(boss: Actor) -> None:
    with at(NOON):
        first = set_tax_rate(by=boss, country="DE", percent=Decimal(19), starts_on=date(2020, 1, 1))
        assert set_tax_rate(by=boss, country="DE", percent=Decimal(19), starts_on=date(2026, 5, 1)) == first


@pytest.mark.parametrize(
    "wrong", [{"country": "XX"}, {"percent": Decimal(-1)}, {"percent": Decimal("NaN")}, {"name": ""}, {"name": "x" * 21}]
)
def test_a_rate_that_cannot_be_is_refused_at_its_field(boss: Actor, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        set_tax_rate(by=boss, **{"country": "DE", "percent": Decimal(19), "starts_on": date(2030, 1, 1), **wrong})
    assert set(refusal.value.errors) == set(wrong)


# --- for operators alone -------------------------------------------------------------------------------------------------------------


def test_nobody_else_decides_about_terms(boss: Actor, tenant: Tenant) -> None:
    plan, member = make_plan(boss), make_user().actor
    issuer, rate = default_issuer(), TaxRate.objects.create(country="DE", percent=19, starts_on=date(2100, 1, 1))
    attempts: list[Callable[[], object]] = [
        lambda: make_plan(member, "mine"),
        lambda: retire_plan(by=member, plan_id=plan.id),
        lambda: make_default(by=member, plan_id=plan.id),
        lambda: subscribe(by=member, tenant=tenant, plan=plan, at=NOON),
        lambda: set_currency(by=member, tenant=tenant, currency="EUR"),
        lambda: set_issuer(by=member, code="mine", legal_name="Mine"),
        lambda: make_default_issuer(by=member, issuer_id=issuer.id),
        lambda: set_tax_rate(by=member, country="FR", percent=Decimal(0), starts_on=date(2100, 1, 1)),
        lambda: withdraw_tax_rate(by=member, rate_id=rate.id),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            attempt()
    assert sentences() == ["made the plan Beta (beta): Pay as you go"]


def test_the_database_keeps_one_default_plan(boss: Actor) -> None:
    default_plan()
    plan = make_plan(boss)
    with pytest.raises(IntegrityError):
        Plan.objects.filter(id=plan.id).update(is_default=True)
