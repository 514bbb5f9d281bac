"""Who may do what: one enum of permissions, roles as sets of them, token scopes as a choice among them."""

from enum import StrEnum


class Permission(StrEnum):
    """`thing:verb`; the same words are the scopes of API tokens."""

    BAY_READ = "bay:read"
    BAY_CREATE = "bay:create"
    BAY_CHANGE = "bay:change"
    BAY_DELETE = "bay:delete"
    BAY_ACCESS = "bay:access"
    """Obtain credentials of a bay: whoever has them is root in it."""
    TENANT_READ = "tenant:read"
    TENANT_MANAGE = "tenant:manage"
    TOKEN_MANAGE = "token:manage"  # noqa: S105 - a permission
    """See and revoke one's own tokens; making one never gives more than the maker's role."""
    BILLING_READ = "billing:read"
    AUDIT_READ = "audit:read"


class Role(StrEnum):
    """What a member is in a tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    OPERATOR = "operator"
    BILLING = "billing"
    VIEWER = "viewer"


_READ = frozenset({Permission.BAY_READ, Permission.TENANT_READ, Permission.TOKEN_MANAGE})
_BAYS = frozenset({Permission.BAY_CREATE, Permission.BAY_CHANGE, Permission.BAY_DELETE, Permission.BAY_ACCESS})
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.ADMIN: frozenset(Permission),
    Role.OPERATOR: _READ | _BAYS,
    Role.BILLING: frozenset({Permission.TENANT_READ, Permission.BILLING_READ, Permission.TOKEN_MANAGE}),
    Role.VIEWER: _READ,
}
