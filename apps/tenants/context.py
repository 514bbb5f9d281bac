"""Who asks, and where: built once at the edge (session or token), handed down as an argument."""

from collections.abc import Callable
from dataclasses import dataclass

from apps.accounts.mfa import has_second_factor
from apps.accounts.models import User
from apps.audit.services import Actor
from apps.common.errors import Forbidden, NotFound
from apps.tenants.models import ApiToken, Membership, Tenant
from apps.tenants.roles import PERMISSIONS, Permission, Role


@dataclass(frozen=True, kw_only=True)
class Access:
    """A user's standing in one tenant. A stranger never gets one."""

    user: User
    tenant: Tenant
    role: Role
    permissions: frozenset[Permission]
    token: ApiToken | None = None
    """What was asked with: a token, or an application credential; None for a browser's session and for commands."""

    @property
    def actor(self) -> Actor:
        """The one who acts, for the audit log."""
        return self.user.actor

    def may(self, permission: Permission) -> bool:
        """Tell whether role and scopes allow `permission`."""
        return permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raise Forbidden unless role and scopes allow `permission`."""
        if permission in self.permissions:
            return
        if permission in PERMISSIONS[self.role]:
            raise Forbidden(f"This token lacks the scope “{permission}”; make one that has it.", code="scope_missing")
        raise Forbidden(
            f"Your role “{self.role}” in {self.tenant.name} does not include “{permission}”; ask an owner or admin of it.",
            code="role_missing",
        )


guests: list[Callable[[User, str], Access | None]] = []
"""Who else may let a signed-in user into a tenant by its slug, for layers above this one: an operator's support view is one."""


def access_of(*, user: User, slug: str, token: ApiToken | None = None) -> Access:
    """Return the user's access to the tenant `slug`.

    Raises NotFound for strangers and for tokens of another tenant, Forbidden for people without the second factor the tenant asks for.
    """
    membership = Membership.objects.select_related("tenant").filter(user=user, tenant__slug=slug, tenant__deleted_at=None).first()
    if membership is None and token is None:
        for admit in guests:
            if (guest := admit(user, slug)) is not None:
                require_second_factor(user=user, tenant=guest.tenant)
                return guest
    if membership is None or (token is not None and token.tenant_id != membership.tenant_id):
        raise NotFound(f"There is no organisation “{slug}” that you belong to.", code="tenant_not_found")
    tenant = membership.tenant
    require_second_factor(user=user, tenant=tenant)
    permissions = membership.permissions
    if token is not None:
        permissions &= {Permission(scope) for scope in token.scopes}
    return Access(user=user, tenant=tenant, role=Role(membership.role), permissions=permissions, token=token)


def require_second_factor(*, user: User, tenant: Tenant) -> None:
    """Raise Forbidden for people without a second factor where the tenant asks for one."""
    if tenant.mfa_required and not user.is_service and not has_second_factor(user=user):
        raise Forbidden(
            f"{tenant.name} lets only people with a second factor in and you have none: "
            "set up an authenticator app or a passkey under “Your account”, at /account/2fa/.",
            code="mfa_required",
        )
