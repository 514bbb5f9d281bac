"""The people of a tenant: who they are, their roles, removing them, leaving. A tenant never loses its last owner."""

from uuid import UUID

from allauth.account.models import EmailAddress
from django.db import transaction
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import Conflict, Forbidden, InvalidInput, NotFound
from apps.tenants.context import Access
from apps.tenants.models import ApiToken, Invitation, Membership
from apps.tenants.roles import Permission, Role
from apps.tenants.services import lock_tenant

PEOPLE = Q(user__is_service=False)
"""Service accounts have memberships too, which are managed where they are: `apps.tenants.service_accounts`."""


def members_of(*, access: Access) -> QuerySet[Membership]:
    """Return the people of the tenant with their users, longest member first."""
    access.require(Permission.TENANT_READ)
    return access.tenant.memberships.filter(PEOPLE).select_related("user").order_by("created_at", "id")


def member_named(*, access: Access, user_id: UUID) -> Membership:
    """Return the membership of one person. Raises NotFound for anybody else."""
    found = members_of(access=access).filter(user_id=user_id).first()
    if found is None:
        raise _nobody(access)
    return found


def roles_to_assign(*, access: Access) -> list[Role]:
    """Return the roles the asker may give to people, the mightiest first; empty for those who do not manage members."""
    if not access.may(Permission.MEMBER_MANAGE):
        return []
    return [role for role in Role if role != Role.OWNER or access.may(Permission.OWNER_MANAGE)]


def may_manage(*, access: Access, member: Membership) -> bool:
    """Tell whether the asker may change the role of this member, or remove them."""
    return access.may(Permission.MEMBER_MANAGE) and (member.role != Role.OWNER or access.may(Permission.OWNER_MANAGE))


def check_role(*, access: Access, role: str) -> Role:
    """Return a role that the asker may give. Raises InvalidInput for an unknown one, Forbidden for one beyond the asker."""
    if role not in set(Role):
        raise InvalidInput.field("role", f"There is no role “{role[:40]}”; roles are {', '.join(Role)}.", code="role_unknown")
    if role == Role.OWNER:
        access.require(Permission.OWNER_MANAGE)
    return Role(role)


@transaction.atomic
def change_role(*, access: Access, user_id: UUID, role: str) -> Membership:
    """Give a member another role; it holds from their next request on. The same role is accepted and changes nothing.

    Raises InvalidInput for an unknown role, Forbidden for owners unless the asker is one, Conflict for the last owner.
    """
    access.require(Permission.MEMBER_MANAGE)
    given = check_role(access=access, role=role)
    member = _locked(access=access, user_id=user_id)
    if member.role == given:
        return member
    if member.role == Role.OWNER:
        access.require(Permission.OWNER_MANAGE)
        _refuse_last_owner(member, "can take another role")
    before, member.role = member.role, given
    member.save(update_fields=["role"])
    said = f"made {member.user} {given}, who was {before}"
    _audit(access=access, member=member, action="member.role_changed", sentence=said, before=before)
    return member


@transaction.atomic
def remove_member(*, access: Access, user_id: UUID) -> int:
    """Take somebody's membership: their tokens, sessions, and invitations by and for them stop here at once. Return how many tokens did.

    Certificates of bays that they hold stay good until the bay's authority is rotated: see `apps.bays.former_members`.
    Raises NotFound, Forbidden for owners unless the asker is one, Conflict for the last owner and for oneself.
    """
    access.require(Permission.MEMBER_MANAGE)
    if user_id == access.user.id:
        raise Conflict("This is you. To go, leave the organisation in its settings.", code="own_membership")
    member = _locked(access=access, user_id=user_id)
    if member.role == Role.OWNER:
        access.require(Permission.OWNER_MANAGE)
        _refuse_last_owner(member, "can be removed")
    revoked = _end(member)
    _audit(access=access, member=member, action="member.removed", sentence=f"removed {member.user} from the organisation", tokens=revoked)
    return revoked


@transaction.atomic
def leave_tenant(*, access: Access) -> None:
    """Give up the asker's own membership, with its tokens. Raises Conflict for the last owner, Forbidden for service accounts."""
    access.require(Permission.TENANT_LEAVE)
    if access.user.is_service:
        raise Forbidden("A service account cannot leave its organisation; who manages the organisation can delete it.")
    member = _locked(access=access, user_id=access.user.id)
    if member.role == Role.OWNER:
        _refuse_last_owner(member, "can leave")
    revoked = _end(member)
    _audit(access=access, member=member, action="member.left", sentence="left the organisation", tokens=revoked)


def _locked(*, access: Access, user_id: UUID) -> Membership:
    """Return the member, about whom nobody else decides until the transaction ends: the tenant's row is locked.

    The asker's own standing is looked at again: of two owners who remove each other at once, the second is an owner no more.
    """
    lock_tenant(tenant_id=access.tenant.id)
    members = Membership.objects.select_related("user").filter(PEOPLE, tenant=access.tenant)
    member = members.filter(user_id=user_id).first()
    if member is None:
        raise _nobody(access)
    standing = Membership.objects.filter(tenant=access.tenant, user=access.user).first()
    if standing is None or standing.role != access.role:
        raise Conflict("Your own role in this organisation was changed this moment; load the page again.", code="role_changed")
    return member


def _nobody(access: Access) -> NotFound:
    return NotFound(f"{access.tenant.name} has no such member.", code="member_not_found")


def _refuse_last_owner(member: Membership, what: str) -> None:
    others = Membership.objects.filter(PEOPLE, tenant=member.tenant_id, role=Role.OWNER, user__is_active=True).exclude(id=member.id)
    if not others.exists():
        raise Conflict(
            f"{member.user} is the last owner; an organisation always has one. Make somebody else an owner first, then this one {what}.",
            code="last_owner",
        )


def _end(member: Membership) -> int:
    """Delete the membership with what hangs on it; return how many tokens were revoked."""
    moment = now()
    addresses = {member.user.email.lower(), *(address.lower() for address in _confirmed(member.user))}
    # One that is for them, or that they sent, would lead straight back in.
    way_back = [row.id for row in _open_invitations(member) if row.email.lower() in addresses or row.invited_by.lower() in addresses]
    Invitation.objects.filter(id__in=way_back).update(revoked_at=moment)
    revoked = ApiToken.objects.filter(tenant=member.tenant_id, user=member.user, revoked_at=None).update(revoked_at=moment)
    Membership.objects.filter(id=member.id).delete()
    return revoked


def _open_invitations(member: Membership) -> QuerySet[Invitation]:
    return Invitation.objects.filter(tenant=member.tenant_id, accepted_at=None, revoked_at=None)


def _confirmed(user: User) -> list[str]:
    return list(EmailAddress.objects.filter(user=user, verified=True).values_list("email", flat=True))


def _audit(*, access: Access, member: Membership, action: str, sentence: str, **data: object) -> None:
    record(
        by=access.actor,
        action=action,
        sentence=sentence,
        tenant_id=access.tenant.id,
        target_id=str(member.user_id),
        target_label=member.user.email,
        data={"role": str(member.role), **data},
    )
