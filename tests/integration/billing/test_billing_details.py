"""Billing details: who may change them, what they may be, and that invoices keep what was true."""

from datetime import UTC, datetime

import pytest

from apps.audit.models import AuditEvent
from apps.billing.invoices.details import change_details, details_of, vat_id
from apps.billing.models import Account
from apps.common.errors import Forbidden, InvalidInput
from apps.tenants.context import Access
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import access_for, join, make_tenant, make_user

pytestmark = pytest.mark.django_db
COMPANY = {
    "legal_name": "  Blue   Team GmbH ", "address": "Am Markt 1\r\n\r\n 10115  Berlin ", "country": "de", "vat_id": "de 136.695-976",
    "email": "bills@example.com", "time_zone": "Europe/Berlin",
}  # fmt: skip


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


def member(tenant: Tenant, role: Role) -> Access:
    user = make_user()
    join(tenant, user, role=role)
    return access_for(tenant, user)


def test_details_are_kept_tidily(tenant: Tenant) -> None:
    change_details(access=access_for(tenant), values=COMPANY)
    account = Account.objects.get()
    assert (account.legal_name, account.address) == ("Blue Team GmbH", "Am Markt 1\n10115 Berlin")
    assert (account.country, account.vat_id, account.email) == ("DE", "DE136695976", "bills@example.com")
    assert account.time_zone == "Europe/Berlin"


def test_what_is_not_named_stays_and_empty_text_takes_away(tenant: Tenant) -> None:
    access = access_for(tenant)
    change_details(access=access, values=COMPANY)
    change_details(access=access, values={"email": "", "vat_id": ""})
    account = details_of(access=access)
    assert (account.email, account.vat_id, account.legal_name) == ("", "", "Blue Team GmbH")


def test_a_change_is_written_down_and_none_is_not(tenant: Tenant) -> None:
    change_details(access=access_for(tenant), values={"country": "DE"})
    change_details(access=access_for(tenant), values={"country": "DE"})
    (event,) = AuditEvent.objects.filter(action="billing.details_changed")
    assert event.data == {"from": {"country": ""}, "to": {"country": "DE"}}
    assert event.sentence == "changed the billing details: country"


def test_another_time_zone_has_sums_by_day_made_anew_and_leaves_where_the_next_period_begins(tenant: Tenant) -> None:
    account = details_of(access=access_for(tenant))
    Account.objects.update(rolled_until=datetime(2026, 3, 5, tzinfo=UTC))
    changed = change_details(access=access_for(tenant), values={"time_zone": "Asia/Tokyo"})
    assert (changed.rolled_until, changed.billed_until) == (None, account.billed_until)
    Account.objects.update(rolled_until=datetime(2026, 3, 5, tzinfo=UTC))
    assert change_details(access=access_for(tenant), values={"email": "x@example.com"}).rolled_until is not None


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
def test_who_may_not_see_bills_sees_no_details(tenant: Tenant, role: Role) -> None:
    access = member(tenant, role)
    with pytest.raises(Forbidden):
        details_of(access=access)
    with pytest.raises(Forbidden):
        change_details(access=access, values=COMPANY)
    assert not Account.objects.exists()


@pytest.mark.parametrize("role", [Role.ADMIN, Role.BILLING])
def test_admins_and_billing_members_change_them(tenant: Tenant, role: Role) -> None:
    assert change_details(access=member(tenant, role), values={"legal_name": "Acme"}).legal_name == "Acme"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("legal_name", "x" * 201, "at most 200 characters"),
        ("legal_name", 5, "must be text"),
        ("legal_name", None, "must be text"),
        ("legal_name", "a\x00b", "printable"),
        ("address", "\n".join("abcdefghi"), "at most 8 lines"),
        ("address", "x" * 501, "500 characters"),
        ("country", "XX", "There is no country"),
        ("country", "Germany", "There is no country"),
        ("vat_id", "DE136695976", "Choose the country too"),
        ("vat_id", "x" * 50, "letters and digits"),
        ("email", "nobody", "no e-mail address"),
        ("email", "a@b\nBcc: c@d.example", "no e-mail address"),
        ("time_zone", "Mars/Olympus", "There is no time zone"),
        ("time_zone", "", "There is no time zone"),
        ("time_zone", "../../etc/passwd", "There is no time zone"),
        ("currency", "EUR", "There is no detail"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(tenant: Tenant, field: str, value: object, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        change_details(access=access_for(tenant), values={field: value})
    assert list(refused.value.errors) == [field]


def test_every_field_at_fault_is_named_and_nothing_is_changed(tenant: Tenant) -> None:
    with pytest.raises(InvalidInput) as refused:
        change_details(access=access_for(tenant), values={"legal_name": "Acme", "email": "x", "time_zone": "x"})
    assert set(refused.value.errors) == {"email", "time_zone"}
    assert Account.objects.get().legal_name == ""


def test_a_vat_id_is_checked_again_when_the_country_changes(tenant: Tenant) -> None:
    change_details(access=access_for(tenant), values=COMPANY)
    with pytest.raises(InvalidInput, match="begins with FR"):
        change_details(access=access_for(tenant), values={"country": "FR"})


@pytest.mark.parametrize(
    ("country", "text", "kept"),
    [
        ("DE", "DE136695976", "DE136695976"),
        ("NL", "NL004495445B01", "NL004495445B01"),
        ("GR", "EL 094259216", "EL094259216"),
        ("GB", "GB980780684", "GB980780684"),
        ("CH", "CHE-107.787.577 IVA", "CHE107787577IVA"),
        ("NO", "NO 995 525 828 MVA", "NO995525828MVA"),
        ("US", "12-3456789", "123456789"),
        ("DE", "", ""),
    ],
)
def test_vat_ids_that_can_be(country: str, text: str, kept: str) -> None:
    assert vat_id(text=text, country=country) == kept


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("DE", "DE136695977"),
        ("DE", "136695976"),
        ("DE", "FR40303265045"),
        ("GR", "GR094259216"),
        ("GB", "GB1"),
        ("CH", "CHE1"),
        ("US", "é"),
    ],
)
def test_vat_ids_that_cannot_be(country: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"VAT"):
        vat_id(text=text, country=country)
