"""What an invoice says, whole: read once from what was issued, then shown as PDF, JSON, XML and page. Nothing here depends on today.

What happens to an invoice afterwards (payments, credit notes) is not in it: see `issued.whole`.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from apps.billing.countries import COUNTRIES
from apps.billing.invoices.drafts import Draft
from apps.billing.invoices.lines import DraftLine
from apps.billing.invoices.parties import customer_of, seller_of
from apps.billing.models import CreditGrant, Invoice, InvoiceLine
from apps.billing.periods import HOUR, local_day
from apps.billing.terms.accounts import default_issuer
from apps.common.money import rounded

SCHEMA = "carina-invoice/1"
"""Names the form of the JSON: fields may be added under this name, but none taken away or given another meaning."""
ADJUSTMENTS = frozenset(
    {InvoiceLine.Kind.ALLOWANCE, InvoiceLine.Kind.DISCOUNT, InvoiceLine.Kind.COMMITMENT, InvoiceLine.Kind.PROMOTION},
)
"""Kinds of lines that change the sum of what was used."""


@dataclass(frozen=True, kw_only=True)
class Party:
    """Seller or customer, as they were when the invoice was issued; `code` is what the portal calls them."""

    code: str
    name: str
    address: tuple[str, ...]
    country: str
    vat_id: str
    email: str

    @property
    def country_name(self) -> str:
        """The country in words; empty where none was given."""
        return COUNTRIES.get(self.country, self.country)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line. `seconds` are host-seconds, `per_hour` the price of a host-hour, both None for what is not usage."""

    position: int
    kind: str
    text: str
    seconds: int | None
    per_hour: Decimal | None
    used_from: datetime | None
    amount: Decimal
    bay_id: str | None
    cloud_id: str | None
    flavor_id: str | None
    price_id: int | None

    @property
    def hours(self) -> Decimal | None:
        """Host-hours to six decimals; exact are the seconds."""
        return None if self.seconds is None else (Decimal(self.seconds) / HOUR).quantize(Decimal("0.000001"))

    @property
    def is_late(self) -> bool:
        """Whether it was used in an earlier period than the invoice's."""
        return self.kind == InvoiceLine.Kind.LATE

    @property
    def is_adjustment(self) -> bool:
        """Whether it changes the sum of what was used, and is no use itself."""
        return self.kind in ADJUSTMENTS


@dataclass(frozen=True, kw_only=True)
class InvoiceDocument:
    """An invoice or credit note as it was issued; amounts are in `currency`, in whole smallest units, negative on a credit note.

    `prepaid` is the prepaid credit that paid of it when it was issued (negative where an invoice in the customer's favour added to it),
    `due` what was left to pay then. Days are those of `time_zone`; the last one of the period is in it.
    """

    number: str
    is_credit_note: bool
    corrects: str
    corrects_issued_on: date | None
    issued_at: datetime
    due_on: date
    period_start: datetime
    period_end: datetime
    time_zone: str
    currency: str
    plan: str
    seller: Party
    customer: Party
    lines: tuple[Line, ...]
    net: Decimal
    tax: Decimal
    tax_name: str
    tax_percent: Decimal
    tax_text: str
    gross: Decimal
    prepaid: Decimal
    due: Decimal
    payment_text: str
    note: str

    @property
    def issued_on(self) -> date:
        """The day it was issued."""
        return local_day(at=self.issued_at, zone=self.time_zone)

    @property
    def first_day(self) -> date:
        """The first day of the period."""
        return local_day(at=self.period_start, zone=self.time_zone)

    @property
    def last_day(self) -> date:
        """The last day of the period."""
        return local_day(at=self.period_end - timedelta(microseconds=1), zone=self.time_zone)

    @property
    def title(self) -> str:
        """What it is, with its number."""
        return f"{'Credit note' if self.is_credit_note else 'Invoice'} {self.number}"

    @property
    def tax_rate(self) -> str:
        """The percentage of the tax, as people write it."""
        return plain(number=self.tax_percent)

    def month_of_use(self, *, line: Line) -> str:
        """Return the month a late line is about, such as February 2026; empty where that is not known."""
        return f"{line.used_from.astimezone(ZoneInfo(self.time_zone)):%B %Y}" if line.used_from is not None else ""


def document_of(*, invoice: Invoice) -> InvoiceDocument:
    """Return what the invoice says, with its lines."""
    currency = invoice.currency
    is_credit_note = invoice.kind == Invoice.Kind.CREDIT_NOTE
    prepaid = Decimal(0) if is_credit_note else _prepaid(invoice)
    corrects = invoice.corrects
    return InvoiceDocument(
        number=invoice.number,
        is_credit_note=is_credit_note,
        corrects=corrects.number if corrects is not None else "",
        corrects_issued_on=local_day(at=corrects.issued_at, zone=corrects.time_zone) if corrects is not None else None,
        issued_at=invoice.issued_at,
        due_on=invoice.due_on,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        time_zone=invoice.time_zone,
        currency=currency,
        plan=invoice.plan,
        seller=_party(invoice.seller),
        customer=_party(invoice.customer),
        lines=tuple(_line(row, currency, row.position) for row in invoice.lines.order_by("position")),
        net=rounded(amount=invoice.net, currency=currency),
        tax=rounded(amount=invoice.tax, currency=currency),
        tax_name=invoice.tax_name,
        tax_percent=invoice.tax_percent,
        tax_text=invoice.tax_text,
        gross=rounded(amount=invoice.gross, currency=currency),
        prepaid=rounded(amount=prepaid, currency=currency),
        due=rounded(amount=Decimal(0) if is_credit_note else invoice.gross - prepaid, currency=currency),
        payment_text="" if is_credit_note else str(invoice.seller.get("payment_text", "")).strip(),
        note=invoice.note.strip(),
    )


def document_of_draft(*, draft: Draft, at: datetime) -> InvoiceDocument:
    """Return what the draft would say if it were issued at the moment; it has no number."""
    currency, zone, issuer, tax = draft.currency, draft.account.time_zone, default_issuer(), draft.tax_terms
    seller = seller_of(issuer=issuer)
    return InvoiceDocument(
        number="",
        is_credit_note=False,
        corrects="",
        corrects_issued_on=None,
        issued_at=at,
        due_on=local_day(at=max(at, draft.period.end), zone=zone) + timedelta(days=issuer.payment_days),
        period_start=draft.period.start,
        period_end=draft.period.end,
        time_zone=zone,
        currency=currency,
        plan=draft.plan.title,
        seller=_party(seller),
        customer=_party(customer_of(account=draft.account)),
        lines=tuple(_line(line, currency, position) for position, line in enumerate(draft.lines, start=1)),
        net=rounded(amount=draft.net, currency=currency),
        tax=rounded(amount=draft.tax, currency=currency),
        tax_name=tax.name,
        tax_percent=tax.percent,
        tax_text=tax.text,
        gross=rounded(amount=draft.gross, currency=currency),
        prepaid=rounded(amount=draft.gross if draft.gross < 0 else draft.prepaid_used, currency=currency),
        due=rounded(amount=draft.left_to_pay, currency=currency),
        payment_text=issuer.payment_text.strip(),
        note="",
    )


def as_json(*, document: InvoiceDocument) -> dict[str, Any]:
    """Return the document as JSON: amounts, prices and hours as text, so that no reader makes them binary fractions; moments in UTC."""
    return {
        "schema": SCHEMA,
        "kind": "credit_note" if document.is_credit_note else "invoice",
        "number": document.number,
        "corrects": document.corrects or None,
        "issued_at": document.issued_at.isoformat(),
        "issued_on": document.issued_on.isoformat(),
        "due_on": None if document.is_credit_note else document.due_on.isoformat(),
        "period": {
            "start": document.period_start.isoformat(),
            "end": document.period_end.isoformat(),
            "time_zone": document.time_zone,
            "first_day": document.first_day.isoformat(),
            "last_day": document.last_day.isoformat(),
        },
        "currency": document.currency,
        "plan": document.plan,
        "seller": _party_json(document.seller),
        "customer": _party_json(document.customer),
        "lines": [_line_json(line) for line in document.lines],
        "net": str(document.net),
        "tax": {
            "name": document.tax_name,
            "percent": str(document.tax_percent),
            "text": document.tax_text,
            "amount": str(document.tax),
        },
        "gross": str(document.gross),
        "prepaid": str(document.prepaid),
        "due": str(document.due),
        "payment_text": document.payment_text,
        "note": document.note,
    }


def draft_json(*, document: InvoiceDocument) -> dict[str, Any]:
    """Return the draft's document as JSON: as that of an invoice, without what only an invoice has."""
    found = {**as_json(document=document), "kind": "draft", "as_of": document.issued_at.isoformat()}
    for name in ("number", "corrects", "issued_at", "issued_on", "due_on"):
        del found[name]
    return found


def in_favour(*, document: InvoiceDocument) -> bool:
    """Tell whether it is an invoice whose amount went to the customer, as prepaid credit."""
    return document.gross < 0 and not document.is_credit_note


def plain(*, number: Decimal) -> str:
    """Return a decimal number without needless zeros and never with an exponent."""
    return f"{number.normalize():f}"


def _prepaid(invoice: Invoice) -> Decimal:
    if invoice.gross < 0:
        return invoice.gross
    uses = invoice.credit_uses.filter(grant__kind=CreditGrant.Kind.PREPAID, at__lte=invoice.issued_at)
    return sum((use.amount for use in uses), Decimal(0))


def _party(kept: dict[str, Any]) -> Party:
    names = ("code", "tenant", "legal_name", "name", "address", "country", "vat_id", "email")
    text = {name: str(kept.get(name) or "").strip() for name in names}
    lines = [line.strip() for line in text["address"].splitlines()]
    return Party(
        code=text["code"] or text["tenant"],
        name=text["legal_name"] or text["name"],
        address=tuple(line for line in lines if line),
        country=text["country"],
        vat_id=text["vat_id"],
        email=text["email"],
    )


def _line(row: InvoiceLine | DraftLine, currency: str, position: int) -> Line:
    return Line(
        position=position,
        kind=row.kind,
        text=row.text,
        seconds=row.seconds,
        per_hour=row.per_hour,
        used_from=row.used_from,
        amount=rounded(amount=row.amount, currency=currency),
        bay_id=str(row.bay_id) if row.bay_id else None,
        cloud_id=str(row.cloud_id) if row.cloud_id else None,
        flavor_id=str(row.flavor_id) if row.flavor_id else None,
        price_id=row.price_id,
    )


def _party_json(party: Party) -> dict[str, str]:
    return {
        "code": party.code,
        "name": party.name,
        "address": "\n".join(party.address),
        "country": party.country,
        "vat_id": party.vat_id,
        "email": party.email,
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "position": line.position,
        "kind": line.kind,
        "text": line.text,
        "bay_id": line.bay_id,
        "cloud_id": line.cloud_id,
        "flavor_id": line.flavor_id,
        "price_id": line.price_id,
        "seconds": line.seconds,
        "host_hours": plain(number=line.hours) if line.hours is not None else None,
        "per_hour": plain(number=line.per_hour) if line.per_hour is not None else None,
        "used_from": line.used_from.isoformat() if line.used_from is not None else None,
        "amount": str(line.amount),
    }
