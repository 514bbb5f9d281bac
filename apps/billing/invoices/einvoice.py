"""An invoice for programs of the customer's: UBL 2.1 after the European standard EN 16931, by the library `factur-x`.

The BT and BG numbers are those of the standard's semantic model (https://docs.peppol.eu/poacc/billing/3.0/syntax/ubl-invoice/tree/).
A program must be able to compute the sums again, so each line about usage says: so many hours, at this amount for that many hours. That
holds to the cent whatever was rounded, and with tiers; the price of one hour stands in its description.
"""

import re
from decimal import Decimal
from typing import Any

from facturx import generate_ubl_xml
from stdnum import iban
from stdnum.exceptions import ValidationError

from apps.billing.invoices.documents import InvoiceDocument, Line, Party, plain
from apps.billing.models import InvoiceLine
from apps.billing.taxes.rules import OUTSIDE, REVERSE_CHARGE
from apps.common.errors import Conflict
from apps.common.money import DECIMALS

INVOICE, CREDIT_NOTE = "380", "381"
HOUR, ONE = "HUR", "C62"
"""Units of quantity (UN/ECE Recommendation 20): an hour, and one of whatever it is."""
MOST_DECIMALS = 2
"""Of amounts (rules BR-DEC-…)."""
USE = frozenset({InvoiceLine.Kind.USAGE, InvoiceLine.Kind.LATE})


def as_ubl(*, document: InvoiceDocument) -> bytes:
    """Return the invoice or credit note as XML. Raises Conflict where the standard has no place for it, or asks for what is not known."""
    if reason := why_not(document=document):
        raise Conflict(reason, code="xml_not_possible")
    xml: bytes = generate_ubl_xml(_content(document), level="en16931", check_xsd=False, check_schematron=None)  # type: ignore[no-untyped-call]
    return xml


def why_not(*, document: InvoiceDocument) -> str:
    """Return why there can be no XML of this invoice, in one sentence; empty where there can."""
    missing = [
        *(["the seller's country"] if not document.seller.country else []),
        *(["the customer's country"] if not document.customer.country else []),
        *(["the seller's VAT id"] if _category(document) in {"S", "Z"} and not document.seller.vat_id else []),
    ]
    if missing:
        return (
            f"{document.title} has no XML: the standard EN 16931 asks for {' and '.join(missing)}, which the invoice does not have. "
            "What is entered now is in invoices issued from now on; PDF and JSON are there."
        )
    if all(_is_allowance(line, sign=-1 if document.is_credit_note else 1) for line in document.lines):
        return f"{document.title} has no XML: the standard EN 16931 asks for a line with something that was sold. PDF and JSON are there."
    if DECIMALS.get(document.currency, MOST_DECIMALS) > MOST_DECIMALS:
        return f"{document.title} has no XML: the standard EN 16931 allows two decimals, {document.currency} has three. Use PDF or JSON."
    return ""


def _content(document: InvoiceDocument) -> dict[str, Any]:
    """Return what the invoice says by the standard's numbers; amounts of a credit note are positive there."""
    sign = -1 if document.is_credit_note else 1
    category = _category(document)
    lines, allowances = _lines(document, sign=sign, category=category), _allowances(document, sign=sign, category=category)
    net, tax, gross = sign * document.net, sign * document.tax, sign * document.gross
    content: dict[str, Any] = {
        "BT-1": document.number,
        "BT-2": document.issued_on,
        "BT-3": CREDIT_NOTE if document.is_credit_note else INVOICE,
        "BT-5": document.currency,
        "BT-73": document.first_day,
        "BT-74": document.last_day,
        "BT-81": "1",
        "BG-1": [{"BT-22": text} for text in (document.tax_text, document.note) if text],
        "BG-4": _party(document.seller, with_vat_id=category != "O"),
        "BG-7": _party(document.customer, with_vat_id=category != "O"),
        "BG-20": allowances,
        "BG-23": [{"BT-116": str(net), "BT-117": str(tax), **_tax(document, category)}],
        "BG-25": lines,
        "BT-106": str(sum((Decimal(line["BT-131"]) for line in lines), Decimal(0))),
        "BT-109": str(net),
        "BT-110": str(tax),
        "BT-112": str(gross),
        "BT-115": str(gross - document.prepaid),
    }
    if allowances:
        content["BT-107"] = str(sum((Decimal(each["amount"]) for each in allowances), Decimal(0)))
    if document.prepaid:
        content["BT-113"] = str(document.prepaid)
    if document.is_credit_note:
        content["BG-3"] = [{"BT-25": document.corrects, "BT-26": document.corrects_issued_on}]
    else:
        content |= {"BT-9": document.due_on, "BT-83": document.number, **_payment(document)}
    return content


def _category(document: InvoiceDocument) -> str:
    """Return the code of the tax (UNCL 5305): standard rate, zero rate, reverse charge, or not subject to tax."""
    if document.tax_percent > 0:
        return "S"
    if document.tax_text == REVERSE_CHARGE and document.seller.vat_id and document.customer.vat_id:
        return "AE"
    return "Z" if document.tax_name and not document.tax_text else "O"


def _tax(document: InvoiceDocument, category: str) -> dict[str, str]:
    found = {"BT-118": category}
    if category != "O":
        found["BT-119"] = plain(number=document.tax_percent)
    if category == "AE":
        found |= {"BT-120": document.tax_text, "BT-121": "VATEX-EU-AE"}
    if category == "O":
        found |= {"BT-120": document.tax_text or OUTSIDE.partition(":")[0], "BT-121": "VATEX-EU-O"}
    return found


def _party(party: Party, *, with_vat_id: bool) -> dict[str, Any]:
    """Return a party. Where nothing is subject to tax, the standard forbids VAT ids (rules BR-O-02 to BR-O-04)."""
    first, second, *others = [*party.address, "", ""]
    found: dict[str, Any] = {
        "name": party.name,
        "identifiers": {None: party.code} if party.code else {},
        "country_code": party.country,
        "addr_l1": first,
        "addr_l2": second,
        "addr_l3": ", ".join(line for line in others if line),
        "vat_identifier": party.vat_id if with_vat_id else "",
    }
    if party.email:
        found["contacts"] = [{"email": party.email}]
    return {name: value for name, value in found.items() if value}


def _is_allowance(line: Line, *, sign: int) -> bool:
    """Tell whether a line takes something off the sum; late usage may too, and stays a line of its own with less than no hours."""
    return line.kind not in USE and sign * line.amount < 0


def _lines(document: InvoiceDocument, *, sign: int, category: str) -> list[dict[str, Any]]:
    tax = {"BT-151": category} if category == "O" else {"BT-151": category, "BT-152": plain(number=document.tax_percent)}
    return [
        {
            "BT-126": str(line.position),
            "BT-131": str(sign * line.amount),
            "BT-153": line.text,
            **_description(document, line),
            **_quantity(line, amount=sign * line.amount),
            **tax,
        }
        for line in document.lines
        if not _is_allowance(line, sign=sign)
    ]


def _quantity(line: Line, *, amount: Decimal) -> dict[str, str]:
    """Return quantity and price such that one times the other is the amount: a price may not be negative, a quantity may (BR-27)."""
    price = str(abs(amount))
    hours = line.hours
    if hours and (hours > 0) == (amount > 0):
        return {"BT-129": plain(number=hours), "BT-130": HOUR, "BT-146": price, "BT-149": plain(number=abs(hours))}
    return {"BT-129": "-1" if amount < 0 else "1", "BT-130": ONE, "BT-146": price}


def _description(document: InvoiceDocument, line: Line) -> dict[str, str]:
    words = []
    if line.hours is not None and line.per_hour is not None:
        words.append(f"{plain(number=line.hours)} host-hours, {plain(number=line.per_hour)} {document.currency} an hour")
    if line.is_late:
        words.append(f"used in {document.month_of_use(line=line)}")
    return {"BT-154": "; ".join(words)} if words else {}


def _allowances(document: InvoiceDocument, *, sign: int, category: str) -> list[dict[str, str]]:
    tax = (
        {"vat_category_code": category}
        if category == "O"
        else {"vat_category_code": category, "vat_rate": plain(number=document.tax_percent)}
    )
    return [{"amount": str(-sign * line.amount), "reason": line.text, **tax} for line in document.lines if _is_allowance(line, sign=sign)]


def _payment(document: InvoiceDocument) -> dict[str, str]:
    """Return how to pay: by transfer to the account that the payment text names, where it names one."""
    found = {"BT-20": document.payment_text} if document.payment_text and document.due > 0 else {}
    for match in re.finditer(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]){11,30}", document.payment_text):
        account = _iban(match[0])
        if account:
            return {**found, "BT-81": "30", "BT-84": account}
    return found


def _iban(text: str) -> str:
    """Return the longest beginning of the text that is an account number; empty where none is: words may follow it on its line."""
    words = text.split(" ")
    for count in range(len(words), 0, -1):
        try:
            return str(iban.validate("".join(words[:count])))
        except ValidationError:
            continue
    return ""
