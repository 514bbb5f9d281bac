"""What every page may need to know of the portal itself."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from apps.accounts.models import User
from apps.common.mailbox import shows_mails_to
from apps.tenants.models import Tenant
from apps.tenants.services import tenants_of


def portal(request: HttpRequest) -> dict[str, Any]:
    """Return the template variables of the portal: version, currency, whether mails land on a page, the request's id, the user's tenants.

    Tenants are only looked up where a template shows them: an error page must not need the database.
    """

    def mine() -> list[Tenant]:
        user = getattr(request, "user", None)
        return list(tenants_of(user=user)) if isinstance(user, User) else []

    return {
        "carina_version": settings.VERSION,
        "currency": settings.CURRENCY,
        "mailbox": SimpleLazyObject(lambda: shows_mails_to(request=request)),
        "request_id": request.META.get("carina.request_id", ""),
        "my_tenants": SimpleLazyObject(mine),
    }
