"""Use cases of tenants: create, find, and the personal one everybody gets."""

import re
import secrets

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput
from apps.common.names import MAX_LENGTH, RESERVED, check_name
from apps.tenants.models import Membership, Tenant
from apps.tenants.roles import Role

TENANTS_PER_USER = 20
NAME_LENGTH = 80


def tenants_of(*, user: User) -> QuerySet[Tenant]:
    """Return the tenants the user is a member of, personal one first."""
    return Tenant.objects.filter(memberships__user=user).order_by("-personal", "name", "id")


@transaction.atomic
def create_tenant(*, by: User, slug: str, name: str = "", personal: bool = False) -> Tenant:
    """Create a tenant owned by `by`. Raises InvalidInput for a bad name, Conflict for a taken one or too many."""
    check_name(name=slug, field="slug")
    name = " ".join(name.split()) or slug
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidInput.field("name", f"The name may have at most {NAME_LENGTH} printable characters.")
    User.objects.select_for_update().get(pk=by.pk)  # two requests at once must not both be the last allowed one
    if Membership.objects.filter(user=by, role=Role.OWNER).count() >= TENANTS_PER_USER:
        raise Conflict(f"You own {TENANTS_PER_USER} organisations, which is the most one person may own.", code="too_many_tenants")
    try:
        with transaction.atomic():
            tenant = Tenant.objects.create(slug=slug, name=name, personal=personal, created_at=now())
    except IntegrityError as error:
        raise Conflict(f"The name “{slug}” is taken; choose another.", code="name_taken", errors={"slug": "This name is taken."}) from error
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


def ensure_personal_tenant(*, user: User) -> Tenant:
    """Return the user's personal tenant, creating it with a name made from the e-mail address if there is none yet."""
    existing = Tenant.objects.filter(personal=True, memberships__user=user, memberships__role=Role.OWNER).first()
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


def slug_from(*, text: str) -> str:
    """Return an allowed name made from any text."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:MAX_LENGTH].rstrip("-")
    if not slug or not slug[0].isalpha() or slug in RESERVED:
        slug = f"team-{slug}".rstrip("-")[:MAX_LENGTH].rstrip("-")
    return slug
