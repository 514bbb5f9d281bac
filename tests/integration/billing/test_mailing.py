"""Each invoice is mailed once, with its PDF, to those who pay; one that cannot be sent stays due and stops no other."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from smtplib import SMTPServerDisconnected
from typing import Any
from unittest.mock import patch

import pytest
from django.core import mail
from django.core.mail import EmailMessage

from apps.billing.invoices import mailing
from apps.billing.invoices.issued import pdf_of
from apps.billing.invoices.mailing import mail_invoice, render_and_mail
from apps.billing.models import Account, Invoice
from apps.tenants.models import Membership, Tenant
from apps.tenants.roles import Role
from tests.factories import join, make_user, owner_of
from tests.integration.billing.debts import credit, make_invoice
from tests.integration.billing.papers import billed_tenant, issued

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Iterator[Tenant]:
    with patch.object(mailing, "pdf_of", lambda *, invoice: b"%PDF-1.7 " + invoice.number.encode()):  # rendered elsewhere
        yield billed_tenant()


def body() -> str:
    return " ".join(str(mail.outbox[-1].body).split())


def test_an_invoice_is_mailed_with_the_pdf_that_is_kept() -> None:
    invoice = issued(billed_tenant())
    assert render_and_mail() == 1
    (sent,) = mail.outbox
    assert sent.attachments == [(f"{invoice.number}.pdf", pdf_of(invoice=invoice), "application/pdf")]
    assert invoice.number in sent.subject
    assert "$11.90 due on 15 April 2026" in sent.subject
    for part in (
        "what was used from 1 March 2026 until 31 March 2026", "Total: $11.90", "To pay: $11.90 by 15 April 2026",
        f"/t/acme/billing/invoices/{invoice.number}", f"with the reference {invoice.number}: Harbour Bank IBAN DE02",
    ):  # fmt: skip
        assert part in body()


def test_it_is_mailed_once_however_often_the_task_runs(tenant: Tenant) -> None:
    invoice = make_invoice(tenant)
    assert render_and_mail() == 1
    assert Invoice.objects.get().mailed_at is not None
    assert render_and_mail() == 0
    assert not mail_invoice(invoice_id=invoice.id)
    assert len(mail.outbox) == 1


def test_of_two_workers_with_the_same_invoice_one_mails_it(tenant: Tenant) -> None:
    invoice = make_invoice(tenant)

    def rendered_while_the_other_mails(**_: Any) -> bytes:
        with patch.object(mailing, "pdf_of", lambda **_: b"%PDF"):
            assert mail_invoice(invoice_id=invoice.id)
        return b"%PDF"

    with patch.object(mailing, "pdf_of", rendered_while_the_other_mails):
        assert not mail_invoice(invoice_id=invoice.id)
    assert len(mail.outbox) == 1


def test_it_goes_to_the_address_of_the_billing_details_and_to_owners_and_billing_members_in_mails_of_their_own(tenant: Tenant) -> None:
    Account.objects.update(email="bills@acme.example")
    payer, viewer = make_user("payer@acme.example"), make_user()
    join(tenant, payer, role=Role.BILLING)
    join(tenant, viewer, role=Role.VIEWER)
    make_invoice(tenant)
    assert render_and_mail() == 1
    assert [sent.to for sent in mail.outbox] == [["bills@acme.example"], *sorted([[owner_of(tenant).email], [payer.email]])]


def test_a_mail_server_that_is_away_leaves_it_due(tenant: Tenant) -> None:
    make_invoice(tenant)
    with patch("django.core.mail.backends.locmem.EmailBackend.open", side_effect=ConnectionRefusedError):
        assert render_and_mail() == 0
    with patch.object(EmailMessage, "send", side_effect=SMTPServerDisconnected):
        assert render_and_mail() == 0
    assert Invoice.objects.get().mailed_at is None
    assert render_and_mail() == 1


def test_one_recipient_who_is_refused_does_not_keep_it_from_the_others(tenant: Tenant) -> None:
    Account.objects.update(email="bad@acme.example")
    make_invoice(tenant)
    send = EmailMessage.send

    def refusing(message: EmailMessage, fail_silently: bool = False) -> int:
        if message.to == ["bad@acme.example"]:
            raise SMTPServerDisconnected
        return send(message, fail_silently)

    with patch.object(EmailMessage, "send", refusing):
        assert render_and_mail() == 1
    assert [sent.to for sent in mail.outbox] == [[owner_of(tenant).email]]
    assert Invoice.objects.get().mailed_at is not None


def test_one_that_cannot_be_rendered_stops_no_other(tenant: Tenant) -> None:
    broken, fine = make_invoice(tenant), make_invoice(tenant)

    def rendered(*, invoice: Invoice) -> bytes:
        if invoice.id == broken.id:
            raise ValueError("no glyph")
        return b"%PDF"

    with patch.object(mailing, "pdf_of", rendered):
        assert render_and_mail() == 1
    assert fine.number in mail.outbox[0].subject
    assert Invoice.objects.get(mailed_at=None) == broken


def test_with_nobody_to_send_it_to_it_stays_due(tenant: Tenant) -> None:
    Membership.objects.update(role=Role.VIEWER)
    make_invoice(tenant)
    assert render_and_mail() == 0
    assert Invoice.objects.get().mailed_at is None


def test_an_invoice_of_nothing_is_mailed_and_asks_for_nothing(tenant: Tenant) -> None:
    make_invoice(tenant, "0.00")
    assert render_and_mail() == 1
    assert "nothing to pay" in mail.outbox[0].subject
    assert "There is nothing to pay." in body()
    assert "bank transfer" not in body()


def test_an_amount_in_favour_is_called_that(tenant: Tenant) -> None:
    make_invoice(tenant, "-5.00", paid=Decimal("-5.00"))
    assert render_and_mail() == 1
    assert "$5.00 were added to your prepaid credit" in body()


def test_a_credit_note_says_what_it_takes_back(tenant: Tenant) -> None:
    invoice = make_invoice(tenant, number="2026-000009", due_on=date(2026, 5, 1))
    assert render_and_mail() == 1
    note = credit(invoice, "20.00")
    assert render_and_mail() == 1
    assert f"Credit note {note.number}" in mail.outbox[-1].subject
    assert "takes back $20.00 of invoice 2026-000009" in body()
    assert "bank transfer" not in body()
