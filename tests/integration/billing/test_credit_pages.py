"""The pages of credit and budgets."""

import shutil
from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import sync_playwright
from pytest_django.live_server_helper import LiveServer

from apps.audit.services import Actor
from apps.billing.budgets.services import Rule, create_budget
from apps.billing.budgets.watching import watch
from apps.billing.credit.grants import grant_credit, note_uses, planned_uses
from apps.billing.models import Account, Budget, Invoice
from apps.billing.periods import month_at
from apps.billing.terms.accounts import default_issuer
from apps.common.clock import now
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.browser import QUIET, SCREENSHOTS
from tests.e2e.journey import Watch, serious_faults
from tests.factories import access_for, join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of
from tests.integration.billing.usage_rows import bay_of, ran

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    make_cloud()
    make_flavor(price="1")
    return make_tenant("acme")


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


FORM = {"name": "team", "amount": "250", "at_mail": "50, 80 %", "at_block": "100"}


def test_an_organisation_without_budgets_is_offered_one(tenant: Tenant) -> None:
    html = page(tenant, "budgets")
    assert "No budgets yet" in html
    assert 'value="50, 80, 100"' in html
    assert "Set budget" in html


def test_a_budget_is_set_changed_and_deleted_by_forms(tenant: Tenant) -> None:
    client = browser(tenant)
    home = reverse("billing:budgets", args=["acme"])
    assert client.post(home, FORM, follow=True).redirect_chain == [(home, 302)]
    budget = Budget.objects.get()
    assert (budget.name, budget.amount) == ("team", Decimal(250))
    assert budget.rules == [{"percent": 50, "action": "mail"}, {"percent": 80, "action": "mail"}, {"percent": 100, "action": "block"}]
    edit = reverse("billing:budget", args=["acme", budget.id])
    assert 'value="50, 80"' in page(tenant, "budget", budget.id)
    client.post(edit, {**FORM, "amount": "300", "at_block": ""})
    budget.refresh_from_db()
    assert budget.amount == 300
    assert len(budget.rules) == 2
    assert client.get(f"{edit}/delete").status_code == 405
    client.post(f"{edit}/delete")
    assert not Budget.objects.exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": ""}, "Give the budget a name"),
        ({"name": "My Budget"}, "A name may have only"),
        ({"amount": "much"}, "The amount must be a number above 0"),
        ({"amount": ""}, "Say how much you mean to spend"),
        ({"at_mail": "50, x"}, "Write whole numbers from 1 to 200"),
        ({"at_block": "201"}, "Write whole numbers from 1 to 200"),
    ],
)
def test_what_is_wrong_is_said_at_the_field_and_what_was_typed_stays(tenant: Tenant, values: dict[str, str], sentence: str) -> None:
    answer = browser(tenant).post(reverse("billing:budgets", args=["acme"]), {**FORM, **values})
    assert answer.status_code == 422
    html = answer.content.decode()
    assert sentence in html
    assert 'aria-invalid="true"' in html
    assert not Budget.objects.exists()


def test_a_budget_shows_by_words_how_it_stands(tenant: Tenant) -> None:
    make_bay(tenant, node_count=3)
    create_budget(access=access_for(tenant), name="small", amount="0.01")
    create_budget(access=access_for(tenant), name="large", amount="100000", rules=[])
    html = page(tenant, "budgets")
    assert "Within budget" in html
    assert "Will be exceeded" in html
    assert "not reached this month" in html
    assert 'aria-label="Spent of the budget small"' in html


def test_who_only_reads_sees_no_forms_and_strangers_nothing(tenant: Tenant) -> None:
    budget = create_budget(access=access_for(tenant), name="small", amount=10)
    home, edit = reverse("billing:budgets", args=["acme"]), reverse("billing:budget", args=["acme", budget.id])
    operator, stranger = browser(tenant, role=Role.OPERATOR), browser(make_tenant())
    for client, status in ((operator, 403), (stranger, 404)):
        assert client.get(home).status_code == status
        assert client.post(home, FORM).status_code == status
        assert client.get(edit).status_code == status
        assert client.post(edit, FORM).status_code == status
        assert client.post(f"{edit}/delete").status_code == status
        assert client.get(reverse("billing:credit", args=["acme"])).status_code == status
    assert Budget.objects.get().amount == 10
    assert browser(tenant, role=Role.BILLING).get(edit).status_code == 200


def test_a_budget_of_others_is_not_found(tenant: Tenant) -> None:
    other = make_tenant()
    budget = create_budget(access=access_for(other), name="theirs", amount=10)
    edit = reverse("billing:budget", args=["acme", budget.id])
    client = browser(tenant)
    assert client.get(edit).status_code == client.post(edit, FORM).status_code == client.post(f"{edit}/delete").status_code == 404
    assert Budget.objects.get().amount == 10


def test_no_credit_is_said_in_words(tenant: Tenant) -> None:
    html = page(tenant, "credit")
    assert "No credit yet" in html
    assert "Nothing expires in the next weeks" in html


def test_credit_shows_what_is_left_and_what_expires_soon(tenant: Tenant) -> None:
    this_month = now().astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    next_month = (this_month + timedelta(days=32)).replace(day=1)
    for amount, reason, until in (("12.50", "Welcome", next_month), ("100", "Card", None)):
        grant_credit(
            by=Actor.system("tests"), tenant=tenant, kind="promotional", amount=Decimal(amount), currency="USD", reason=reason,
            expires_at=until,
        )  # fmt: skip
    html = page(tenant, "credit")
    assert '<b class="num">$112.50</b>' in html
    last = next_month - timedelta(days=1)
    assert f"pays for use until {last.day} {last:%B %Y}" in html
    assert "Never expires" in html


class TestBuying:
    """Where a provider with a page of its own is set up; what that page does is the provider's."""

    @pytest.fixture(autouse=True)
    def _offered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("apps.billing.pages.credit.can_top_up", lambda: True)
        monkeypatch.setattr("apps.billing.pages.credit.start_topup", lambda *, access, amount: f"https://pay.example.com/{amount}")

    def test_credit_is_bought_where_it_is_offered(self, tenant: Tenant) -> None:
        assert "Add credit" in page(tenant, "credit")
        answer = browser(tenant).post(reverse("billing:credit", args=["acme"]), {"amount": "50"})
        assert answer.headers["Refresh"] == "0;url=https://pay.example.com/50"

    @pytest.mark.parametrize("amount", ["", "much", "\x00"])
    def test_what_is_no_amount_is_said_at_the_field(self, tenant: Tenant, amount: str) -> None:
        answer = browser(tenant).post(reverse("billing:credit", args=["acme"]), {"amount": amount})
        assert answer.status_code == 422
        assert 'id="id_amount_error"' in answer.content.decode()

    def test_who_may_not_pay_buys_nothing(self, tenant: Tenant) -> None:
        viewer = browser(tenant, role=Role.VIEWER)
        assert viewer.post(reverse("billing:credit", args=["acme"]), {"amount": "50"}).status_code == 403


def test_where_nobody_takes_money_no_credit_is_for_sale(tenant: Tenant) -> None:
    assert "Add credit" not in page(tenant, "credit")


@pytest.fixture
def told(tenant: Tenant) -> Tenant:
    """An organisation with everything these pages have something to say about."""
    start = month_at(at=now(), zone="UTC").start
    web = bay_of(tenant, "web", moment=start)
    ran(web, (start - timedelta(days=1), None), flavor=make_flavor("m1.large", price="0.25"))
    access = access_for(tenant)
    both: list[Rule] = [{"percent": 80, "action": "mail"}, {"percent": 100, "action": "block"}]
    for name, amount, rules in (("monthly", 1_000, None), ("team-a", 150, None), ("experiments", 120, both), ("no-rules", 90_000, [])):
        create_budget(access=access, name=name, amount=amount, rules=rules)
    watch(at=now())
    for kind, dollars, reason, months in (
        ("promotional", "100", "Welcome", 1),
        ("prepaid", "250", "Bought by card", 24),
        ("prepaid", "5", "Tip", 0),
    ):
        grant_credit(
            by=Actor.system("tests"), tenant=tenant, kind=kind, amount=Decimal(dollars), currency="USD", reason=reason,
            expires_at=start + timedelta(days=31 * months) if months else None,
        )  # fmt: skip
    invoice = Invoice.objects.create(
        tenant=tenant, issuer=default_issuer(), number="INV-2026-00001", period_start=start - timedelta(days=31), period_end=start,
        time_zone="UTC", currency="USD", seller={}, customer={}, net=60, tax=0, gross=60, issued_at=start, due_on=start.date(),
    )  # fmt: skip
    uses = planned_uses(tenant_id=tenant.id, kind="prepaid", currency="USD", amount=Decimal(60), at=start)
    note_uses(invoice=invoice, uses=uses, at=start)
    Account.objects.update(billed_until=start)
    return tenant


@pytest.mark.django_db(transaction=True)
def test_the_pages_stand_in_a_browser_without_a_complaint(request: pytest.FixtureRequest, axe: str) -> None:
    site: LiveServer = request.getfixturevalue("live_server")
    tenant: Tenant = request.getfixturevalue("told")
    session = browser(tenant).cookies[settings.SESSION_COOKIE_NAME].value
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "browser tests need Chromium: install it with “apt-get install chromium”"
    pages = {"credit": reverse("billing:credit", args=["acme"]), "budgets": reverse("billing:budgets", args=["acme"])}
    pages["budget"] = reverse("billing:budget", args=["acme", Budget.objects.get(name="experiments").id])
    with sync_playwright() as playwright:  # a browser of its own: while one runs, its loop keeps this thread from the database
        chromium = playwright.chromium.launch(executable_path=program, args=QUIET)
        for look, width, scheme in (("desktop", 1440, "light"), ("phone", 390, "light"), ("dark", 1440, "dark")):
            context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, locale="en")  # type: ignore[arg-type]
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": site.url}])
            visitor = context.new_page()
            watch_browser = Watch(visitor)
            for name, address in pages.items():
                visitor.goto(f"{site.url}{address}")
                visitor.screenshot(path=SCREENSHOTS / f"billing-{name}-{look}.png", full_page=True)
                assert visitor.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} scrolls sideways on {look}"
                assert serious_faults(visitor, axe) == [], (name, look)
            assert not watch_browser.complaints
            context.close()
        chromium.close()
