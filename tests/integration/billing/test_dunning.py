"""Who does not pay is reminded by days, then may not grow, and may at once again when they have paid. Nothing ever stops or is deleted."""

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from smtplib import SMTPServerDisconnected
from typing import Any
from unittest.mock import patch

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from pytest_django import Settings

from apps.audit.models import AuditEvent
from apps.audit.services import Actor
from apps.bays.models import Bay
from apps.bays.services import create_bay, resize_bay
from apps.bays.spec import parse_spec
from apps.billing import tasks
from apps.billing.models import Account, Invoice, Payment, Reminder
from apps.billing.payments.services import record_payment, record_refund
from apps.billing.receivables.dunning import mail_reminders, run_dunning
from apps.billing.receivables.overdue import refresh_hold
from apps.billing.terms.accounts import account_of
from apps.billing.terms.recipients import recipients_of
from apps.common.clock import now
from apps.common.errors import Conflict
from apps.common.scope import as_system
from apps.tenants.models import Hold, Tenant
from apps.tenants.roles import Role
from carina_portal import env
from tests.factories import access_for, api_of, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of
from tests.integration.billing.debts import DUE_ON, credit, make_invoice

pytestmark = pytest.mark.django_db
US = Actor.system("tests")


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("ann", owner=make_user("ann@example.com"))


def day(number: int, hour: int = 12) -> datetime:
    """So many days after the invoices were due."""
    return datetime(DUE_ON.year, DUE_ON.month, DUE_ON.day, hour, tzinfo=UTC) + timedelta(days=number)


def taken() -> list[str]:
    return list(Reminder.objects.order_by("at", "id").values_list("step", flat=True))


def pay(invoice: Invoice, amount: str, reference: str = "transfer") -> Payment:
    values = {"provider": "manual", "currency": invoice.currency, "received_at": now()}
    return record_payment(by=US, invoice=invoice, reference=reference, amount=Decimal(amount), **values)  # type: ignore[arg-type]


def grow(tenant: Tenant) -> None:
    create_bay(access=access_for(tenant), spec=parse_spec(data={"name": "more", "coe": "swarm", "flavor": "c1.small", "node_count": 1}))


def test_each_step_is_taken_on_its_day_and_once(tenant: Tenant) -> None:
    make_invoice(tenant)
    steps = []
    for number in range(20):
        for hour in (0, 12, 23):
            run_dunning(at=day(number, hour))
        steps.append(len(taken()))
    assert steps == [0] * 3 + [1] * 7 + [2] * 7 + [3] * 3
    assert taken() == ["reminder-1", "reminder-2", "restriction"]
    assert [event.action for event in AuditEvent.objects.filter(action__startswith="invoice.").order_by("at")] == [
        "invoice.reminded", "invoice.reminded", "invoice.restricted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "first"),
    [("Pacific/Auckland", "2026-03-17T11:00Z"), ("UTC", "2026-03-18T00:00Z"), ("America/Los_Angeles", "2026-03-18T07:00Z")],
)
def test_the_day_begins_when_it_does_where_the_account_is(zone: str, first: str, tenant: Tenant) -> None:
    account_of(tenant=tenant)
    Account.objects.update(time_zone=zone)
    make_invoice(tenant)
    moment = datetime.fromisoformat(first)
    assert run_dunning(at=moment - timedelta(seconds=1)).taken == 0
    assert run_dunning(at=moment).taken == 1


def test_of_several_steps_that_were_missed_only_the_newest_is_taken_and_mailed(tenant: Tenant) -> None:
    make_invoice(tenant)
    run = run_dunning(at=day(30))
    assert (run.taken, run.restricted, taken()) == (1, 1, ["restriction"])
    assert mail_reminders() == 1
    assert len(mail.outbox) == 1
    assert run_dunning(at=day(31)).taken == 0


def test_of_several_mails_that_did_not_go_out_only_the_newest_is_sent(tenant: Tenant) -> None:
    make_invoice(tenant)
    run_dunning(at=day(3))
    with patch("django.core.mail.EmailMessage.send", side_effect=SMTPServerDisconnected):
        assert mail_reminders() == 0
    run_dunning(at=day(10))
    assert mail_reminders() == 1
    assert mail_reminders() == 0
    (sent,) = mail.outbox
    assert Reminder.objects.exclude(mailed_at=None).get().step == "reminder-2"
    assert "is not paid yet" in sent.subject


def test_a_mail_says_what_is_owed_what_happens_when_and_where_to_pay(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "1120.00")
    pay(invoice, "20.00")
    run_dunning(at=day(3))
    mail_reminders()
    (sent,) = mail.outbox
    text = str(sent.body)
    assert sent.subject == f"Reminder: invoice {invoice.number} of Ann is not paid yet"
    assert "$1,100.00 are still to be paid. It was due on 15 March 2026." in text
    assert "by 1 April 2026, no bays can be created" in text
    assert f"/t/ann/billing/invoices/{invoice.number}\n" in text
    assert "Harbour Bank, IBAN XX12 3456 7890" in text
    run_dunning(at=day(17))
    mail_reminders()
    last = mail.outbox[-1]
    assert last.subject == f"No growth of Ann until invoice {invoice.number} is paid"
    assert "What runs goes on, and nothing is deleted." in str(last.body)


def test_owners_billing_members_and_the_address_of_the_details_get_a_mail_each(tenant: Tenant) -> None:
    people = {role: make_user(f"{role}@example.com") for role in Role if role != Role.OWNER}
    for role, user in people.items():
        join(tenant, user, role=role)
    gone = make_user("gone@example.com")
    join(tenant, gone, role=Role.BILLING)
    gone.is_active = False
    gone.save()
    account = account_of(tenant=tenant)
    account.email = "Books@example.com"
    account.save()
    assert recipients_of(account) == ["Books@example.com", "ann@example.com", "billing@example.com"]
    account.email = "ANN@example.com"
    assert recipients_of(account) == ["ANN@example.com", "billing@example.com"]
    make_invoice(tenant)
    run_dunning(at=day(3))
    mail_reminders()
    assert sorted(address for sent in mail.outbox for address in sent.to) == ["Books@example.com", "ann@example.com", "billing@example.com"]
    assert all(len(sent.to) == 1 and not sent.cc and not sent.bcc for sent in mail.outbox)


def test_with_the_restriction_nothing_grows_and_what_runs_goes_on(tenant: Tenant) -> None:
    make_cloud()
    make_flavor()
    bay = make_bay(tenant, node_count=2)
    invoice = make_invoice(tenant, "120.00")
    run_dunning(at=day(16))
    assert not Hold.objects.exists()
    run_dunning(at=day(17))
    with pytest.raises(Conflict) as refused:
        grow(tenant)
    assert refused.value.code == "payment_overdue"
    assert f"Invoice {invoice.number} ($120.00) is overdue" in refused.value.detail
    assert "/t/ann/billing/invoices" in refused.value.detail
    with pytest.raises(Conflict):
        resize_bay(access=access_for(tenant), reference=bay.name, node_count=3)
    answer = api_of(tenant).post("tenants/ann/bays", {"name": "more", "coe": "swarm", "flavor": "c1.small", "node_count": 1})
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_overdue")
    assert Bay.objects.get().delete_requested_at is None
    assert bay.hosts.filter(state="ready", delete_requested_at=None).count() == 2
    resize_bay(access=access_for(tenant), reference=bay.name, node_count=1)


def test_the_payment_lifts_the_hold_at_once(tenant: Tenant) -> None:
    make_cloud()
    make_flavor()
    invoice = make_invoice(tenant, "120.00")
    run_dunning(at=day(17))
    pay(invoice, "119.99", "first")
    assert "($0.01)" in Hold.objects.get().sentence
    pay(invoice, "0.01", "second")
    assert not Hold.objects.exists()
    grow(tenant)
    assert run_dunning(at=day(18)).taken == 0
    assert not Hold.objects.exists()


def test_the_hold_names_every_invoice_that_it_waits_for_and_no_other(tenant: Tenant) -> None:
    rows = [make_invoice(tenant, f"{number}.00", due_on=DUE_ON + timedelta(days=number)) for number in range(1, 8)]
    make_invoice(tenant, due_on=DUE_ON + timedelta(days=20))
    make_invoice(make_tenant("bob"), due_on=DUE_ON + timedelta(days=20))
    run_dunning(at=day(19))
    assert f"Invoices {rows[0].number} ($1.00) and {rows[1].number} ($2.00) are overdue" in Hold.objects.get().sentence
    run_dunning(at=day(24))
    assert f"{rows[4].number} ($5.00) and 2 more are overdue" in Hold.objects.get().sentence
    for row in rows:
        pay(row, str(row.gross), row.number)
    assert not Hold.objects.exists()


def test_a_credit_note_counts_like_a_payment(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    run_dunning(at=day(17))
    credit(invoice, "120.00")
    assert not refresh_hold(tenant_id=tenant.id)
    assert not Hold.objects.exists()


def test_money_that_went_back_brings_the_hold_back(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, "120.00")
    run_dunning(at=day(17))
    payment = pay(invoice, "120.00")
    record_refund(by=US, payment=payment, total=Decimal(120), at=now())
    assert "($120.00)" in Hold.objects.get().sentence


def test_holds_of_other_causes_are_left_alone(tenant: Tenant) -> None:
    Hold.objects.create(tenant=tenant, code="budget:1", sentence="The budget is used up.", created_at=now())
    invoice = make_invoice(tenant)
    run_dunning(at=day(17))
    assert set(Hold.objects.values_list("code", flat=True)) == {"budget:1", "payment_overdue"}
    pay(invoice, "120.00")
    assert Hold.objects.get().code == "budget:1"


def test_nobody_is_reminded_of_what_is_paid_cancelled_or_a_credit_note(tenant: Tenant) -> None:
    make_invoice(tenant, state=Invoice.State.PAID, paid=Decimal(120))
    cancelled = make_invoice(tenant, state=Invoice.State.CANCELLED)
    credit(cancelled, "120.00")
    assert run_dunning(at=day(30)).taken == 0
    invoice = make_invoice(tenant)
    run_dunning(at=day(3))
    pay(invoice, "120.00")
    assert mail_reminders() == 0
    assert mail.outbox == []


def test_one_mail_that_cannot_be_sent_is_tried_again_and_stops_no_other(tenant: Tenant) -> None:
    make_invoice(tenant)
    make_invoice(make_tenant("bob", owner=make_user("bob@example.com")))
    run_dunning(at=day(3))
    send = mail.EmailMessage.send

    def broken(message: Any, *arguments: Any, **named: Any) -> int:
        if message.to == ["ann@example.com"]:
            raise SMTPServerDisconnected
        return send(message, *arguments, **named)

    with patch("django.core.mail.EmailMessage.send", broken):
        assert mail_reminders() == 1
    assert [sent.to for sent in mail.outbox] == [["bob@example.com"]]
    assert mail_reminders() == 1
    assert [sent.to for sent in mail.outbox] == [["bob@example.com"], ["ann@example.com"]]


def test_one_tenant_that_fails_stops_no_other(tenant: Tenant) -> None:
    other = make_tenant("bob")
    for each in (tenant, other):
        make_invoice(each)
    Account.objects.filter(tenant=tenant).update(time_zone="Nowhere/At_All")
    run = run_dunning(at=day(3))
    assert (run.taken, run.failed) == (1, [tenant.id])
    assert Reminder.objects.get().tenant_id == other.id


def test_a_run_that_was_cut_off_anywhere_is_made_up_for(tenant: Tenant) -> None:
    make_invoice(tenant)
    with patch("apps.billing.receivables.dunning.refresh_hold", side_effect=SystemExit), pytest.raises(SystemExit):
        run_dunning(at=day(17))
    assert taken() == []
    run_dunning(at=day(17))
    with patch("apps.billing.receivables.dunning._send", side_effect=SystemExit), pytest.raises(SystemExit):
        mail_reminders()
    assert mail_reminders() == 1
    assert (taken(), len(mail.outbox)) == (["restriction"], 1)
    assert Hold.objects.count() == 1


def test_days_are_settings(tenant: Tenant, settings: Settings) -> None:
    settings.DUNNING_DAYS = (1, 2)
    make_invoice(tenant)
    run_dunning(at=day(1))
    run_dunning(at=day(2))
    assert taken() == ["reminder-1", "restriction"]


@pytest.mark.parametrize(("text", "days"), [("3,10,17", (3, 10, 17)), ("5", (5,)), (" 1, 2", (1, 2))])
def test_days_are_read_from_the_environment(text: str, days: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_DAYS", text)
    assert env.days("SOME_DAYS", "9") == days


@pytest.mark.parametrize("text", ["", "10,3", "3,3", "three", "-1", "1.5", "1,x"])
def test_days_that_do_not_ascend_are_an_error_of_the_configuration(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_DAYS", text)
    with pytest.raises(ImproperlyConfigured, match="each larger than the one before"):
        env.days("SOME_DAYS", "3,10,17")


def test_the_task_reminds_and_mails(tenant: Tenant) -> None:
    make_invoice(tenant, due_on=date(2020, 1, 1))
    tasks.dun()
    tasks.mail_reminders()
    assert (taken(), len(mail.outbox)) == (["restriction"], 1)
    assert mail.outbox[0].to == [owner_of(tenant).email]


@pytest.mark.django_db(transaction=True)
def test_many_at_once_take_one_step_and_send_one_mail() -> None:
    tenants = [make_tenant(f"crowd-{number}", owner=make_user(f"crowd-{number}@example.com")) for number in range(3)]
    for each in tenants:
        make_invoice(each)
    failures: list[object] = []

    def dun() -> None:
        try:
            with as_system("tests"):
                failures.extend(run_dunning(at=day(17)).failed)
                mail_reminders()
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=dun) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert taken() == ["restriction"] * 3
    assert sorted(sent.to[0] for sent in mail.outbox) == [f"crowd-{number}@example.com" for number in range(3)]


@pytest.mark.django_db(transaction=True)
def test_a_payment_and_a_run_at_the_same_moment_leave_no_hold_behind() -> None:
    for number in range(5):
        invoice = make_invoice(make_tenant(f"race-{number}"))
        failures: list[BaseException] = []

        def act(step: Any, failures: list[BaseException] = failures) -> None:
            try:
                with as_system("tests"):
                    step()
            except BaseException as error:  # noqa: BLE001 - shown below
                failures.append(error)
            finally:
                connection.close()

        threads = [
            threading.Thread(target=act, args=(lambda: run_dunning(at=day(17)),)),
            threading.Thread(target=act, args=(lambda invoice=invoice: pay(invoice, "120.00", invoice.number),)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert not Hold.objects.exists()
