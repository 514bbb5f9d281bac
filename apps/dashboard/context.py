"""What every page may need to know of the portal itself."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from apps.accounts.models import User
from apps.common.mailbox import shows_mails_to
from apps.dashboard.announcements import current_announcements, dismissed_in
from apps.dashboard.models import Announcement, SupportView
from apps.dashboard.support import running_view
from apps.tenants.models import Tenant
from apps.tenants.services import tenants_of


def portal(request: HttpRequest) -> dict[str, Any]:
    """Return the template variables of the portal: version, currency, whether mails land on a page, the request's id, the user's tenants,
    what is announced, and an operator's open support view.

    Rows are only looked up where a template shows them: an error page must not need the database.
    """

    def mine() -> list[Tenant]:
        user = getattr(request, "user", None)
        return list(tenants_of(user=user)) if isinstance(user, User) else []

    def announced() -> list[Announcement]:
        if not isinstance(getattr(request, "user", None), User):
            return []
        return current_announcements(dismissed=dismissed_in(session=request.session))

    def support() -> SupportView | None:
        user = getattr(request, "user", None)
        return running_view(user=user) if isinstance(user, User) else None

    return {
        "carina_version": settings.VERSION,
        "currency": settings.CURRENCY,
        "mailbox": SimpleLazyObject(lambda: shows_mails_to(request=request)),
        "request_id": request.META.get("carina.request_id", ""),
        "announcements": SimpleLazyObject(announced),
        "support_view": SimpleLazyObject(support),
        "my_tenants": SimpleLazyObject(mine),
    }
