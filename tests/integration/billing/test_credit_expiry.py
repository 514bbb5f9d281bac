"""Who looks after the bills is told, once, of credit that ends before it was used."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from smtplib import SMTPServerDisconnected
from unittest.mock import patch

import pytest
from django.core import mail

from apps.audit.services import Actor
from apps.billing import tasks
from apps.billing.credit.expiry import warn_of_expiring
from apps.billing.credit.grants import grant_credit, note_uses, planned_uses
from apps.billing.models import Account, CreditGrant, CreditNotice
from apps.billing.terms.accounts import account_of
from apps.tenants.models import Tenant
from apps.tenants.roles import Role
from tests.factories import join, make_bay, make_cloud, make_flavor, make_tenant, make_user, owner_of
from tests.integration.billing.clock import at
from tests.integration.billing.debts import make_invoice

pytestmark = pytest.mark.django_db
MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
IN_TIME = datetime(2026, 3, 20, tzinfo=UTC)
"""Less than two weeks before March ends."""


@pytest.fixture
def tenant() -> Tenant:
    with at(MARCH):
        tenant = make_tenant("crew")
        account_of(tenant=tenant)
    return tenant


def grant(tenant: Tenant, amount: str = "50.00", *, until: datetime | None = APRIL, kind: str = "promotional") -> CreditGrant:
    with at(MARCH):
        return grant_credit(
            by=Actor.system("tests"),
            tenant=tenant,
            kind=kind,
            amount=Decimal(amount),
            currency="USD",
            reason="Welcome aboard",
            expires_at=until,
        )


def warn(moment: datetime) -> int:
    with at(moment):
        return warn_of_expiring(at=moment)


def test_the_mail_says_how_much_is_left_and_until_when_it_pays(tenant: Tenant) -> None:
    grant(tenant)
    assert warn(IN_TIME) == 1
    sent = mail.outbox[0]
    assert (sent.to, sent.subject) == ([owner_of(tenant).email], "Credit of Crew ends on 31 March 2026")
    for words in (
        "$50.00 of promotional credit (Welcome aboard), which pays for what is used until 31 March 2026",
        "/t/crew/billing/credit",
    ):
        assert words in sent.body
    assert "{" not in sent.body


def test_it_is_told_once_for_each_grant(tenant: Tenant) -> None:
    grant(tenant)
    assert [warn(IN_TIME), warn(IN_TIME), warn(IN_TIME + timedelta(days=1))] == [1, 0, 0]
    grant(tenant, "7.00", kind="prepaid")
    assert warn(IN_TIME + timedelta(days=2)) == 1
    assert "$7.00 of prepaid credit" in mail.outbox[-1].body
    assert "$50.00" not in mail.outbox[-1].body
    assert CreditNotice.objects.count() == 2


def test_several_that_end_are_one_mail(tenant: Tenant) -> None:
    grant(tenant)
    grant(tenant, "7.00", until=APRIL + timedelta(days=3))
    assert warn(IN_TIME) == 1
    assert ("$50.00" in mail.outbox[0].body, "$7.00" in mail.outbox[0].body) == (True, True)


@pytest.mark.parametrize(
    ("until", "moment"),
    [
        (APRIL, datetime(2026, 3, 17, 23, 59, tzinfo=UTC)),
        (APRIL, APRIL),
        (datetime(2026, 5, 1, tzinfo=UTC), IN_TIME),
        (None, IN_TIME),
    ],
    ids=["more than two weeks before", "when it is over", "one that ends with another month", "one that never ends"],
)
def test_nobody_is_bothered_about_others(until: datetime | None, moment: datetime, tenant: Tenant) -> None:
    grant(tenant, until=until)
    assert (warn(moment), mail.outbox) == (0, [])


def test_two_weeks_before_is_in_time(tenant: Tenant) -> None:
    grant(tenant)
    assert warn(datetime(2026, 3, 18, tzinfo=UTC)) == 1


def test_days_are_those_of_the_accounts_calendar(tenant: Tenant) -> None:
    Account.objects.filter(tenant=tenant).update(time_zone="Pacific/Auckland")
    grant(tenant, until=datetime(2026, 3, 31, 11, tzinfo=UTC))
    assert warn(datetime(2026, 3, 17, 10, 59, tzinfo=UTC)) == 0
    assert warn(datetime(2026, 3, 17, 11, tzinfo=UTC)) == 1


def test_what_this_month_has_used_already_is_not_left(tenant: Tenant) -> None:
    make_cloud()
    make_flavor(price="1.00")
    grant(tenant, "100.00")
    with at(MARCH):
        make_bay(tenant, "web")
    assert warn(MARCH + timedelta(days=17, hours=2)) == 0, "410 hours at a dollar are more than the credit"
    grant(tenant, "1000.00", until=APRIL + timedelta(days=1))
    assert warn(MARCH + timedelta(days=17, hours=2)) == 1
    assert "$690.00 of promotional" in mail.outbox[0].body
    assert CreditNotice.objects.count() == 1


def test_credit_that_invoices_used_up_is_nothing_to_tell(tenant: Tenant) -> None:
    grant(tenant, "120.00", kind="prepaid")
    uses = planned_uses(tenant_id=tenant.id, kind="prepaid", currency="USD", amount=Decimal(120), at=MARCH)
    note_uses(invoice=make_invoice(tenant, "120.00"), uses=uses, at=MARCH)
    assert warn(IN_TIME) == 0


def test_a_mail_that_cannot_be_sent_is_tried_again_and_stops_no_other(tenant: Tenant) -> None:
    grant(tenant)
    with patch("django.core.mail.EmailMessage.send", side_effect=SMTPServerDisconnected):
        assert warn(IN_TIME) == 0
    assert not CreditNotice.objects.exists()
    with at(MARCH):
        other = make_tenant("other")
        account_of(tenant=other)
    grant(other)
    real = mail.EmailMessage.send

    def refusing(message: mail.EmailMessage, fail_silently: bool = False) -> int:
        if message.to == [owner_of(tenant).email]:
            raise OSError("no such mailbox")
        return real(message, fail_silently)

    with patch("django.core.mail.EmailMessage.send", refusing):
        assert warn(IN_TIME) == 1
    assert CreditNotice.objects.get().tenant == other
    assert warn(IN_TIME) == 1
    assert sorted(notice.tenant.slug for notice in CreditNotice.objects.all()) == ["crew", "other"]


def test_an_organisation_whose_months_cannot_be_told_stops_no_other(tenant: Tenant) -> None:
    grant(tenant)
    with at(MARCH):
        broken = make_tenant("broken")
        account_of(tenant=broken)
    grant(broken)
    Account.objects.filter(tenant=broken).update(time_zone="Mars/Olympus")
    assert warn(IN_TIME) == 1
    assert CreditNotice.objects.get().tenant == tenant


def test_owners_and_billing_members_are_told_each_by_a_mail_of_their_own(tenant: Tenant) -> None:
    for address, role in (("books@example.com", Role.BILLING), ("dev@example.com", Role.OPERATOR)):
        join(tenant, make_user(address), role=role)
    grant(tenant)
    with at(IN_TIME):
        tasks.warn_of_credit()
    assert sorted(sent.to for sent in mail.outbox) == sorted([["books@example.com"], [owner_of(tenant).email]])
