"""Use cases of tenants: create, find, rename, set rules, delete, and the personal one everybody gets."""

import re
import secrets
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from apps.accounts.mfa import has_second_factor
from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import Conflict, Forbidden, InvalidInput, NotFound
from apps.common.names import MAX_LENGTH, RESERVED, check_name
from apps.common.scope import as_user, in_tenant
from apps.tenants.context import Access
from apps.tenants.models import ApiToken, Invitation, Membership, Tenant
from apps.tenants.roles import Permission, Role

TENANTS_PER_USER = 20
NAME_LENGTH = 80
SHOWN_BAYS = 10


def tenants_of(*, user: User) -> QuerySet[Tenant]:
    """Return the tenants the user is a member of, personal one first; deleted ones are left out."""
    return Tenant.objects.filter(memberships__user=user, deleted_at=None).order_by("-personal", "name", "id")


def lock_tenant(*, tenant_id: UUID) -> Tenant:
    """Return the tenant's row, locked until the transaction ends: what depends on all its members is decided by one at a time.

    Raises NotFound for one that was deleted since the asker was let in.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).filter(id=tenant_id, deleted_at=None).first()
    if tenant is None:
        raise NotFound("The organisation was deleted meanwhile.", code="tenant_not_found")
    return tenant


@transaction.atomic
def create_tenant(*, by: User, slug: str, name: str = "", personal: bool = False) -> Tenant:
    """Create a tenant owned by `by`. Raises InvalidInput for a bad name, Conflict for a taken one or too many, Forbidden for a program."""
    if by.is_service:
        raise Forbidden("A service account cannot own an organisation; a person must create it.", code="only_people")
    check_name(name=slug, field="slug")
    name = check_title(text=name if name.strip() else slug)
    User.objects.select_for_update().get(pk=by.pk)  # two requests at once must not both be the last allowed one
    if Membership.objects.filter(user=by, role=Role.OWNER, tenant__deleted_at=None).count() >= TENANTS_PER_USER:
        raise Conflict(f"You own {TENANTS_PER_USER} organisations, which is the most one person may own.", code="too_many_tenants")
    tenant = Tenant(slug=slug, name=name, personal=personal, created_at=now())
    with in_tenant(tenant.id):
        try:
            with transaction.atomic():
                tenant.save(force_insert=True)
        except IntegrityError as error:
            taken = {"slug": "This name is taken."}
            raise Conflict(f"The name “{slug}” is taken; choose another.", code="name_taken", errors=taken) from error
        Membership.objects.create(tenant=tenant, user=by, role=Role.OWNER, created_at=now())
        record(
            by=by.actor,
            action="tenant.created",
            sentence=f"created the organisation {name}",
            tenant_id=tenant.id,
            target_id=str(tenant.id),
            target_label=slug,
        )
    return tenant


@transaction.atomic
def rename_tenant(*, access: Access, name: str) -> Tenant:
    """Give the tenant another name for people; its slug, and with it every address, stays. Raises InvalidInput for a bad name."""
    access.require(Permission.TENANT_MANAGE)
    title = check_title(text=name)
    tenant = lock_tenant(tenant_id=access.tenant.id)
    if title != tenant.name:
        before, tenant.name = tenant.name, title
        tenant.save(update_fields=["name"])
        _audit(access=access, action="tenant.renamed", sentence=f"renamed the organisation {before} to {title}", before=before, after=title)
    access.tenant.name = title
    return tenant


@transaction.atomic
def require_mfa(*, access: Access, required: bool) -> Tenant:
    """Let only members with a second factor into the tenant, or all again.

    Raises Conflict if the asker has none: nobody may lock themselves out, and whoever asks it of others has one.
    """
    access.require(Permission.TENANT_MANAGE)
    if required and not has_second_factor(user=access.user):
        raise Conflict(
            "You have no second factor yourself. Add an authenticator app or a passkey to your account, then require it of everybody.",
            code="second_factor_missing",
            errors={"mfa_required": "Add a second factor to your own account first."},
        )
    tenant = lock_tenant(tenant_id=access.tenant.id)
    if required != tenant.mfa_required:
        tenant.mfa_required = required
        tenant.save(update_fields=["mfa_required"])
        said = "requires a second factor of every member" if required else "no longer requires a second factor of members"
        _audit(access=access, action="tenant.mfa_required", sentence=f"set that the organisation {said}", required=required)
    access.tenant.mfa_required = required
    return tenant


@transaction.atomic
def delete_tenant(*, access: Access) -> None:
    """Delete the tenant: nobody gets in any more, its tokens and invitations are void, its slug is free. Its audit log stays.

    Raises Conflict while it has bays, naming them, and for somebody's personal one as long as it is the only one they belong to.
    """
    access.require(Permission.TENANT_DELETE)
    tenant = lock_tenant(tenant_id=access.tenant.id)
    _refuse_with_bays(tenant)
    if tenant.personal and not tenants_of(user=access.user).exclude(id=tenant.id).exists():
        raise Conflict(
            "This is your personal organisation and the only one you belong to. Create or join another first, then delete this one.",
            code="only_tenant",
        )
    moment, slug = now(), tenant.slug
    # The row stays for what refers to it. No name of a living one can look like the new slug, so that it takes no name from anybody.
    tenant.slug, tenant.deleted_at = f"~{tenant.id.hex}", moment
    tenant.save(update_fields=["slug", "deleted_at"])
    ApiToken.objects.filter(tenant=tenant, revoked_at=None).update(revoked_at=moment)
    Invitation.objects.filter(tenant=tenant, accepted_at=None, revoked_at=None).update(revoked_at=moment)
    _audit(access=access, action="tenant.deleted", sentence=f"deleted the organisation {tenant.name}", slug=slug)


def ensure_personal_tenant(*, user: User) -> Tenant:
    """Return the user's personal tenant, creating it with a name made from the e-mail address if there is none yet."""
    with as_user(user.id):
        return _personal_tenant(user=user)


def slug_from(*, text: str) -> str:
    """Return an allowed name made from any text."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:MAX_LENGTH].rstrip("-")
    if not slug or not slug[0].isalpha() or slug in RESERVED:
        slug = f"team-{slug}".rstrip("-")[:MAX_LENGTH].rstrip("-")
    return slug


def check_title(*, text: str, field: str = "name") -> str:
    """Return a name for people, with single spaces. Raises InvalidInput for one that is empty, too long or an address on the web."""
    name = " ".join(text.split())
    if not name:
        raise InvalidInput.field(field, "A name is needed; any words will do.", code="name_empty")
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidInput.field(field, f"The name may have at most {NAME_LENGTH} printable characters.")
    if re.search(r"://|\bwww\.", name, re.IGNORECASE):  # invitations carry the name into the mailboxes of strangers
        raise InvalidInput.field(field, "The name may not hold an address of a web site: it stands in mails to people you invite.")
    return name


def _personal_tenant(*, user: User) -> Tenant:
    own = Tenant.objects.filter(personal=True, deleted_at=None, memberships__user=user, memberships__role=Role.OWNER)
    existing = own.first()
    if existing is not None:
        return existing
    base = slug_from(text=user.email.partition("@")[0])
    for slug in (base, *(f"{base[: MAX_LENGTH - 5]}-{secrets.token_hex(2)}" for _ in range(5))):
        try:
            return create_tenant(by=user, slug=slug, name=slug, personal=True)
        except Conflict as taken:
            if taken.code != "name_taken":
                raise
    raise Conflict("No free name was found for your organisation; create one yourself.", code="name_taken")


def _refuse_with_bays(tenant: Tenant) -> None:
    names = list(tenant.bays.filter(deleted_at=None).order_by("name").values_list("name", flat=True))
    if not names:
        return
    shown = ", ".join(names[:SHOWN_BAYS]) + (f" and {len(names) - SHOWN_BAYS} more" if len(names) > SHOWN_BAYS else "")
    bays = "a bay" if len(names) == 1 else f"{len(names)} bays"
    raise Conflict(f"{tenant.name} still has {bays}: {shown}. Delete them first; then the organisation can go.", code="tenant_has_bays")


def _audit(*, access: Access, action: str, sentence: str, **data: object) -> None:
    record(
        by=access.actor,
        action=action,
        sentence=sentence,
        tenant_id=access.tenant.id,
        target_id=str(access.tenant.id),
        target_label=access.tenant.slug,
        data=data,
    )
