"""Accepting an invitation: what its link leads to, for whom, and the one membership that comes of it."""

from dataclasses import dataclass
from enum import StrEnum

from allauth.account.models import EmailAddress
from django.db import transaction

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import Forbidden, NotFound
from apps.common.scope import as_system, in_tenant
from apps.tenants.invitations import OPEN
from apps.tenants.models import Invitation, Membership, Tenant
from apps.tenants.services import lock_tenant

DEAD = "This invitation is not valid any more: it was used, withdrawn, replaced by a newer one, or is too old. Ask for a new one."


class Standing(StrEnum):
    """How an invitation stands to whoever opened its link."""

    SIGNED_OUT = "signed_out"
    MINE = "mine"
    ANOTHER_ADDRESS = "another_address"
    MEMBER = "member"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A valid invitation, or one the asker has accepted, as it is shown to whoever has its link."""

    invitation: Invitation
    tenant: Tenant
    standing: Standing


def find_offer(*, digest: str, user: User | None) -> Offer:
    """Return what the link with this digest offers to `user` (None: not signed in).

    Raises NotFound, with one and the same sentence, for links that never were and for those that are used, withdrawn, or expired.
    """
    with as_system("find an invitation"):
        row = Invitation.objects.select_related("tenant").filter(digest=digest, tenant__deleted_at=None).first()
        if row is None:
            raise _dead()
        member = user is not None and Membership.objects.filter(tenant=row.tenant, user=user).exists()
    live, used_by_me = _is_live(row), user is not None and row.accepted_by_id == user.id
    if not live and not (used_by_me and member):
        raise _dead()
    if user is None:
        standing = Standing.SIGNED_OUT
    elif not used_by_me and not has_address(user=user, email=row.email):
        standing = Standing.ANOTHER_ADDRESS
    else:
        standing = Standing.MEMBER if member else Standing.MINE
    return Offer(invitation=row, tenant=row.tenant, standing=standing)


def accept(*, by: User, digest: str) -> Membership:
    """Make `by` a member as the invitation says, and return the membership. Accepting twice gives the same one.

    A member keeps the role they have. Raises NotFound as `find_offer` does, Forbidden for somebody else's address and for programs.
    """
    if by.is_service:
        raise Forbidden("A service account belongs to one organisation and accepts no invitation.")
    offer = find_offer(digest=digest, user=by)
    if offer.standing is Standing.ANOTHER_ADDRESS:
        raise Forbidden(
            f"The invitation is for {offer.invitation.email}, and you are signed in as {by.email}. Sign in with the invited address, "
            "add it to your account, or ask for an invitation to the address you use.",
            code="another_address",
        )
    with in_tenant(offer.tenant.id), transaction.atomic():
        tenant = lock_tenant(tenant_id=offer.tenant.id)
        row = Invitation.objects.select_for_update().get(id=offer.invitation.id)
        existing = Membership.objects.filter(tenant=tenant, user=by).first()
        if existing is not None and (_is_live(row) or row.accepted_by_id == by.id):
            _use_up(row, by)
            return existing
        if row.digest != digest or not _is_live(row):
            raise _dead()
        member = Membership.objects.create(tenant=tenant, user=by, role=row.role, created_at=now())
        _use_up(row, by)
        record(
            by=by.actor,
            action="invitation.accepted",
            sentence=f"became a member as {row.role}, invited by {row.invited_by}",
            tenant_id=tenant.id,
            target_id=str(by.id),
            target_label=by.email,
            data={"invitation": str(row.id), "role": str(row.role)},
        )
    return member


def has_address(*, user: User, email: str) -> bool:
    """Tell whether the user has shown that this address is theirs."""
    return EmailAddress.objects.filter(user=user, email__iexact=email, verified=True).exists()


def _is_live(row: Invitation) -> bool:
    return row.accepted_at is None and row.revoked_at is None and row.expires_at > now()


def _use_up(row: Invitation, by: User) -> None:
    Invitation.objects.filter(OPEN, id=row.id).update(accepted_at=now(), accepted_by=by)


def _dead() -> NotFound:
    return NotFound(DEAD, code="invitation_invalid")
