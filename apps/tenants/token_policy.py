"""How long tokens of a tenant may live: its own maximum below the portal's, for new tokens and for those that exist."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import InvalidInput
from apps.tenants.context import Access
from apps.tenants.models import ApiToken, Tenant
from apps.tenants.roles import Permission


def tokens_beyond(*, access: Access, days: int | None) -> int:
    """Return how many live tokens of the tenant would be cut by a maximum of `days` days; None stands for the portal's own maximum.

    Raises InvalidInput for a number of days that cannot be a maximum.
    """
    access.require(Permission.TENANT_MANAGE)
    return _beyond(tenant=access.tenant, days=_check_days(days)).count()


def set_max_token_days(*, access: Access, days: int | None) -> int:
    """Set the tenant's maximum and cut every live token to it, counted from now; return how many were cut. None removes the maximum.

    Raises InvalidInput for a number of days that cannot be a maximum.
    """
    access.require(Permission.TENANT_MANAGE)
    longest = _check_days(days)
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).get(id=access.tenant.id)
        before, tenant.max_token_days = tenant.max_token_days, days
        tenant.save(update_fields=["max_token_days"])
        cut = _beyond(tenant=tenant, days=longest).update(expires_at=now() + timedelta(days=longest))
        if before != days or cut:
            said = f"to {_days(days)}" if days else f"back to the portal's {_days(longest)}"
            record(
                by=access.actor,
                action="tenant.token_maximum_set",
                sentence=f"set the longest lifetime of API tokens {said}; {cut} {'token was' if cut == 1 else 'tokens were'} cut to it",
                tenant_id=tenant.id,
                target_id=str(tenant.id),
                target_label=tenant.slug,
                data={"before": before, "after": days, "tokens_cut": cut},
            )
    access.tenant.max_token_days = days
    return cut


def _check_days(days: int | None) -> int:
    most = settings.MAX_TOKEN_DAYS
    if days is None:
        return most
    if not 1 <= days <= most:
        raise InvalidInput.field("max_token_days", f"The longest lifetime must be from 1 to {most} days, the maximum of this portal.")
    return days


def _beyond(*, tenant: Tenant, days: int) -> QuerySet[ApiToken]:
    return ApiToken.objects.filter(tenant=tenant, revoked_at=None, expires_at__gt=now() + timedelta(days=days))


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"
