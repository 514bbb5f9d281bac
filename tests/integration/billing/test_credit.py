"""Credit is used in the order in which it expires, never twice, and only for months that end before it does."""

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit.models import AuditEvent
from apps.audit.services import Actor
from apps.billing.credit.grants import balance_after_spend, balance_of, grant_credit, grants_of, note_uses, planned_uses
from apps.billing.estimates.remaining import remaining_of
from apps.billing.models import Account, CreditGrant, CreditUse, Invoice, TaxRate
from apps.billing.terms.accounts import account_of, default_issuer
from apps.common.errors import Conflict, Forbidden, InvalidInput
from apps.common.scope import carried
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import access_for, join, make_bay, make_cloud, make_flavor, make_tenant, make_user
from tests.integration.billing.clock import at

pytestmark = pytest.mark.django_db
DESK = Actor.system("tests")
MARCH, APRIL, MAY, JUNE = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 5, 6))
PROMOTIONAL, PREPAID = CreditGrant.Kind.PROMOTIONAL, CreditGrant.Kind.PREPAID


@pytest.fixture
def tenant() -> Tenant:
    with at(MARCH):
        tenant = make_tenant()
        account_of(tenant=tenant)
    return tenant


def grant(
    tenant: Tenant, amount: str, *, kind: str = PREPAID, until: datetime | None = None, reference: str = "", day: int = 0
) -> CreditGrant:
    with at(MARCH + timedelta(days=day)):
        return grant_credit(
            by=DESK, tenant=tenant, kind=kind, amount=Decimal(amount), currency="USD", reason=amount, expires_at=until, reference=reference
        )


def invoice(tenant: Tenant, number: str, *, start: datetime = MARCH, end: datetime = APRIL) -> Invoice:
    return Invoice.objects.create(
        tenant=tenant, issuer=default_issuer(), number=number, period_start=start, period_end=end, time_zone="UTC", currency="USD",
        seller={}, customer={}, net=100, tax=0, gross=100, issued_at=end, due_on=end.date(),
    )  # fmt: skip


def shown(*values: Any) -> list[Any]:
    return list(values)


def plan(tenant: Tenant, amount: str, *, kind: str = PREPAID, end: datetime = APRIL) -> list[tuple[str, Any]]:
    return [
        (use.reason, used) for use, used in planned_uses(tenant_id=tenant.id, kind=kind, currency="USD", amount=Decimal(amount), at=end)
    ]


def use(tenant: Tenant, amount: str, number: str = "1", **period: datetime) -> None:
    uses = planned_uses(tenant_id=tenant.id, kind=PREPAID, currency="USD", amount=Decimal(amount), at=APRIL)
    note_uses(invoice=invoice(tenant, number, **period), uses=uses, at=APRIL)


def test_what_expires_first_is_used_first_then_the_oldest_and_what_never_expires_last(tenant: Tenant) -> None:
    grant(tenant, "4.00", day=2)
    grant(tenant, "1.00", day=1)
    grant(tenant, "2.00", until=JUNE)
    grant(tenant, "3.00", until=MAY)
    assert plan(tenant, "7.50") == [("3.00", 3), ("2.00", 2), ("1.00", 1), ("4.00", Decimal("1.50"))]


def test_planning_writes_nothing_and_ends_where_there_is_no_more(tenant: Tenant) -> None:
    grant(tenant, "5.00")
    assert plan(tenant, "8.00") == plan(tenant, "8.00") == [("5.00", 5)]
    assert not CreditUse.objects.exists()
    assert plan(tenant, "0") == plan(tenant, "-3.00") == []


def test_kinds_and_currencies_do_not_mix(tenant: Tenant) -> None:
    grant(tenant, "5.00", kind=PROMOTIONAL)
    assert plan(tenant, "5.00", kind=PREPAID) == []
    assert planned_uses(tenant_id=tenant.id, kind=PROMOTIONAL, currency="EUR", amount=Decimal(5), at=APRIL) == []


def test_credit_pays_for_months_that_end_before_it_expires_however_late_their_invoice_comes(tenant: Tenant) -> None:
    grant(tenant, "5.00", until=APRIL)
    assert plan(tenant, "5.00", end=APRIL) == [("5.00", 5)]
    assert plan(tenant, "5.00", end=MAY) == []


def test_credit_of_others_is_not_planned(tenant: Tenant) -> None:
    grant(make_tenant(), "5.00")
    assert plan(tenant, "5.00") == []


def test_what_was_used_is_not_there_again(tenant: Tenant) -> None:
    grant(tenant, "5.00")
    use(tenant, "3.00")
    assert plan(tenant, "5.00", end=MAY) == [("5.00", 2)]
    assert AuditEvent.objects.filter(action="credit.used").get().sentence == "used $3.00 of credit for invoice 1"


def test_uses_that_were_planned_before_another_invoice_used_the_credit_are_refused(tenant: Tenant) -> None:
    grant(tenant, "5.00")
    stale = planned_uses(tenant_id=tenant.id, kind=PREPAID, currency="USD", amount=Decimal(4), at=APRIL)
    use(tenant, "3.00")
    with pytest.raises(Conflict, match="used meanwhile"):
        note_uses(invoice=invoice(tenant, "2", start=APRIL, end=MAY), uses=stale, at=MAY)
    assert CreditUse.objects.count() == 1


def test_the_database_refuses_to_use_more_than_there_is_or_of_another_tenant(tenant: Tenant) -> None:
    row = grant(tenant, "5.00")
    with pytest.raises(DatabaseError, match=r"only 5\.000 of the credit"), transaction.atomic():
        CreditUse.objects.create(tenant=tenant, grant=row, invoice=invoice(tenant, "1"), amount=Decimal("5.01"), at=APRIL)
    other = make_tenant()
    with pytest.raises(DatabaseError, match="another tenant"), transaction.atomic():
        CreditUse.objects.create(tenant=other, grant=row, invoice=invoice(other, "2"), amount=1, at=APRIL)


@pytest.mark.django_db(transaction=True)
def test_two_invoices_at_once_use_a_grant_once(tenant: Tenant) -> None:
    grant(tenant, "5.00")
    first, second = invoice(tenant, "1"), invoice(tenant, "2", start=APRIL, end=MAY)
    gate = threading.Barrier(2)
    refused: list[str] = []

    def issue(which: Invoice) -> None:
        try:
            uses = planned_uses(tenant_id=tenant.id, kind=PREPAID, currency="USD", amount=Decimal(4), at=APRIL)
            gate.wait()
            note_uses(invoice=which, uses=uses, at=APRIL)
        except Conflict as error:
            refused.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=carried(issue), args=[which]) for which in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["credit_used"]
    assert [row.amount for row in CreditUse.objects.all()] == [4]


def test_the_same_reference_grants_once_and_never_something_else(tenant: Tenant) -> None:
    assert grant(tenant, "5.00", reference="pi_1") == grant(tenant, "5.00", reference="pi_1")
    assert CreditGrant.objects.count() == AuditEvent.objects.filter(action="credit.granted").count() == 1
    with pytest.raises(Conflict, match="pi_1"):
        grant(tenant, "6.00", reference="pi_1")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("amount", {"amount": Decimal(0)}),
        ("amount", {"amount": Decimal("1.005")}),
        ("amount", {"amount": Decimal("NaN")}),
        ("amount", {"amount": Decimal("1e10")}),
        ("kind", {"kind": "gift"}),
        ("currency", {"currency": "usd"}),
        ("currency", {"currency": "EUR"}),
        ("reason", {"reason": " "}),
        ("reason", {"reason": "x" * 201}),
        ("expires_at", {"expires_at": APRIL - timedelta(seconds=1)}),
    ],
)
def test_credit_that_is_none_is_refused_at_its_field(tenant: Tenant, field: str, values: dict[str, object]) -> None:
    wish = {"kind": PROMOTIONAL, "amount": Decimal(5), "currency": "USD", "reason": "Welcome", "expires_at": None, **values}
    with at(MARCH + timedelta(days=3)), pytest.raises(InvalidInput) as refusal:
        grant_credit(by=DESK, tenant=tenant, **wish)  # type: ignore[arg-type]
    assert set(refusal.value.errors) == {field}
    assert not CreditGrant.objects.exists()


def test_money_that_was_received_is_kept_in_the_currency_it_came_in(tenant: Tenant) -> None:
    with at(MARCH):
        grant_credit(by=DESK, tenant=tenant, kind=PREPAID, amount=Decimal(5), currency="EUR", reason="Card")
        assert balance_of(tenant=tenant, at=MARCH).total == 0


def test_the_balance_is_what_can_still_be_used(tenant: Tenant) -> None:
    grant(tenant, "10.00")
    grant(tenant, "5.00", kind=PROMOTIONAL, until=APRIL)
    use(tenant, "3.00")
    found = balance_of(tenant=tenant, at=MARCH)
    assert shown(found.promotional, found.prepaid, found.total, found.currency) == [5, 7, 12, "USD"]
    assert balance_of(tenant=tenant, at=APRIL).promotional == 5, "the invoice of March has not been written yet"
    Account.objects.update(billed_until=APRIL)
    assert balance_of(tenant=tenant, at=APRIL).promotional == 0


def test_the_history_shows_each_grant_with_its_uses_and_until_when_it_pays(tenant: Tenant) -> None:
    grant(tenant, "10.00", until=MAY)
    use(tenant, "3.00")
    (row,) = grants_of(access=access_for(tenant), at=MARCH)
    assert shown(row.used, row.left, row.pays_until, row.expired) == [3, 7, date(2026, 4, 30), False]
    assert [shown(each.invoice.number, each.amount) for each in row.grant.uses.all()] == [["1", 3]]
    Account.objects.update(billed_until=MAY)
    (row,) = grants_of(access=access_for(tenant), at=MAY)
    assert row.expired


def test_only_who_may_see_billing_sees_the_history(tenant: Tenant) -> None:
    viewer = make_user()
    join(tenant, viewer, role=Role.VIEWER)
    with pytest.raises(Forbidden):
        grants_of(access=access_for(tenant, viewer), at=MARCH)


class TestAfterThisMonthsSpend:
    """One host at $1 an hour since the first of March."""

    @pytest.fixture(autouse=True)
    def _bay(self, tenant: Tenant) -> None:
        make_cloud()
        make_flavor(price="1")
        with at(MARCH):
            make_bay(tenant)

    def left(self, tenant: Tenant, hours: float) -> tuple[Any, Any]:
        found = balance_after_spend(account=account_of(tenant=tenant), at=MARCH + timedelta(hours=hours))
        return found.promotional, found.prepaid

    def test_promotional_credit_goes_before_prepaid(self, tenant: Tenant) -> None:
        grant(tenant, "10.00", kind=PROMOTIONAL)
        grant(tenant, "20.00")
        assert self.left(tenant, 4) == (6, 20)
        assert self.left(tenant, 15) == (0, 15)
        assert self.left(tenant, 100) == (0, 0)

    def test_prepaid_credit_pays_the_tax_too(self, tenant: Tenant) -> None:
        grant(tenant, "10.00", kind=PROMOTIONAL)
        grant(tenant, "20.00")
        issuer = default_issuer()
        issuer.country = "LU"
        issuer.save()
        TaxRate.objects.create(country="LU", percent=Decimal(17), starts_on=date(2020, 1, 1))
        assert self.left(tenant, 20) == (0, Decimal("8.30"))

    def test_a_month_that_is_not_invoiced_yet_takes_its_share_first(self, tenant: Tenant) -> None:
        grant(tenant, "100.00", kind=PROMOTIONAL, until=APRIL)
        grant(tenant, "1000.00")
        hours_of_march = 31 * 24
        assert self.left(tenant, hours_of_march + 10) == (0, 1000 - (hours_of_march - 100) - 10)

    def test_estimates_say_what_is_left_in_words(self, tenant: Tenant) -> None:
        account = account_of(tenant=tenant)
        assert remaining_of(account=account, at=MARCH).rows == ()
        grant(tenant, "20.00")
        (row,) = remaining_of(account=account, at=MARCH + timedelta(hours=5)).rows
        assert shown(row.label, row.left, row.currency) == ["Credit", 15, "USD"]
        assert row.sentence == "$15.00 of credit are left after what was used so far."
