"""Who may change what all organisations are billed by: operators of the portal, and the portal itself (seeds, tasks)."""

from uuid import UUID

from apps.accounts.models import User
from apps.audit.services import Actor
from apps.common.errors import Forbidden

OURSELVES = "system:"


def require_operator(*, by: Actor) -> None:
    """Raise Forbidden unless `by` is an operator who may sign in, or the portal itself."""
    if by.id.startswith(OURSELVES):
        return
    try:
        user_id = UUID(by.id)
    except ValueError:
        raise Forbidden("Only operators of this portal decide about prices and terms.") from None
    if not User.objects.filter(id=user_id, is_staff=True, is_active=True).exists():
        raise Forbidden("Only operators of this portal decide about prices and terms.")
