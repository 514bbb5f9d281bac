"""What operators do with accounts: shut one out at once, and let it in again. Nobody here sees or sets a password."""

from typing import Any
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db import transaction

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput, NotFound
from apps.dashboard.gate import require_operator
from apps.dashboard.models import SupportView
from apps.dashboard.support import end_support_view
from apps.tenants.models import ApiToken, ServiceAccount

REASON_LENGTHS = range(3, 501)


@transaction.atomic
def disable_user(*, by: User, user_id: UUID, reason: str) -> User:
    """Shut an account out: its sessions end and its tokens are revoked, at once and for good. Returns it.

    Raises InvalidInput without a reason, Conflict for the operator's own account, the last operator and one that is disabled already.
    """
    reason = _checked(reason)
    # All operators in one order: two who disable each other must not both succeed.
    operators = {each.pk for each in User.objects.select_for_update().filter(is_staff=True, is_active=True).order_by("pk")}
    user = _locked(by=by, user_id=user_id)
    if user.pk == by.pk:
        raise Conflict("You cannot disable your own account; another operator can.", code="own_account")
    if by.pk not in operators:
        raise NotFound("There is no such page.")
    if not user.is_active:
        raise Conflict(f"{user.email} is disabled already.", code="already_disabled")
    if operators == {user.pk}:
        raise Conflict("This is the last operator of the portal, who must stay.", code="last_operator")
    user.is_active = False
    user.save(update_fields=["is_active"])
    sessions = _end_sessions(user)
    tokens = ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=now())
    end_support_view(of=user, end=SupportView.End.DISABLED)
    data = {"reason": reason, "sessions_ended": sessions, "tokens_revoked": tokens}
    _audit(by=by, user=user, action="user.disabled", sentence=f"disabled the account {user.email}: {reason}", data=data)
    _audit_in_tenants(by=by, user=user, action="user.disabled", sentence=f"disabled the account {user.email} in the whole portal")
    return user


@transaction.atomic
def enable_user(*, by: User, user_id: UUID, reason: str) -> User:
    """Let an account in again, and return it. What it lost stays lost: it signs in anew and makes new tokens.

    Raises InvalidInput without a reason, Conflict for an account that is not disabled and for a program's that was deleted.
    """
    reason = _checked(reason)
    user = _locked(by=by, user_id=user_id)
    if user.is_active:
        raise Conflict(f"{user.email} is not disabled.", code="not_disabled")
    if ServiceAccount.objects.filter(user=user, deleted_at__isnull=False).exists():
        raise Conflict("Its organisation has deleted this program's account; it makes a new one.", code="service_account_deleted")
    user.is_active = True
    user.save(update_fields=["is_active"])
    _audit(by=by, user=user, action="user.enabled", sentence=f"enabled the account {user.email}: {reason}", data={"reason": reason})
    _audit_in_tenants(by=by, user=user, action="user.enabled", sentence=f"enabled the account {user.email} again")
    return user


def _checked(reason: str) -> str:
    reason = " ".join(reason.split())
    if len(reason) not in REASON_LENGTHS or not reason.isprintable():
        raise InvalidInput.field("reason", "Say why, in 3 to 500 characters: the audit log keeps it.")
    return reason


def _locked(*, by: User, user_id: UUID) -> User:
    require_operator(by=by)
    user = User.objects.select_for_update().filter(id=user_id).first()
    if user is None:
        raise NotFound("There is no such account.")
    return user


def _end_sessions(user: User) -> int:
    """Delete the user's sessions. Their rows do not say whose they are, so each is opened; an account is not disabled every minute."""
    mine = [
        session.session_key
        for session in Session.objects.filter(expire_date__gt=now()).iterator(chunk_size=500)
        if session.get_decoded().get("_auth_user_id") == str(user.pk)
    ]
    return Session.objects.filter(session_key__in=mine).delete()[0]


def _audit(*, by: User, user: User, action: str, sentence: str, data: dict[str, Any]) -> None:
    record(by=by.actor, action=action, sentence=sentence, tenant_id=None, target_id=str(user.pk), target_label=user.email, data=data)


def _audit_in_tenants(*, by: User, user: User, action: str, sentence: str) -> None:
    """Tell the organisations of the account, whose programs may stop with it; the reason is the portal's own."""
    for tenant_id in user.memberships.values_list("tenant_id", flat=True):
        record(by=by.actor, action=action, sentence=sentence, tenant_id=tenant_id, target_id=str(user.pk), target_label=user.email)
