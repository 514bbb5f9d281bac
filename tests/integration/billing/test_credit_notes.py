"""What was invoiced and should not have been is taken back by a credit note; the invoice itself stays as it was."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.billing.invoices.closing import issue_period
from apps.billing.invoices.credit_notes import issue_credit_note
from apps.billing.models import Account, Invoice, Issuer, TaxRate
from apps.billing.receivables.dunning import run_dunning
from apps.billing.receivables.owed import owed, with_credited
from apps.common.errors import Conflict, Forbidden, InvalidInput, NotFound
from apps.common.scope import in_tenant
from apps.tenants.models import Tenant
from tests.factories import make_cloud, make_flavor, make_tenant, make_user, owner_of
from tests.integration.billing.clock import at
from tests.integration.billing.months import APRIL, JUNE, MARCH, MAY, make_account, make_plan, use

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
Lines = Sequence[tuple[int, Decimal]] | None


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="0.010")
    tenant = make_tenant()
    make_account(tenant, country="DE")
    Issuer.objects.create(code="main", legal_name="Seller", country="DE", is_default=True)
    TaxRate.objects.create(country="DE", percent=Decimal(19), starts_on=MARCH.date())
    return tenant


@pytest.fixture
def invoice(tenant: Tenant) -> Invoice:
    """Web for 10.00 and db for 5.00, with 2.85 of tax."""
    use(tenant, MARCH, MARCH + 500 * HOUR, hosts=2)
    use(tenant, MARCH, MARCH + 500 * HOUR, bay="db")
    issued = issue_period(tenant_id=tenant.id, at=APRIL + HOUR)
    assert issued is not None
    assert issued.gross == Decimal("17.85")
    return issued


def operator() -> User:
    return User.objects.filter(is_superuser=True).first() or User.objects.create_superuser("operator@example.com")


def credit(invoice: Invoice, lines: Lines = None, reason: str = "A mistake of ours") -> Invoice:
    with at(MAY):
        return issue_credit_note(by=operator(), invoice_id=invoice.id, lines=lines, reason=reason)


def test_a_hold_for_an_unpaid_invoice_ends_in_the_moment_it_is_taken_back(tenant: Tenant, invoice: Invoice) -> None:
    with at(JUNE):
        run_dunning(at=JUNE)
    assert tenant.holds.get().code == "payment_overdue"
    credit(invoice)
    assert not tenant.holds.exists()


def test_a_whole_invoice_is_taken_back_and_cancelled(invoice: Invoice) -> None:
    note = credit(invoice)
    invoice.refresh_from_db()
    assert (note.kind, note.number, note.corrects_id) == ("credit_note", "C-2026-000001", invoice.id)
    assert (note.net, note.tax, note.gross, note.tax_percent) == (Decimal(-15), Decimal("-2.85"), Decimal("-17.85"), Decimal(19))
    assert list(note.lines.order_by("position").values_list("position", "kind", "amount")) == [
        (1, "correction", Decimal(-5)),
        (2, "correction", Decimal(-10)),
    ]
    assert (invoice.state, invoice.gross, owed(invoice=invoice), owed(invoice=note)) == (
        "cancelled",
        Decimal("17.85"),
        Decimal(0),
        Decimal(0),
    )
    assert (note.seller, note.customer, note.note) == (invoice.seller, invoice.customer, "A mistake of ours")


def test_a_part_lowers_what_is_owed(invoice: Invoice) -> None:
    note = credit(invoice, [(2, Decimal("4.00"))])
    invoice.refresh_from_db()
    assert (note.net, note.tax) == (Decimal(-4), Decimal("-0.76"))
    assert (invoice.state, owed(invoice=invoice)) == ("open", Decimal("13.09"))
    assert owed(invoice=with_credited(invoices=Invoice.objects.all()).get(id=invoice.id)) == Decimal("13.09")


def test_parts_never_add_up_to_more_than_the_whole_to_the_cent_of_its_tax(invoice: Invoice) -> None:
    for _ in range(3):
        credit(invoice, [(1, Decimal("0.03"))])
    last = credit(invoice)
    notes = Invoice.objects.filter(corrects=invoice)
    assert last.number == "C-2026-000004"
    assert sum(note.net for note in notes) == -invoice.net
    assert sum(note.tax for note in notes) == -invoice.tax
    invoice.refresh_from_db()
    assert invoice.state == "cancelled"
    with pytest.raises(Conflict, match="Nothing is left"):
        credit(invoice)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([(1, Decimal("5.01"))], r"Of line 1 at most \$5.00 can still be credited."),
        ([(1, Decimal(3)), (1, Decimal(3))], r"Of line 1 at most \$5.00 can still be credited."),
        ([(3, Decimal(1))], "has no line 3."),
        ([(1, Decimal(0))], "more than 0"),
        ([(1, Decimal(-1))], "more than 0"),
        ([(1, Decimal("0.005"))], "whole cents"),
        ([(1, Decimal("NaN"))], "more than 0"),
        ([], "Name at least one line"),
    ],
)
def test_amounts_that_cannot_be_are_refused(invoice: Invoice, lines: Lines, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        credit(invoice, lines)
    assert not Invoice.objects.filter(kind="credit_note").exists()


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_a_reason_must_be_given(invoice: Invoice, reason: str) -> None:
    with pytest.raises(InvalidInput, match="Say why"):
        credit(invoice, reason=reason)


def test_what_a_discount_took_off_is_not_given_back(tenant: Tenant) -> None:
    make_plan(tenant, discount_percent=Decimal(50))
    use(tenant, MARCH, MARCH + 500 * HOUR)
    invoice = issue_period(tenant_id=tenant.id, at=APRIL + HOUR)
    assert invoice is not None
    with pytest.raises(InvalidInput, match=r"At most \$2.50 of this invoice"):
        credit(invoice, [(1, Decimal(5))])
    assert credit(invoice, [(1, Decimal(2))]).net == -2
    assert credit(invoice).net == Decimal("-0.50")


def test_what_was_paid_already_is_to_be_given_back(invoice: Invoice) -> None:
    Invoice.objects.filter(id=invoice.id).update(paid=Decimal("17.85"), state="paid")
    credit(invoice, [(1, Decimal(1))])
    invoice.refresh_from_db()
    assert (invoice.state, owed(invoice=invoice)) == ("paid", Decimal("-1.19"))


def test_an_open_invoice_of_which_the_rest_is_credited_is_paid(invoice: Invoice) -> None:
    Invoice.objects.filter(id=invoice.id).update(paid=Decimal("11.90"))
    credit(invoice, [(1, Decimal(5))])
    invoice.refresh_from_db()
    assert (invoice.state, owed(invoice=invoice)) == ("paid", Decimal(0))


def test_a_credit_note_is_in_the_log_with_who_wrote_it(invoice: Invoice) -> None:
    credit(invoice)
    event = AuditEvent.objects.get(action="credit_note.issued")
    assert (event.tenant_id, event.actor_label) == (invoice.tenant_id, "operator@example.com")
    assert event.sentence == "credited $17.85 of invoice 2026-000001 by C-2026-000001: A mistake of ours"


def test_nobody_but_operators_writes_credit_notes(invoice: Invoice, tenant: Tenant) -> None:
    retired = User.objects.create_superuser("retired@example.com")
    User.objects.filter(id=retired.id).update(is_active=False)
    for user in (owner_of(tenant), make_user(), retired):
        with pytest.raises(Forbidden):
            issue_credit_note(by=user, invoice_id=invoice.id, lines=None, reason="Mine")
    assert not Invoice.objects.filter(kind="credit_note").exists()


def test_there_is_nothing_to_correct_about_what_does_not_exist_or_is_a_note(invoice: Invoice) -> None:
    note = credit(invoice, [(1, Decimal(1))])
    for unknown in (uuid4(), note.id):
        with pytest.raises(NotFound):
            issue_credit_note(by=operator(), invoice_id=unknown, lines=None, reason="Why not")


def test_an_invoice_of_nothing_cannot_be_credited(tenant: Tenant) -> None:
    make_plan(tenant, allowance=Decimal(100))
    use(tenant, MARCH, APRIL)
    invoice = issue_period(tenant_id=tenant.id, at=APRIL + HOUR)
    assert invoice is not None
    with pytest.raises(Conflict, match="Nothing is left"):
        credit(invoice)


def test_a_credit_note_does_not_bill_its_month_anew(invoice: Invoice, tenant: Tenant) -> None:
    credit(invoice)
    use(tenant, MARCH, MARCH + HOUR, bay="db2")
    following = issue_period(tenant_id=tenant.id, at=MAY + HOUR)
    assert following is not None
    assert list(following.lines.values_list("kind", "amount")) == [("late", Decimal("0.01"))]


def test_a_strangers_notes_are_not_there(invoice: Invoice) -> None:
    credit(invoice)
    with in_tenant(make_tenant().id):
        assert not Invoice.objects.exists()
    with in_tenant(invoice.tenant_id):
        assert Invoice.objects.count() == 2
    assert Account.objects.count() == 1
