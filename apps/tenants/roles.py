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
    """See name, people and limits of the organisation."""
    TENANT_MANAGE = "tenant:manage"
    """Rename it, set its rules, ask for other limits, run its service accounts; make further organisations with a token."""
    TENANT_DELETE = "tenant:delete"
    """Delete the organisation for good."""
    TENANT_LEAVE = "tenant:leave"
    """Give up one's own membership."""
    MEMBER_MANAGE = "member:manage"
    """Invite people, change their roles, remove them; owners are beyond it."""
    OWNER_MANAGE = "owner:manage"
    """The same for owners: invite, make, demote and remove them."""
    TOKEN_MANAGE = "token:manage"  # noqa: S105 - a permission
    """See and revoke one's own tokens; making one never gives more than the maker's role."""
    BILLING_READ = "billing:read"
    """See usage, spend, invoices, credit and budgets."""
    BILLING_MANAGE = "billing:manage"
    """Say where invoices go, pay them, set budgets."""
    AUDIT_READ = "audit:read"


class Role(StrEnum):
    """What a member is in a tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    OPERATOR = "operator"
    BILLING = "billing"
    VIEWER = "viewer"


_MEMBER = frozenset({Permission.TENANT_READ, Permission.TENANT_LEAVE, Permission.TOKEN_MANAGE})
_BAYS = frozenset({Permission.BAY_CREATE, Permission.BAY_CHANGE, Permission.BAY_DELETE, Permission.BAY_ACCESS})
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.ADMIN: frozenset(Permission) - {Permission.TENANT_DELETE, Permission.OWNER_MANAGE},
    Role.OPERATOR: _MEMBER | _BAYS | {Permission.BAY_READ},
    Role.BILLING: _MEMBER | {Permission.BILLING_READ, Permission.BILLING_MANAGE},
    Role.VIEWER: _MEMBER | {Permission.BAY_READ},
}

MEANING: dict[Role, str] = {
    Role.OWNER: "may do everything, makes other owners, and alone may delete the organisation",
    Role.ADMIN: "runs bays, people and settings; may not touch owners or delete the organisation",
    Role.OPERATOR: "creates, changes and deletes bays, and gets their credentials",
    Role.BILLING: "sees usage and bills, pays them and sets budgets; sees no bays",
    Role.VIEWER: "sees bays and people, changes nothing, gets no credentials of bays",
}
"""What each role is for, to stand after its name."""
