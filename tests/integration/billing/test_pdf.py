"""The PDF says what the invoice says, on as many pages as it takes, is kept once, and never changes."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from unittest.mock import patch

import pytest
from django.db import DatabaseError, transaction

from apps.billing.invoices import issued as issued_module
from apps.billing.invoices.credit_notes import issue_credit_note
from apps.billing.invoices.documents import document_of
from apps.billing.invoices.issued import pdf_of
from apps.billing.invoices.pdf import COLUMNS, WIDTH, covered, render
from apps.billing.models import Invoice
from apps.billing.taxes.rules import REVERSE_CHARGE
from tests.factories import make_user
from tests.integration.billing.clock import at
from tests.integration.billing.months import MAY
from tests.integration.billing.papers import CUSTOMER, billed_tenant, document, issued, line, text_of


def words(pdf: bytes) -> str:
    return " ".join(text_of(pdf).split())


def test_it_says_who_sells_what_to_whom_and_what_it_comes_to() -> None:
    said = words(render(document=document(prepaid="2.00")))
    for part in (
        "Invoice 2026-000017", "Hafenwolke GmbH", "20457 Hamburg", "Germany", "VAT ID DE136695976", "Acme B.V.", "VAT ID NL004495445B01",
        "1 April 2026", "15 April 2026", "1 March 2026", "31 March 2026", "Europe/Berlin", "Pay as you go",
        "web: 744.00 host-hours of c1.small on local 744.00 0.0100 7.44",
        "Net €7.44", "VAT 19 % €1.41", "Total €8.85", "Paid from prepaid credit −€2.00", "Amount due €6.85",
        "Please pay €6.85 by 15 April 2026, naming 2026-000017.", "IBAN DE02 1203 0000 0000 2020 51",
    ):  # fmt: skip
        assert part in said


def test_without_tax_it_says_why() -> None:
    said = words(render(document=document(tax_percent="0", tax_text=REVERSE_CHARGE)))
    assert REVERSE_CHARGE in said
    assert "VAT 0" not in said


def test_late_usage_is_called_that() -> None:
    late = line(2, "old: 10.00 host-hours", "0.10", kind="late", hours=10, used_from=datetime(2026, 1, 31, 23, tzinfo=UTC))
    said = words(render(document=document(lines=[line(1, "web", "1.00", hours=100), late])))
    assert "(used in February 2026, recorded after its invoice)" in said


def test_nothing_to_pay_asks_for_nothing() -> None:
    said = words(render(document=document(prepaid="8.85")))
    assert "paid from prepaid credit" in said
    assert "Please pay" not in said


def test_an_amount_in_favour_of_the_customer_is_added_to_their_credit() -> None:
    late = line(1, "old", "-5.00", kind="late", hours=-50)
    said = words(render(document=document(lines=[late], tax_percent="0", prepaid="-5.00")))
    assert "added to your prepaid credit" in said
    assert "Amount due €0.00" in said


def test_a_credit_note_says_what_it_corrects_and_asks_for_nothing() -> None:
    note = document(
        lines=[line(1, "web", "-2.00", kind="correction")], number="C-2026-000001", corrects="2026-000017", note="An outage of ours."
    )
    said = words(render(document=note))
    for part in ("Credit note", "C-2026-000001", "Corrects 2026-000017", "Credited to you", "€2.38", "An outage of ours."):
        assert part in said
    assert "Please pay" not in said
    assert "Due" not in said


def test_a_hundred_lines_take_pages_with_a_head_each_and_add_up_on_the_last() -> None:
    many = [line(number, f"bay-{number:03}: 744.00 host-hours", "7.44", hours=744) for number in range(1, 101)]
    pages = text_of(render(document=document(lines=many))).split("\f")[:-1]
    assert len(pages) == 4
    for number, page in enumerate(pages, start=1):
        assert f"{number}/4" in page.replace(" ", "")
        assert "Hafenwolke GmbH" in page
    assert all("Host-hours" in page for page in pages[:3])
    assert all(sum(f"bay-{number:03}:" in page for page in pages) == 1 for number in range(1, 101))
    assert "€885.36" in pages[3]


@pytest.mark.parametrize(
    "name",
    [
        "Łódź Größe Ñandú", "ООО «Ромашка»", "Ελληνικά", "株式会社カリーナ", "שלום", "شركة", "ประเทศไทย", "हिन्दी",
        "😀 smile", "a" * 200, "\u202eright", "{nb} %s **bold** <b>&amp;", "tab\tand\x0bmore",
    ],
)  # fmt: skip
def test_no_name_stops_it(name: str) -> None:
    strange = document(lines=[line(1, name, "1.00")], customer=replace(CUSTOMER, name=name, address=(name,)), note=name)
    assert render(document=strange).startswith(b"%PDF-1.")


def test_signs_the_fonts_do_not_have_become_boxes() -> None:
    assert covered("Größe «Ромашка» Ελ €") == "Größe «Ромашка» Ελ €"
    assert covered("カ1") == "□1"


def test_it_is_pdf_a_with_title_author_and_language_and_names_no_moment_but_that_of_issue() -> None:
    paper = document()
    pdf = render(document=paper)
    assert pdf == render(document=paper)
    for part in (b'pdfaid:part="3"', b"Invoice 2026-000017", b"Hafenwolke GmbH", b"/Lang (en)", b"2026-04-01T01:00:00"):
        assert part in pdf
    assert sum(COLUMNS) == WIDTH


@pytest.mark.django_db
def test_an_issued_invoice_is_rendered_once_and_kept() -> None:
    invoice = issued(billed_tenant())
    first = pdf_of(invoice=invoice)
    assert "Total $11.90" in words(first)
    with patch.object(issued_module, "render", side_effect=AssertionError("rendered again")):
        assert pdf_of(invoice=invoice) == first
    assert bytes(Invoice.objects.get().pdf or b"") == first


@pytest.mark.django_db
def test_who_comes_second_gets_what_the_first_has_kept() -> None:
    invoice = issued(billed_tenant())

    def meanwhile(**_: object) -> bytes:
        return b"%PDF-1.7 of the second"

    Invoice.objects.update(pdf=b"%PDF-1.7 of the first")
    with patch.object(issued_module, "render", meanwhile):
        assert pdf_of(invoice=invoice) == b"%PDF-1.7 of the first"


@pytest.mark.django_db
def test_the_database_refuses_another_pdf() -> None:
    invoice = issued(billed_tenant())
    pdf_of(invoice=invoice)
    with pytest.raises(DatabaseError, match="it was issued and never changes"), transaction.atomic():
        Invoice.objects.update(pdf=b"%PDF-1.7 other")


@pytest.mark.django_db
def test_what_happens_to_the_invoice_later_is_not_in_it() -> None:
    invoice = issued(billed_tenant())
    before = document_of(invoice=invoice)
    operator = make_user()
    operator.is_staff = True
    operator.save()
    with at(MAY):
        issue_credit_note(by=operator, invoice_id=invoice.id, lines=[(1, Decimal("1.00"))], reason="Sorry")
    Invoice.objects.filter(id=invoice.id).update(paid=Decimal("5.00"))
    assert document_of(invoice=Invoice.objects.get(id=invoice.id)) == before
