"""Credit that will end unused: who looks after the bills is told of each grant once, two weeks before the last month it pays for ends."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from apps.billing.credit.grants import left_after_spend, pays_until
from apps.billing.models import Account, CreditGrant, CreditNotice
from apps.billing.periods import midnight
from apps.billing.terms.recipients import recipients_of
from apps.common.mails import send_to_each
from apps.common.money import in_words

log = structlog.get_logger(__name__)
WARN_BEFORE = timedelta(days=14)
LONGEST_MONTH = timedelta(days=32)
"""Between the end of the last month a grant can pay for and its own end there is less than this."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A grant of which `left` will be lost after the day `pays_until`, by the account's calendar, unless more is used until then."""

    grant: CreditGrant
    left: Decimal
    pays_until: date

    @property
    def words(self) -> str:
        """What is left of it, as people write it."""
        return in_words(amount=self.left, currency=self.grant.currency)


def warn_of_expiring(*, at: datetime) -> int:
    """Send the mails that are due and return to how many organisations. May run in several workers at once, as the portal itself.

    A mail that cannot be sent is tried again the next time, and what is wrong with one organisation stops no other.
    """
    soon = CreditGrant.objects.filter(notice=None, expires_at__gt=at, expires_at__lte=at + WARN_BEFORE + LONGEST_MONTH)
    return sum(_warn_safely(tenant_id=tenant_id, at=at) for tenant_id in soon.values_list("tenant_id", flat=True).distinct())


def _warn_safely(*, tenant_id: UUID, at: datetime) -> bool:
    try:
        with transaction.atomic():
            return _warn(tenant_id=tenant_id, at=at)
    except OSError as error:  # smtplib's errors are OSErrors too
        log.warning("credit_notice_not_sent", tenant=str(tenant_id), error=type(error).__name__)
    except Exception:
        log.exception("credit_notice_failed", tenant=str(tenant_id))
    return False


def _warn(*, tenant_id: UUID, at: datetime) -> bool:
    rows = Account.objects.select_related("tenant").select_for_update(of=("self",), no_key=True, skip_locked=True)
    account = rows.filter(tenant_id=tenant_id, tenant__deleted_at=None).first()
    ending = _ending(account=account, at=at) if account else []
    if not account or not ending:
        return False
    CreditNotice.objects.bulk_create(CreditNotice(tenant_id=tenant_id, grant=each.grant, left=each.left, at=at) for each in ending)
    context = {
        "tenant": account.tenant,
        "ending": ending,
        "page": settings.BASE_URL + reverse("billing:credit", args=[account.tenant.slug]),
    }
    if not send_to_each(recipients=recipients_of(account), template="billing/email/credit_ending", context=context):
        raise OSError("nobody to send it to")
    return True


def _ending(*, account: Account, at: datetime) -> list[Ending]:
    """Return the grants that nobody was told of, of which something is left, and whose last month ends within two weeks."""
    _period, left = left_after_spend(account=account, at=at)
    told = set(CreditNotice.objects.filter(tenant_id=account.tenant_id).values_list("grant_id", flat=True))
    ending = []
    for grant, amount in left.items():
        last = pays_until(grant=grant, account=account)
        if last is None or amount <= 0 or grant.id in told:
            continue
        end = midnight(day=last + timedelta(days=1), zone=account.time_zone)
        if end - WARN_BEFORE <= at < end:
            ending.append(Ending(grant=grant, left=amount, pays_until=last))
    return ending
