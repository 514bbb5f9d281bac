"""Money in a real browser: the estimate while the form is edited, the spend while a real bay runs, the files; then an invoice on paper."""

import csv
import re
import subprocess
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from apps.billing.invoices.closing import run_month
from apps.billing.models import Account, Issuer, TaxRate
from apps.billing.periods import month_at
from apps.billing.terms.accounts import account_of
from apps.common.clock import now
from apps.tenants.models import Tenant
from carina_portal.embedded.stack import Stack
from tests.e2e import journey
from tests.factories import make_bay, make_cloud, make_flavor, make_tenant, owner_of
from tests.integration.billing.usage_rows import bay_of, ran
from tests.live.conftest import manage
from tests.sites import let_in

DEAR_FLAVOR = """
from decimal import Decimal
from apps.billing.models import Price
from apps.common.clock import now
from apps.hosts.models import Flavor
size = {"host_kind": "container", "vcpus": 1, "memory_mib": 1024, "disk_gib": 10}
flavor, made = Flavor.objects.get_or_create(name="c1.golden", defaults=size)
if made:
    Price.objects.create(
        flavor=flavor, currency="USD", per_hour=Decimal(360), starts_at=now().replace(microsecond=0), created_by="tests", created_at=now()
    )
"""
"""Ten cents a second: what it costs can be watched."""


def amount_in(text: str) -> Decimal:
    """Return the first amount of dollars in a text."""
    found = re.search(r"\$([\d,]+\.\d+)", text)
    assert found, text
    return Decimal(found[1].replace(",", ""))


def spent(page: Page) -> Decimal:
    """Return what the usage page says was spent so far."""
    page.reload()
    return amount_in(page.locator(".figure-main").inner_text())


@pytest.mark.live
def test_from_the_estimate_while_typing_to_the_spend_of_a_bay_and_its_file(portal: Stack, page: Page, axe: str, tmp_path: Path) -> None:
    manage(portal, "shell", "-c", DEAR_FLAVOR)
    journey.sign_up(page, portal.base_url, journey.new_address())
    summary = page.locator("#summary")
    page.locator("label").filter(has_text="c1.golden").first.click()
    expect(summary).to_contain_text("$360.00 per hour")
    page.get_by_label("Hosts", exact=True).fill("2")
    expect(summary).to_contain_text("$720.00 per hour")
    expect(summary).to_contain_text(f"{now():%B %Y}")
    journey.look_at(page, axe, "billing-estimate")
    page.get_by_label("Hosts", exact=True).fill("1")
    expect(summary).to_contain_text("$360.00 per hour")
    page.get_by_role("textbox", name="Name").fill("gold-mine")
    page.get_by_role("button", name="Create bay").click()
    journey.wait_until_active(page)

    page.get_by_role("link", name="Billing", exact=True).click()
    first = spent(page)
    page.wait_for_timeout(3000)
    then = spent(page)
    assert then >= first + Decimal("0.20"), "three seconds at ten cents"
    journey.look_at(page, axe, "billing-usage-live")
    with page.expect_download() as started:
        page.get_by_role("link", name="CSV", exact=True).click()
    started.value.save_as(tmp_path / "usage.csv")
    with (tmp_path / "usage.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["bay"], row["flavor"], row["currency"]) == ("gold-mine", "c1.golden", "USD")
    assert then <= Decimal(row["amount"]) == Decimal(row["host_seconds"]) / 10

    page.get_by_role("link", name="Bays", exact=True).first.click()
    page.get_by_role("link", name="gold-mine").click()
    journey.delete_bay(page, "gold-mine")
    page.get_by_role("link", name="Billing", exact=True).click()
    end = spent(page)
    page.wait_for_timeout(2000)
    assert spent(page) == end, "a bay that is gone costs nothing more"


@pytest.fixture
def tenant(site: str) -> Tenant:
    """An organisation that had two bays all of last month, and has one now; the company that bills it has a name and an address."""
    make_cloud()
    small, large = make_flavor(price="0.012"), make_flavor("c1.large", vcpus=4, price="0.04750")
    tenant = make_tenant("crew")
    last = month_at(at=month_at(at=now(), zone="UTC").start - timedelta(days=1), zone="UTC")
    Tenant.objects.filter(id=tenant.id).update(created_at=last.start, name="Crew of the Argo")
    tenant.refresh_from_db()
    account_of(tenant=tenant)
    Account.objects.update(
        legal_name="Argo Seefahrt GmbH",
        address="Hafenstraße 7",
        country="DE",
        vat_id="DE136695976",
        email="bills@argo.example",
    )
    Issuer.objects.update_or_create(
        is_default=True,
        defaults={
            "code": "main", "legal_name": "Carina Clusters B.V.", "address": "Keizersgracht 1\n1015 CD Amsterdam", "country": "NL",
            "vat_id": "NL004495445B01", "email": "billing@carina.example", "payment_text": "IBAN NL91 ABNA 0417 1643 00, BIC ABNANL2A",
        },
    )  # fmt: skip
    TaxRate.objects.create(country="NL", name="BTW", percent=21, starts_on=last.start.date())
    for name, flavor, hosts in (("vela", small, 3), ("puppis", large, 2)):
        bay = bay_of(tenant, name, moment=last.start)
        for _ in range(hosts):
            ran(bay, (last.start, last.end - timedelta(hours=5)), flavor=flavor)
    make_bay(tenant, "pyxis", node_count=2)
    return tenant


@pytest.mark.django_db(transaction=True)
def test_an_invoice_is_found_read_and_downloaded_and_its_paper_says_the_same(
    site: str, tenant: Tenant, page: Page, axe: str, tmp_path: Path
) -> None:
    assert run_month(at=now()).issued == 1
    invoice = tenant.invoices.get()
    let_in(page.context, user=owner_of(tenant), site=site)
    page.goto(f"{site}/t/crew/billing/")
    journey.look_at(page, axe, "billing-usage")
    page.get_by_role("link", name="Invoices", exact=True).click()
    journey.look_at(page, axe, "billing-invoices")
    page.get_by_role("link", name=invoice.number, exact=True).click()
    expect(page.get_by_role("heading", name=re.compile(invoice.number))).to_be_visible()
    expect(page.locator("main")).to_contain_text(f"${invoice.gross.quantize(Decimal('0.01')):,}")
    journey.look_at(page, axe, "billing-invoice")
    with page.expect_download() as started:
        page.get_by_role("link", name="PDF").first.click()
    paper = tmp_path / started.value.suggested_filename
    started.value.save_as(paper)
    text = subprocess.run(["pdftotext", "-layout", paper, "-"], capture_output=True, text=True, check=True).stdout
    for expected in (
        invoice.number, "Argo Seefahrt GmbH", "Hafenstraße 7", "Carina Clusters B.V.", "vela", "puppis", "Reverse charge",
        f"{invoice.gross.quantize(Decimal('0.01')):,}",
    ):  # fmt: skip
        assert expected in text
    journey.SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    subprocess.run(["pdftoppm", "-png", "-r", "80", paper, journey.SCREENSHOTS / "billing-invoice-paper"], check=True)
    tenant.invoices.get(pdf__isnull=False)
    page.goto(f"{site}/t/crew/billing/budgets")
    journey.look_at(page, axe, "billing-budgets")
    page.goto(f"{site}/t/crew/billing/credit")
    journey.look_at(page, axe, "billing-credit")
    page.goto(f"{site}/t/crew/billing/settings")
    journey.look_at(page, axe, "billing-details")
