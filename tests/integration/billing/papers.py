"""Invoices for tests of what they look like: issued from a month of use, and documents by hand for what months seldom have."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.billing.invoices.closing import issue_period
from apps.billing.invoices.documents import InvoiceDocument, Line, Party
from apps.billing.models import Invoice, Issuer, TaxRate
from apps.tenants.models import Tenant
from tests.factories import make_cloud, make_flavor, make_tenant
from tests.integration.billing.months import APRIL, MARCH, make_account, use

HOUR = timedelta(hours=1)
SELLER = Party(
    code="main",
    name="Hafenwolke GmbH",
    address=("Hafenstraße 12", "20457 Hamburg"),
    country="DE",
    vat_id="DE136695976",
    email="bills@example.com",
)
CUSTOMER = Party(
    code="acme", name="Acme B.V.", address=("Keizersgracht 1", "1015 CC Amsterdam"), country="NL", vat_id="NL004495445B01", email=""
)


def billed_tenant(**details: Any) -> Tenant:
    """Return a tenant whose next period is March 2026, billed by a German seller with 19 % tax."""
    make_cloud()
    make_flavor(price="0.010")
    tenant = make_tenant("acme")
    make_account(tenant, **{"country": "DE", "legal_name": "Acme GmbH", "address": "Am Markt 1\n10115 Berlin", **details})
    Issuer.objects.create(
        code="main", legal_name="Hafenwolke GmbH", address="Hafenstraße 12\n20457 Hamburg", country="DE", vat_id="DE136695976",
        email="bills@example.com", payment_text="Harbour Bank\nIBAN DE02 1203 0000 0000 2020 51", is_default=True,
    )  # fmt: skip
    TaxRate.objects.create(country="DE", percent=Decimal(19), starts_on=MARCH.date())
    return tenant


def issued(tenant: Tenant) -> Invoice:
    """Return the tenant's invoice of March: 500 hours of two hosts of web for 10.00, and tax."""
    use(tenant, MARCH, MARCH + 500 * HOUR, hosts=2)
    invoice = issue_period(tenant_id=tenant.id, at=APRIL + HOUR)
    assert invoice is not None
    return invoice


def line(position: int, text: str, amount: str, *, kind: str = "usage", hours: int | None = None, **more: Any) -> Line:
    """Return a line; usage has `hours`, at the price that makes the amount of them."""
    found = Line(
        position=position, kind=kind, text=text, seconds=hours * 3600 if hours is not None else None,
        per_hour=abs(Decimal(amount) / hours).quantize(Decimal("0.0001")) if hours else None, used_from=None, amount=Decimal(amount),
        bay_id=None, cloud_id=None, flavor_id=None, price_id=None,
    )  # fmt: skip
    return replace(found, **more)


def document(*, lines: Sequence[Line] = (), tax_percent: str = "19", prepaid: str = "0", **more: Any) -> InvoiceDocument:
    """Return an invoice of these lines, which add up; `more` are other fields of it."""
    rows = lines or (line(1, "web: 744.00 host-hours of c1.small on local", "7.44", hours=744),)
    net = sum((row.amount for row in rows), Decimal(0))
    tax = (net * Decimal(tax_percent) / 100).quantize(Decimal("0.01"))
    is_credit_note = bool(more.get("corrects"))
    base = InvoiceDocument(
        number="2026-000017", is_credit_note=is_credit_note, corrects="", corrects_issued_on=None,
        issued_at=datetime(2026, 4, 1, 1, tzinfo=UTC), due_on=date(2026, 4, 15),
        period_start=datetime(2026, 2, 28, 23, tzinfo=UTC), period_end=datetime(2026, 3, 31, 22, tzinfo=UTC),
        time_zone="Europe/Berlin", currency="EUR", plan="Pay as you go", seller=SELLER, customer=CUSTOMER, lines=tuple(rows), net=net,
        tax=tax,
        tax_name="VAT", tax_percent=Decimal(tax_percent), tax_text="", gross=net + tax, prepaid=Decimal(prepaid),
        due=Decimal(0) if is_credit_note else net + tax - Decimal(prepaid),
        payment_text="Harbour Bank\nIBAN DE02 1203 0000 0000 2020 51", note="",
    )  # fmt: skip
    return replace(base, **more)


def text_of(pdf: bytes) -> str:
    """Return the text of a PDF in the order it was drawn, pages parted by form feeds."""
    program = shutil.which("pdftotext")
    if program is None:
        pytest.skip("pdftotext is not here (Debian's package poppler-utils)")
    return subprocess.run([program, "-raw", "-", "-"], input=pdf, capture_output=True, check=True).stdout.decode()
