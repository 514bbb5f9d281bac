"""Paying an invoice in a real browser, up to the provider's page and back. What stands for Stripe is a small server of the tests' own."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from pytest_django import Settings

from apps.billing.models import Invoice
from apps.billing.payments.stripe_events import receive
from apps.tenants.models import Tenant
from tests.doubles.stripe_server import KEY, SECRET, StripeServer, serving
from tests.e2e import journey
from tests.factories import make_tenant, owner_of
from tests.integration.billing.debts import make_invoice
from tests.sites import let_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account(settings: Settings) -> Iterator[StripeServer]:
    with serving() as server:
        settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_API = KEY, SECRET, server.url
        yield server


@pytest.fixture
def invoice(site: str) -> Invoice:
    tenant: Tenant = make_tenant("crew")
    return make_invoice(tenant, "1234.50")


def test_the_button_leads_to_the_page_where_one_pays_past_the_content_policy_and_back_leads_to_the_invoice(
    site: str, account: StripeServer, invoice: Invoice, page: Page, axe: str
) -> None:
    let_in(page.context, user=owner_of(invoice.tenant), site=site)
    address = f"{site}/t/crew/billing/invoices/{invoice.number}"
    page.goto(address)
    journey.look_at(page, axe, "invoice-pay")
    page.get_by_role("button", name="Pay by card").click()
    expect(page.get_by_role("heading", name="Pay here")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(address)
    (session,) = account.sessions.values()
    receive(event=account.event("checkout.session.completed", account.finish(session)))
    page.goto(f"{address}?payment=sent")
    expect(page.get_by_role("button", name="Pay by card")).to_have_count(0)
    expect(page.locator(".head")).to_contain_text("Paid")


def test_who_waits_for_the_money_to_be_certain_is_told_so_and_the_reference_is_there_to_copy(
    site: str, account: StripeServer, invoice: Invoice, page: Page
) -> None:
    let_in(page.context, user=owner_of(invoice.tenant), site=site)
    page.goto(f"{site}/t/crew/billing/invoices/{invoice.number}?payment=sent")
    expect(page.get_by_role("status").filter(has_text="Thank you.")).to_be_visible()
    page.goto(f"{site}/t/crew/billing/invoices/{invoice.number}?payment=left")
    expect(page.get_by_role("status").filter(has_text="nothing was paid")).to_be_visible()
    expect(page.locator("#pay-reference")).to_have_text(invoice.number)
    expect(page.locator("#pay-amount")).to_have_text(re.compile(r"^1234\.50$"))
    expect(page.get_by_role("button", name="Copy")).to_have_count(2)
