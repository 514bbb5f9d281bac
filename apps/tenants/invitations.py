"""Invitations of a tenant: send, send again, withdraw, list. Accepting them is in `apps.tenants.acceptance`.

The mail's secret is random and stored as a keyed hash, so that a copy of the database opens nothing. What is said to whoever invites
is the same whether the address has an account or not.
"""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.urls import reverse

from apps.accounts.addresses import is_service_address
from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.services import record
from apps.common.api.problems import Unavailable
from apps.common.clock import now
from apps.common.errors import CarinaError, Conflict, InvalidInput, NotFound
from apps.common.mails import send_to_each
from apps.common.scope import as_system
from apps.tenants.context import Access
from apps.tenants.members import check_role
from apps.tenants.models import Invitation, Membership
from apps.tenants.roles import Permission
from apps.tenants.services import lock_tenant

log = structlog.get_logger(__name__)
SECRET_BYTES = 32
DEFAULT_DAYS, MOST_DAYS = 7, 30
PER_TENANT, PER_PERSON, WINDOW = 30, 60, timedelta(hours=1)
"""Mails with invitations of one tenant, and by one person over all their tenants, in an hour: the portal sends no spam."""

SENT = ("invitation.created", "invitation.resent")
OPEN = Q(accepted_at=None, revoked_at=None)


class TooManyInvitations(CarinaError):
    """As many mails were sent as may be in an hour."""

    status = 429
    code = "too_many_requests"
    title = "Too many requests"
    retry_after = 600


def invitations_of(*, access: Access) -> QuerySet[Invitation]:
    """Return the tenant's invitations that were neither accepted nor withdrawn, expired ones too, newest first."""
    access.require(Permission.MEMBER_MANAGE)
    return access.tenant.invitations.filter(OPEN).order_by("-created_at", "-id")


def invitation_named(*, access: Access, invitation_id: UUID) -> Invitation:
    """Return one open invitation of the tenant. Raises NotFound."""
    found = invitations_of(access=access).filter(id=invitation_id).first()
    if found is None:
        raise _none()
    return found


def invite(*, access: Access, email: str, role: str, days: int = DEFAULT_DAYS) -> Invitation:
    """Invite an address to become a member with a role, by a mail whose link is good for `days`; an expired one to it is replaced.

    Raises InvalidInput for a bad address, role or number of days, Forbidden for the role owner unless the asker is one, Conflict for
    members and for addresses with an open invitation, TooManyInvitations, Unavailable if the mail cannot be sent: then nothing changed.
    """
    access.require(Permission.MEMBER_MANAGE)
    address = _check_address(email)
    given = check_role(access=access, role=role)
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput.field("expires_in_days", f"An invitation is good for 1 to {MOST_DAYS} days.")
    with transaction.atomic():
        _wait_for_turn(access=access)
        if Membership.objects.filter(tenant=access.tenant, user__email__iexact=address).exists():
            raise Conflict(f"{address} is a member already.", code="already_member", errors={"email": "They are a member already."})
        moment, secret = now(), _new_secret()
        Invitation.objects.filter(OPEN, tenant=access.tenant, email__iexact=address, expires_at__lte=moment).update(revoked_at=moment)
        try:
            with transaction.atomic():
                row = Invitation.objects.create(
                    tenant=access.tenant, email=address, role=given, digest=digest_of(secret=secret), invited_by=access.actor.label,
                    created_at=moment, sent_at=moment, expires_at=moment + timedelta(days=days),
                )  # fmt: skip
        except IntegrityError as error:
            raise Conflict(
                f"{address} has an open invitation; send that one again, or withdraw it first.",
                code="already_invited",
                errors={"email": "There is an open invitation to this address."},
            ) from error
        _audit(access=access, row=row, action="invitation.created", sentence=f"invited {address} as {given}")
        _send(access=access, row=row, secret=secret)
    return row


def resend(*, access: Access, invitation_id: UUID) -> Invitation:
    """Send an invitation again with a new link, good for as long as the first one was; the old link is void.

    Raises NotFound, Forbidden for an owner's invitation unless the asker is one, TooManyInvitations, Unavailable.
    """
    with transaction.atomic():
        row = _locked(access=access, invitation_id=invitation_id)
        check_role(access=access, role=row.role)
        _wait_for_turn(access=access)
        moment, secret = now(), _new_secret()
        row.expires_at = moment + (row.expires_at - row.sent_at)
        row.sent_at, row.digest = moment, digest_of(secret=secret)
        row.save(update_fields=["sent_at", "expires_at", "digest"])
        _audit(access=access, row=row, action="invitation.resent", sentence=f"invited {row.email} again")
        _send(access=access, row=row, secret=secret)
    return row


@transaction.atomic
def revoke(*, access: Access, invitation_id: UUID) -> None:
    """Withdraw an invitation: its link is void at once. Raises NotFound, Forbidden for an owner's unless the asker is one."""
    row = _locked(access=access, invitation_id=invitation_id)
    check_role(access=access, role=row.role)
    row.revoked_at = now()
    row.save(update_fields=["revoked_at"])
    _audit(access=access, row=row, action="invitation.revoked", sentence=f"withdrew the invitation of {row.email}")


def digest_of(*, secret: str) -> str:
    """Return the keyed hash that is stored of a secret."""
    return hmac.new(settings.SECRET_KEY.encode(), b"invitation:" + secret.encode(errors="replace"), hashlib.sha256).hexdigest()


def _new_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _check_address(email: str) -> str:
    address = email.strip().lower()
    try:
        validate_email(address)
    except ValidationError as error:
        raise InvalidInput.field("email", "This is not an e-mail address; one looks like ann@example.com.", code="email_invalid") from error
    if is_service_address(email=address):
        raise InvalidInput.field("email", "This address belongs to no person, and gets no mail.", code="email_invalid")
    return address


def _wait_for_turn(*, access: Access) -> None:
    """Hold the asker's row, so that they send one mail at a time, and raise TooManyInvitations if it would be one too many."""
    User.objects.select_for_update(no_key=True).get(pk=access.user.pk)
    since = now() - WINDOW
    with as_system("count invitations of the last hour"):
        recent = AuditEvent.objects.filter(action__in=SENT, at__gt=since)
        by_tenant = recent.filter(tenant_id=access.tenant.id).count()
        by_person = recent.filter(actor_id=access.actor.id).count()
    if by_tenant >= PER_TENANT or by_person >= PER_PERSON:
        many = f"{PER_TENANT} invitations of one organisation" if by_tenant >= PER_TENANT else f"{PER_PERSON} invitations by one person"
        raise TooManyInvitations(f"{many} within an hour is the most this portal sends; try again later.")


def _locked(*, access: Access, invitation_id: UUID) -> Invitation:
    access.require(Permission.MEMBER_MANAGE)
    lock_tenant(tenant_id=access.tenant.id)
    row = Invitation.objects.select_for_update().filter(OPEN, tenant=access.tenant, id=invitation_id).first()
    if row is None:
        raise _none()
    return row


def _none() -> NotFound:
    return NotFound("There is no such open invitation here.", code="invitation_not_found")


def _send(*, access: Access, row: Invitation, secret: str) -> None:
    """Send the mail; one that cannot be sent undoes the transaction, so that nobody waits for it."""
    link = settings.BASE_URL + reverse("tenants:invitation_link", args=[secret])
    context = {"tenant": access.tenant, "by": access.user, "role": row.get_role_display(), "link": link, "days": _days(row.expires_at)}
    try:
        send_to_each(recipients=[row.email], template="tenants/email/invitation", context=context)
    except OSError as error:  # smtplib's errors are OSErrors too
        log.warning("invitation_not_sent", invitation=str(row.id), error=type(error).__name__)
        raise Unavailable("The mail could not be sent, so nothing was changed; try again in a minute.") from error


def _days(until: datetime) -> int:
    return max(1, round((until - now()) / timedelta(days=1)))


def _audit(*, access: Access, row: Invitation, action: str, sentence: str) -> None:
    record(
        by=access.actor,
        action=action,
        sentence=sentence,
        tenant_id=access.tenant.id,
        target_id=str(row.id),
        target_label=row.email,
        data={"role": str(row.role), "expires_at": row.expires_at.isoformat()},
    )
