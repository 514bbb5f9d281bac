"""The pages of invoices and of billing details: what members see, may, and take away as files."""

import json
import shutil
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, sync_playwright
from pytest_django.live_server_helper import LiveServer

from apps.accounts.models import User
from apps.audit.services import Actor
from apps.billing.invoices.credit_notes import issue_credit_note
from apps.billing.invoices.issued import pdf_of
from apps.billing.models import Account, Invoice, TaxRate
from apps.billing.payments.services import record_payment
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.browser import QUIET, SCREENSHOTS
from tests.e2e.journey import Watch
from tests.factories import join, make_tenant, make_user, owner_of
from tests.integration.billing.clock import at
from tests.integration.billing.debts import make_invoice
from tests.integration.billing.months import APRIL, MAY, make_plan, use
from tests.integration.billing.papers import HOUR, billed_tenant, issued

pytestmark = pytest.mark.django_db
US = Actor.system("tests")


@pytest.fixture
def tenant() -> Tenant:
    return billed_tenant()


def browser(tenant: Tenant, *, role: Role = Role.OWNER) -> Client:
    client = Client(raise_request_exception=False)
    user = owner_of(tenant)
    if role != Role.OWNER:
        user = make_user()
        join(tenant, user, role=role)
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def page(tenant: Tenant, name: str, *more: object, client: Client | None = None) -> str:
    answer = (client or browser(tenant)).get(reverse(f"billing:{name}", args=[tenant.slug, *more]))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def operator() -> User:
    return User.objects.create_superuser("operator@example.com")


def test_without_an_invoice_the_page_says_when_there_will_be_one(tenant: Tenant) -> None:
    with at(APRIL - HOUR):
        html = page(tenant, "invoices")
    assert "No invoices yet" in html
    assert "Draft: 1 March – 31 March 2026" in html
    assert "$0.00" in html


def test_the_draft_of_the_running_month_grows_and_says_of_what_it_is(tenant: Tenant) -> None:
    issued(tenant)
    use(tenant, APRIL, None, hosts=2)
    with at(APRIL + 50 * HOUR):
        html = page(tenant, "invoices")
    assert "Draft: 1 April – 30 April 2026" in html
    assert "web: 100.00 host-hours of c1.small on" in html
    assert "$1.19</b> by now" in html  # 100 hours at a cent, and 19 %
    with at(APRIL + 100 * HOUR):
        assert "$2.38</b> by now" in page(tenant, "invoices")


def test_a_month_that_is_over_and_not_invoiced_yet_is_called_that(tenant: Tenant) -> None:
    with at(APRIL + timedelta(minutes=10)):
        assert "This month is over" in page(tenant, "invoices")


def test_a_draft_that_cannot_be_computed_leaves_the_list(tenant: Tenant) -> None:
    invoice = issued(tenant)
    make_plan(tenant, starts_at=APRIL, allowance=5)
    Account.objects.update(currency="EUR")
    with at(APRIL + 50 * HOUR):
        html = page(tenant, "invoices")
    assert "cannot be computed" in html
    assert invoice.number in html


@pytest.mark.parametrize(
    ("more", "moment", "word"),
    [
        ({}, APRIL, "To pay"),
        ({"paid": Decimal(20)}, APRIL, "Partly paid"),
        ({}, MAY, "Overdue"),
        ({"paid": Decimal(120), "state": Invoice.State.PAID}, MAY, "Paid"),
        ({"state": Invoice.State.CANCELLED}, MAY, "Cancelled"),
    ],
)
def test_the_list_says_the_state_of_each_in_a_word(tenant: Tenant, more: dict[str, Any], moment: Any, word: str) -> None:
    invoice = make_invoice(tenant, due_on=(MAY - timedelta(days=10)).date(), **more)
    with at(moment):
        html = page(tenant, "invoices")
    assert f"</svg>{word}</span>" in html
    assert reverse("billing:invoice", args=[tenant.slug, invoice.number]) in html
    assert reverse("billing:invoice_pdf", args=[tenant.slug, invoice.number]) in html


def test_the_list_has_pages_and_asks_no_more_for_more_invoices(tenant: Tenant, django_assert_max_num_queries: Any) -> None:
    for _ in range(30):
        make_invoice(tenant)
    client = browser(tenant)
    page(tenant, "invoices", client=client)
    with django_assert_max_num_queries(40):
        assert "Page 1 of 2" in page(tenant, "invoices", client=client)
    assert client.get(reverse("billing:invoices", args=["acme"]), {"page": "2"}).status_code == 200


def test_an_invoice_shows_its_lines_tax_parties_and_how_to_pay(tenant: Tenant) -> None:
    invoice = issued(tenant)
    html = page(tenant, "invoice", invoice.number)
    for part in (
        f"Invoice {invoice.number}", "web: 1,000.00 host-hours of c1.small on", "$0.01", "$10.00", "VAT 19 %", "$1.90", "$11.90",
        "Hafenwolke GmbH", "Acme GmbH", "10115 Berlin", "DE136695976", "15 April 2026", "Pay this invoice", "IBAN DE02", "not yet",
    ):  # fmt: skip
        assert part in html


def test_a_rate_of_round_percent_is_written_as_people_do(tenant: Tenant) -> None:
    TaxRate.objects.update(percent=Decimal(20))
    assert "VAT 20 %" in page(tenant, "invoice", issued(tenant).number)


def test_late_usage_is_explained_on_its_line(tenant: Tenant) -> None:
    issued(tenant)
    use(tenant, APRIL - 10 * HOUR, APRIL)
    use(tenant, APRIL, APRIL + 5 * HOUR)
    with at(MAY):
        html = page(tenant, "invoices")
    assert "Late: used in March 2026, and recorded after the invoice of that month." in html


def test_payments_and_credit_notes_stand_with_the_invoice(tenant: Tenant) -> None:
    invoice = issued(tenant)
    with at(MAY):
        record_payment(
            by=US,
            invoice=invoice,
            provider="manual",
            reference="statement 7",
            amount=Decimal("5.00"),
            currency="USD",
            received_at=APRIL + HOUR,
        )
        note = issue_credit_note(by=operator(), invoice_id=invoice.id, lines=[(1, Decimal("1.00"))], reason="An outage of ours")
        html = page(tenant, "invoice", invoice.number)
        assert "statement 7" in html
        assert reverse("billing:invoice", args=["acme", note.number]) in html
        assert "$5.71" in html  # 11.90 less 5.00 and 1.19
        html = page(tenant, "invoice", note.number)
    assert f"Credit note {note.number}" in html
    assert "An outage of ours" in html
    assert reverse("billing:invoice", args=["acme", invoice.number]) in html
    assert "Pay this invoice" not in html


def test_the_pdf_is_the_one_that_is_kept_and_is_a_download(tenant: Tenant) -> None:
    invoice = issued(tenant)
    answer = browser(tenant).get(reverse("billing:invoice_pdf", args=["acme", invoice.number]))
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
    assert answer["Content-Disposition"] == f'attachment; filename="{invoice.number}.pdf"'
    assert answer["Cache-Control"] == "no-store"
    assert answer.content == pdf_of(invoice=invoice)


def test_json_and_xml_are_downloads_as_well(tenant: Tenant) -> None:
    invoice = issued(tenant)
    client = browser(tenant)
    found = json.loads(client.get(reverse("billing:invoice_json", args=["acme", invoice.number])).content)
    assert (found["schema"], found["number"], found["gross"], found["owed"]) == ("carina-invoice/1", invoice.number, "11.90", "11.90")
    answer = client.get(reverse("billing:invoice_xml", args=["acme", invoice.number]))
    assert answer["Content-Type"] == "application/xml"
    assert b"urn:cen.eu:en16931:2017" in answer.content


def test_where_there_can_be_no_xml_the_page_says_why(tenant: Tenant) -> None:
    Account.objects.update(country="")
    invoice = issued(tenant)
    assert "asks for the customer&#x27;s country" in page(tenant, "invoice", invoice.number)
    answer = browser(tenant).get(reverse("billing:invoice_xml", args=["acme", invoice.number]))
    assert answer.status_code == 409


ADDRESSES = ("invoices", "invoice", "invoice_pdf", "invoice_json", "invoice_xml", "settings")


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_stranger_finds_nothing_and_a_member_without_the_right_is_refused(tenant: Tenant, name: str) -> None:
    invoice = issued(tenant)
    address = reverse(f"billing:{name}", args=["acme", invoice.number] if name.startswith("invoice") and name != "invoices" else ["acme"])
    assert browser(make_tenant("other")).get(address).status_code == 404
    assert browser(tenant, role=Role.VIEWER).get(address).status_code == 403
    assert browser(tenant, role=Role.BILLING).get(address).status_code == 200
    assert Client().get(address).status_code == 302


def test_another_organisations_invoice_is_not_found_under_ones_own_address(tenant: Tenant) -> None:
    invoice = issued(tenant)
    other = make_tenant("other")
    for name in ("invoice", "invoice_pdf", "invoice_json", "invoice_xml"):
        assert browser(other).get(reverse(f"billing:{name}", args=["other", invoice.number])).status_code == 404


@pytest.mark.parametrize("number", ["2026-999999", "x" * 200, "%00", "..", "a b"])
def test_a_number_that_is_none_is_not_found(tenant: Tenant, number: str) -> None:
    assert browser(tenant).get(f"/t/acme/billing/invoices/{number}").status_code == 404


FORM = {
    "legal_name": "Blue Team",
    "address": "Am Markt 1",
    "country": "DE",
    "vat_id": "DE136695976",
    "email": "",
    "time_zone": "Europe/Berlin",
}


def test_billing_details_are_changed_by_a_form(tenant: Tenant) -> None:
    client = browser(tenant)
    home = reverse("billing:settings", args=["acme"])
    html = page(tenant, "settings", client=client)
    assert 'value="Acme GmbH"' in html
    assert '<option value="DE" selected>Germany</option>' in html
    assert '<option value="UTC" selected>UTC</option>' in html
    assert client.post(home, FORM, follow=True).redirect_chain == [(home, 302)]
    account = Account.objects.get()
    assert (account.legal_name, account.vat_id, account.time_zone) == ("Blue Team", "DE136695976", "Europe/Berlin")
    assert '<option value="Europe/Berlin" selected>Berlin</option>' in page(tenant, "settings", client=client)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"vat_id": "DE136695977"}, "no VAT id of Germany"),
        ({"country": "FR"}, "A VAT id of France begins with FR"),
        ({"email": "nobody"}, "no e-mail address"),
        ({"time_zone": "Mars/Olympus"}, "Select a valid choice"),
    ],
)
def test_what_is_wrong_stands_beside_the_field_and_nothing_is_changed(tenant: Tenant, values: dict[str, str], sentence: str) -> None:
    answer = browser(tenant).post(reverse("billing:settings", args=["acme"]), {**FORM, **values})
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert Account.objects.get().legal_name == "Acme GmbH"


def test_a_zone_of_an_old_name_stays_what_it_is_when_the_form_is_saved(tenant: Tenant) -> None:
    Account.objects.update(time_zone="US/Pacific")
    client = browser(tenant)
    assert '<option value="US/Pacific" selected>US/Pacific</option>' in page(tenant, "settings", client=client)
    client.post(reverse("billing:settings", args=["acme"]), {**FORM, "time_zone": "US/Pacific"})
    assert Account.objects.get().time_zone == "US/Pacific"


def test_who_may_only_look_cannot_change_them(tenant: Tenant) -> None:
    client = browser(tenant, role=Role.VIEWER)
    assert client.post(reverse("billing:settings", args=["acme"]), FORM).status_code == 403
    assert Account.objects.get().legal_name == "Acme GmbH"


def look_at_pages(
    browser: Browser, *, base: str, session: str, axe: str, name: str, width: int, scheme: Any, shots: dict[str, str]
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": base}])
    page = context.new_page()
    watch = Watch(page)
    for shot, address in shots.items():
        page.goto(f"{base}{address}")
        page.screenshot(path=SCREENSHOTS / f"billing-{shot}-{name}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{shot} scrolls sideways on {name}"
        page.evaluate(axe)
        found = page.evaluate("async () => (await axe.run()).violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' '))")
        assert found == [], (shot, name)
    assert not watch.complaints
    context.close()


@pytest.mark.django_db(transaction=True)
def test_the_pages_stand_in_a_browser_without_a_complaint(request: pytest.FixtureRequest, axe: str) -> None:
    live_server: LiveServer = request.getfixturevalue("live_server")
    tenant: Tenant = request.getfixturevalue("tenant")
    invoice = issued(tenant)
    use(tenant, APRIL, None, bay="staging", hosts=3)
    use(tenant, APRIL - 10 * HOUR, APRIL, bay="db")
    make_invoice(tenant, "48.20", due_on=APRIL.date())
    record_payment(
        by=US, invoice=invoice, provider="manual", reference="statement 7", amount=Decimal("5.00"), currency="USD", received_at=APRIL + HOUR
    )
    note = issue_credit_note(by=operator(), invoice_id=invoice.id, lines=[(1, Decimal("1.00"))], reason="An outage of ours")
    shots = {
        "invoices": reverse("billing:invoices", args=["acme"]),
        "invoice": reverse("billing:invoice", args=["acme", invoice.number]),
        "credit-note": reverse("billing:invoice", args=["acme", note.number]),
        "details": reverse("billing:settings", args=["acme"]),
    }
    session = browser(tenant).cookies[settings.SESSION_COOKIE_NAME].value
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "browser tests need Chromium: install it with “apt-get install chromium”"
    with sync_playwright() as playwright:  # a browser of its own: while one runs, its loop keeps this thread from the database
        chromium = playwright.chromium.launch(executable_path=program, args=QUIET)
        for name, width, scheme in (("desktop", 1440, "light"), ("phone", 390, "light"), ("dark", 1440, "dark")):
            look_at_pages(chromium, base=live_server.url, session=session, axe=axe, name=name, width=width, scheme=scheme, shots=shots)
        chromium.close()
