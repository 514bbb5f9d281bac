"""Mail before a token expires: once, about a week before, to whoever can make a new one."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from apps.common.clock import now
from apps.common.mails import send_to_each
from apps.tenants.models import ApiToken, Membership, Tenant
from apps.tenants.roles import Role
from apps.tenants.tokens import usable_tokens

log = structlog.get_logger(__name__)
WARN_BEFORE = timedelta(days=7)
SETTLED_AFTER = timedelta(days=1)
"""Nobody is told in the first day of a token's life how soon it ends: they just chose it."""


def warn_of_expiring() -> int:
    """Send the warnings that are due and return how many tokens they were about. May run in several workers at once.

    A mail that cannot be sent is tried again the next time; the others go out all the same.
    """
    moment = now()
    due = usable_tokens().filter(warned_at=None, expires_at__lte=moment + WARN_BEFORE, created_at__lte=moment - SETTLED_AFTER)
    return sum(_warn(token_id=token_id) for token_id in due.order_by("expires_at").values_list("id", flat=True))


def _warn(*, token_id: UUID) -> bool:
    try:
        with transaction.atomic():
            row = usable_tokens().select_for_update(of=("self",), skip_locked=True).filter(id=token_id, warned_at=None).first()
            if row is None:
                return False
            row.warned_at = now()
            row.save(update_fields=["warned_at"])
            _send(row=row, recipients=_recipients(row))
    except OSError as error:  # smtplib's errors are OSErrors too
        log.warning("token_warning_not_sent", token=str(token_id), error=type(error).__name__)
        return False
    return True


def _recipients(row: ApiToken) -> Sequence[str]:
    if not row.user.is_service:
        return [row.user.email]
    people = Membership.objects.filter(tenant=row.tenant, role__in=(Role.OWNER, Role.ADMIN), user__is_active=True, user__is_service=False)
    return sorted(people.values_list("user__email", flat=True))


def _send(*, row: ApiToken, recipients: Sequence[str]) -> None:
    context = {"token": row, "account": row.user.service_account if row.user.is_service else None, "page": _page(row, row.tenant)}
    send_to_each(recipients=recipients, template="tenants/email/token_expiring", context=context)


def _page(row: ApiToken, tenant: Tenant) -> str:
    if row.user.is_service:
        return settings.BASE_URL + reverse("tenants:service_account", args=[tenant.slug, row.user.service_account.id])
    return settings.BASE_URL + reverse("tenants:tokens", args=[tenant.slug])
