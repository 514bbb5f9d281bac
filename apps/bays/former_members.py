"""Certificates of bays in the hands of people who may have them no longer: removing a member takes no certificate back.

A client certificate is good until it expires or the bay's authority is rotated, whatever the portal thinks of its holder.
"""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from apps.bays.models import ALIVE, Bay
from apps.common.clock import now
from apps.credentials.models import Certificate
from apps.tenants.context import Access
from apps.tenants.models import Membership
from apps.tenants.roles import Permission


@dataclass(frozen=True, kw_only=True)
class LeftBehind:
    """A valid certificate of a living bay whose holder may not have it any more, and why not."""

    bay: Bay
    certificate: Certificate
    holder: str
    why: str


def certificates_of_former_members(*, access: Access) -> list[LeftBehind]:
    """Return what a rotation of authorities would make worthless that should be: by bay, the newest certificate first.

    Holders may have left, been removed or disabled, or have a role without credentials now. Needs member:manage.
    """
    access.require(Permission.MEMBER_MANAGE)
    standing = {member.user_id: member for member in Membership.objects.filter(tenant=access.tenant)}
    return [
        LeftBehind(bay=bay, certificate=row, holder=row.owner.email if row.owner else row.owner_label, why=why)
        for bay, row in _valid(access=access)
        if (why := _why_not(row, standing.get(row.owner_id) if row.owner_id else None))
    ]


def certificates_held_by(*, access: Access, user_id: UUID) -> list[tuple[Bay, Certificate]]:
    """Return the valid certificates of living bays that one person holds, by bay. Needs member:manage."""
    access.require(Permission.MEMBER_MANAGE)
    return [(bay, row) for bay, row in _valid(access=access) if row.owner_id == user_id]


def _valid(*, access: Access) -> list[tuple[Bay, Certificate]]:
    """Return the client certificates that open living bays of the tenant now, by bay, newest first."""
    living = access.tenant.bays.filter(ALIVE, authority__isnull=False, delete_requested_at=None)
    bays = {bay.authority_id: bay for bay in living}
    valid = Q(expires_at__gt=now(), revoked_at=None, purpose=Certificate.Purpose.CLIENT)
    issued = access.tenant.certificates.filter(valid, authority_id__in=bays).select_related("owner").order_by("-issued_at", "-id")
    return sorted(((bays[row.authority_id], row) for row in issued), key=lambda pair: pair[0].name)


def _why_not(certificate: Certificate, member: Membership | None) -> str:
    """Return why the holder should not have it; empty if they may."""
    if member is None:
        return "no longer a member"
    if certificate.owner is not None and not certificate.owner.is_active:
        return "account disabled"
    if Permission.BAY_ACCESS not in member.permissions:
        return f"{member.role} now, without credentials"
    return ""
