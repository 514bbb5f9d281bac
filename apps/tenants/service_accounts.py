"""Service accounts: programs as members of a tenant. They have a role and tokens, but nobody signs in as one."""

import secrets
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import Conflict, InvalidInput, LimitReached, NotFound
from apps.common.names import check_name
from apps.tenants.context import Access
from apps.tenants.models import ApiToken, Membership, ServiceAccount, Tenant
from apps.tenants.roles import PERMISSIONS, Permission, Role
from apps.tenants.token_issue import Bearer, NewToken, Wish, issue

MOST = 50
"""Service accounts of one tenant."""

ROLES = tuple(role for role in Role if role != Role.OWNER)
"""What a service account can be: an owner answers for an organisation, which a program cannot."""


def service_accounts(*, access: Access) -> QuerySet[ServiceAccount]:
    """Return the tenant's service accounts, newest first, each with its `role` and the number of its `live_tokens`."""
    access.require(Permission.TENANT_MANAGE)
    roles = Membership.objects.filter(tenant=OuterRef("tenant"), user=OuterRef("user")).values("role")
    live = Q(user__tokens__revoked_at=None, user__tokens__expires_at__gt=now(), user__tokens__tenant=F("tenant"))
    rows = access.tenant.service_accounts.filter(deleted_at=None).select_related("user")
    return rows.annotate(role=Subquery(roles), live_tokens=Count("user__tokens", filter=live)).order_by("-created_at", "-id")


def find_service_account(*, access: Access, account_id: str) -> ServiceAccount:
    """Return one service account as `service_accounts` does. Raises NotFound."""
    row = service_accounts(access=access).filter(id=account_id).first()
    if row is None:
        raise NotFound("There is no such service account here.", code="service_account_not_found")
    return row


def tokens_of_account(*, access: Access, account: ServiceAccount) -> QuerySet[ApiToken]:
    """Return the live tokens of a service account of the tenant, newest first."""
    access.require(Permission.TENANT_MANAGE)
    return access.tenant.tokens.filter(user=account.user_id, revoked_at=None, expires_at__gt=now()).order_by("-created_at", "-id")


def roles_to_give(*, access: Access) -> list[Role]:
    """Return the roles the asker may give to a service account: none that may more than the asker."""
    return [role for role in ROLES if PERMISSIONS[role] <= access.permissions]


def create_service_account(*, access: Access, name: str, role: str) -> ServiceAccount:
    """Make a service account with a role that may no more than the asker.

    Raises InvalidInput for a bad name or role, Conflict for a name in use, LimitReached for too many.
    """
    access.require(Permission.TENANT_MANAGE)
    check_name(name=name)
    given = _check_role(access=access, role=role)
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).get(id=access.tenant.id)
        if tenant.service_accounts.filter(deleted_at=None).count() >= MOST:
            raise LimitReached(f"An organisation may have at most {MOST} service accounts.", code="too_many_service_accounts")
        moment = now()
        user = User.objects.create_user(_address(name), is_service=True)  # without a password: no sign-in
        Membership.objects.create(tenant=tenant, user=user, role=given, created_at=moment)
        try:
            with transaction.atomic():
                row = ServiceAccount.objects.create(tenant=tenant, user=user, name=name, created_by=access.actor.label, created_at=moment)
        except IntegrityError as error:
            raise _taken(name) from error
        _record(access=access, row=row, action="created", sentence=f"created the service account {name} as {given}", data={"role": given})
    return find_service_account(access=access, account_id=str(row.id))


def change_service_account(*, access: Access, account_id: str, name: str | None = None, role: str | None = None) -> ServiceAccount:
    """Rename a service account or give it another role; what its tokens may follows at once. Raises as `create_service_account` does."""
    access.require(Permission.TENANT_MANAGE)
    with transaction.atomic():
        row = _locked(access=access, account_id=account_id)
        if name is not None and name != row.name:
            _rename(access=access, row=row, name=name)
        membership = Membership.objects.select_for_update().filter(tenant=access.tenant, user=row.user).first()
        if role is not None and membership is not None and role != membership.role:
            before, membership.role = membership.role, _check_role(access=access, role=role)
            membership.save(update_fields=["role"])
            _record(
                access=access, row=row, action="role_changed", data={"before": before, "after": membership.role},
                sentence=f"changed the role of the service account {row.name} from {before} to {membership.role}",
            )  # fmt: skip
    return find_service_account(access=access, account_id=account_id)


def delete_service_account(*, access: Access, account_id: str) -> int:
    """Delete a service account: its tokens stop at once. Return how many it had. Raises NotFound."""
    access.require(Permission.TENANT_MANAGE)
    with transaction.atomic():
        row = _locked(access=access, account_id=account_id)
        moment = now()
        stopped = ApiToken.objects.filter(tenant=access.tenant, user=row.user, revoked_at=None).update(revoked_at=moment)
        Membership.objects.filter(tenant=access.tenant, user=row.user).delete()
        User.objects.filter(pk=row.user_id).update(is_active=False)
        row.deleted_at = moment
        row.save(update_fields=["deleted_at"])
        _record(
            access=access, row=row, action="deleted", sentence=f"deleted the service account {row.name}", data={"tokens_revoked": stopped}
        )
    return stopped


def create_service_token(
    *,
    access: Access,
    account_id: str,
    name: str,
    scopes: list[str] | None = None,
    expires_at: datetime | None = None,
) -> NewToken:
    """Make a token for a service account: within its role, and within what the asker may.

    Raises NotFound, and what `create_token` raises.
    """
    account = find_service_account(access=access, account_id=account_id)
    role = Role(account.role)  # type: ignore[attr-defined]  # annotated
    bearer = Bearer(
        user=account.user, allowed=PERMISSIONS[role] & access.permissions, why_not=f"the service account's role “{role}” does not have it",
        whose=f" of the service account {account.name}",
    )  # fmt: skip
    return issue(access=access, bearer=bearer, wish=Wish(name=name, scopes=scopes or (), expires_at=expires_at))


def _check_role(*, access: Access, role: str) -> Role:
    if role not in ROLES:
        raise InvalidInput.field("role", f"A service account can be {', '.join(ROLES)}.")
    if Role(role) not in roles_to_give(access=access):
        raise InvalidInput.field("role", f"You cannot give the role “{role}”: it may more than you, or than the token you use.")
    return Role(role)


def _locked(*, access: Access, account_id: str) -> ServiceAccount:
    rows = ServiceAccount.objects.select_for_update(of=("self",)).select_related("user")
    row = rows.filter(tenant=access.tenant, id=account_id, deleted_at=None).first()
    if row is None:
        raise NotFound("There is no such service account here.", code="service_account_not_found")
    return row


def _rename(*, access: Access, row: ServiceAccount, name: str) -> None:
    before, row.name = row.name, check_name(name=name)
    try:
        with transaction.atomic():
            row.save(update_fields=["name"])
    except IntegrityError as error:
        raise _taken(name) from error
    User.objects.filter(pk=row.user_id).update(email=_address(name))
    _record(access=access, row=row, action="renamed", sentence=f"renamed the service account {before} to {name}", data={"before": before})


def _address(name: str) -> str:
    """Return an address that cannot get mail (RFC 2606), is nobody else's, and says in logs which account it is."""
    return f"{name}-{secrets.token_hex(6)}@service.invalid"


def _taken(name: str) -> Conflict:
    return Conflict(
        f"There is a service account “{name}” already; choose another name.", code="name_taken", errors={"name": "This name is taken."}
    )


def _record(*, access: Access, row: ServiceAccount, action: str, sentence: str, data: dict[str, object]) -> None:
    record(
        by=access.actor,
        action=f"service_account.{action}",
        sentence=sentence,
        tenant_id=access.tenant.id,
        target_id=str(row.id),
        target_label=row.name,
        data=data,
    )
