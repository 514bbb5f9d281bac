"""The operators' pages of billing in a browser: a price is set as a person sets it; on a desk, on a phone and in the dark."""

import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from apps.accounts.models import User
from apps.billing.credit.grants import grant_credit
from apps.billing.invoices.credit_notes import issue_credit_note
from apps.billing.models import Account, InvoiceLine, Price, StripeEvent, TaxRate
from apps.billing.payments.services import record_payment
from apps.billing.prices.book import Tier
from apps.billing.prices.changes import set_price
from apps.billing.terms.accounts import account_of, default_issuer
from apps.billing.terms.plans import create_plan
from apps.billing.terms.subscriptions import subscribe
from apps.common.clock import now
from apps.hosts.contracts import HostKind
from apps.hosts.models import Flavor
from apps.tenants.models import Tenant
from tests.browser import QUIET, SCREENSHOTS
from tests.e2e.journey import Watch
from tests.factories import make_bay, make_cloud, make_flavor, make_tenant, make_user
from tests.integration.billing.debts import make_invoice
from tests.integration.billing.test_operator_billing import signed_in

BASE = "/operators/billing"


def furnish(boss: User) -> dict[str, str]:
    """Fill the portal with something of everything, and return the pages to look at."""
    cloud, crew = make_cloud(), make_tenant("crew")
    make_cloud("north")
    small, large = make_flavor(), make_flavor("c1.large", vcpus=4, price="0.040")
    make_flavor("v1.small", kind=HostKind.VM, price="0.025")
    Flavor.objects.create(name="b1.new", host_kind="baremetal", vcpus=16, memory_mib=65536, disk_gib=400)
    make_bay(crew, "web", node_count=3)
    make_bay(make_tenant("harbour-office"), "db", node_count=2)
    later = now() + timedelta(days=40)
    set_price(by=boss.actor, flavor=large, cloud=cloud, per_hour=Decimal("0.035"), currency="USD")
    set_price(
        by=boss.actor, flavor=small, per_hour=Decimal("0.00925"), currency="EUR", tiers=[Tier(from_hours=1000, per_hour=Decimal("0.008"))]
    )
    set_price(by=boss.actor, flavor=small, per_hour=Decimal("0.0125"), currency="USD", starts_at=later)
    create_plan(by=boss.actor, code="beta-2026", title="Beta 2026", kind="free", allowance=Decimal(50), currency="USD")
    terms: dict[str, Any] = {"kind": "committed", "commitment": Decimal(500), "discount_percent": Decimal(20), "currency": "USD"}
    plan = create_plan(by=boss.actor, code="committed", title="Committed", **terms)
    subscribe(by=boss.actor, tenant=crew, plan=plan, at=now())
    default_issuer()
    for percent, start in (("19", "2020-01-01"), ("21", "2100-01-01")):
        TaxRate.objects.create(country="DE", percent=Decimal(percent), starts_on=start)
    grant_credit(by=boss.actor, tenant=crew, kind="promotional", amount=Decimal(100), currency="USD", reason="Welcome aboard")
    invoice = owing(crew, boss)
    ask_for_somebody(crew)
    stuck = account_of(tenant=make_tenant("stuck"))
    Account.objects.filter(tenant=stuck.tenant).update(billed_until=datetime(2026, 3, 1, tzinfo=UTC), time_zone="Mars/Olympus")
    return {
        "prices": f"{BASE}/prices/", "history": f"{BASE}/prices/{small.id}/", "plans": f"{BASE}/plans/", "issuers": f"{BASE}/issuers/",
        "issuer": f"{BASE}/issuers/{default_issuer().id}/", "accounts": f"{BASE}/accounts/", "account": f"{BASE}/accounts/{crew.id}/",
        "invoice": f"{BASE}/invoices/{invoice}/", "payments": f"{BASE}/payments/", "months": f"{BASE}/months/",
    }  # fmt: skip


def ask_for_somebody(tenant: Tenant) -> None:
    """Leave two events of Stripe that wait: one for a decision, one that could not be acted upon."""
    for name, kind, handled, problem in (
        ("evt_1TfA2bKq", "charge.dispute.created", now(), "See dispute dp_1TfA2bKq at Stripe, and note by hand what came of it."),
        ("evt_1TfB9cLr", "charge.refunded", None, "What was refunded is not known here yet; the event of its payment is still to come."),
    ):
        subject = {"object": kind.split(".")[-2], "id": f"{name[4:]}", "metadata": {"tenant": str(tenant.id)}}
        StripeEvent.objects.create(
            id=name,
            kind=kind,
            payload={"data": {"object": subject}},
            received_at=now() - timedelta(hours=3),
            handled_at=handled,
            problem=problem,
        )


def owing(tenant: Tenant, boss: User) -> str:
    """Return the id of an invoice of which a part was paid and a part taken back."""
    invoice = make_invoice(tenant, "120.00")
    for position, (bay, amount) in enumerate((("web", "100"), ("db", "20")), start=1):
        text = f"{bay}: 2,400.00 host-hours of c1.small on Local"
        InvoiceLine.objects.create(tenant=tenant, invoice=invoice, position=position, kind="usage", text=text, amount=Decimal(amount))
    record_payment(
        by=boss.actor, invoice=invoice, provider="manual", reference="Harbour Bank 2026-118", amount=Decimal(50), currency="USD",
        received_at=now() - timedelta(days=1),
    )  # fmt: skip
    issue_credit_note(by=boss, invoice_id=invoice.id, lines=[(1, Decimal("12.50"))], reason="Outage on Monday morning")
    return str(invoice.id)


def ask_for_a_price(page: Page, base: str) -> None:
    page.goto(f"{base}{BASE}/prices/?flavor=c1.small&currency=USD#new")
    assert page.get_by_label("Price of one host an hour").input_value() == "0.01"
    page.get_by_label("Price of one host an hour").fill("0.02")
    page.get_by_label("Tiers").fill("1000 0.015")
    page.get_by_role("button", name="Show what it would mean").click()
    page.get_by_role("heading", name="Who it concerns most").wait_for()


def shoot(page: Page, axe: str, shot: str, name: str) -> None:
    page.screenshot(path=SCREENSHOTS / f"operators-billing-{shot}-{name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{shot} scrolls sideways on {name}"
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run()).violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' '))")
    assert found == [], (shot, name)


def look_at_pages(
    browser: Browser, pages: dict[str, str], *, base: str, session: str, axe: str, name: str, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": base}])
    page = context.new_page()
    watch = Watch(page)
    for shot, address in pages.items():
        page.goto(f"{base}{address}")
        page.evaluate("document.querySelectorAll('main details').forEach(each => { each.open = true; })")
        shoot(page, axe, shot, name)
    ask_for_a_price(page, base)
    shoot(page, axe, "preview", name)
    assert not watch.complaints
    context.close()


def save_the_price(browser: Browser, *, base: str, session: str) -> None:
    context = browser.new_context()
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": base}])
    page = context.new_page()
    ask_for_a_price(page, base)
    page.get_by_role("link", name="Change it").click()
    assert page.get_by_label("Price of one host an hour").input_value() == "0.02"
    page.get_by_label("Price of one host an hour").fill("0.03")
    page.get_by_role("button", name="Show what it would mean").click()
    page.get_by_role("button", name="Save this price").click()
    page.get_by_text("The price of c1.small is saved.").wait_for()
    context.close()


@pytest.mark.timeout(900)  # thirty pages are looked at, each by axe too
@pytest.mark.django_db(transaction=True)
def test_the_pages_stand_in_a_browser_without_a_complaint(request: pytest.FixtureRequest, axe: str) -> None:
    live_server: LiveServer = request.getfixturevalue("live_server")  # only now, with the settings of this test
    boss = make_user("boss@example.com")
    User.objects.filter(id=boss.id).update(is_staff=True)
    boss.refresh_from_db()
    pages = furnish(boss)
    session = signed_in(boss).cookies[settings.SESSION_COOKIE_NAME].value
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "browser tests need Chromium: install it with “apt-get install chromium”"
    with sync_playwright() as playwright:  # a browser of its own: while one runs, its loop keeps this thread from the database
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        for name, width, scheme in (("desktop", 1440, "light"), ("phone", 390, "light"), ("dark", 1440, "dark")):
            look_at_pages(browser, pages, base=live_server.url, session=session, axe=axe, name=name, width=width, scheme=scheme)
        save_the_price(browser, base=live_server.url, session=session)
        browser.close()
    price = Price.objects.get(per_hour=Decimal("0.03"))
    assert (price.tiers, price.created_by) == ([{"from_hours": 1000, "per_hour": "0.015"}], "boss@example.com")
