"""Making tokens of every kind: what their names, scopes and expiries may be, and who may make them with what."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import Forbidden, InvalidInput, LimitReached
from apps.tenants.context import Access
from apps.tenants.models import ApiToken, Tenant
from apps.tenants.roles import PERMISSIONS, Permission
from apps.tenants.token_text import HINT_LENGTH, digests_of, new_secret_text, new_token_text

STANDING = frozenset(
    scope for scope in Permission if scope.partition(":")[0] in {"token", "tenant", "member", "owner"} and scope != Permission.TENANT_READ
)
"""Scopes that change who gets in, or whether anybody does: whoever stole a token with one could let themselves in another way."""

DEFAULT_LIFETIME = timedelta(days=90)
NAME_LENGTH = 80
MOST = 100
"""Tokens and application credentials that one user may have in one tenant at a time."""


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """A token, or an application credential, at the only moment its text is known."""

    row: ApiToken
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Bearer:
    """For whom a token is made: a user, all that its scopes may be chosen from, and why others may not be."""

    user: User
    allowed: frozenset[Permission]
    why_not: str = ""
    whose: str = ""
    """What the audit log adds to the token's name, such as “of the service account ci”."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for; empty scopes stand for all that are possible, no expiry for 90 days."""

    name: str
    kind: ApiToken.Kind = ApiToken.Kind.TOKEN
    scopes: Sequence[str] = ()
    expires_at: datetime | None = None


def issue(*, access: Access, bearer: Bearer, wish: Wish) -> NewToken:
    """Make a token. Asked for with another token, it neither outlives nor exceeds that one.

    Raises Forbidden for a request with an application credential, InvalidInput for a bad name, scope or expiry, LimitReached for too many.
    """
    access.require(Permission.TOKEN_MANAGE)
    if access.token is not None and access.token.kind != ApiToken.Kind.TOKEN:
        raise Forbidden("An application credential makes no tokens and no other credentials; sign in, or use an API token.")
    name = _check_name(wish)
    scopes = _check_scopes(access=access, bearer=bearer, scopes=wish.scopes)
    text = new_secret_text() if wish.kind == ApiToken.Kind.APPLICATION_CREDENTIAL else new_token_text()
    pepper, digest = next(iter(digests_of(text=text).items()))
    with transaction.atomic():
        # The tenant's row is locked so that a maximum lifetime that is being lowered misses none, and no two requests are both the last.
        tenant = Tenant.objects.select_for_update(no_key=True).get(id=access.tenant.id)
        _check_count(tenant=tenant, user=bearer.user)
        moment = now()
        expires_at = _check_expiry(tenant=tenant, wish=wish, made_with=access.token, moment=moment)
        row = ApiToken.objects.create(
            tenant=tenant, user=bearer.user, kind=wish.kind, name=name, digest=digest, pepper=pepper, hint=text[-HINT_LENGTH:],
            scopes=scopes, created_at=moment, expires_at=expires_at,
        )  # fmt: skip
        record(
            by=access.actor,
            action=f"{wish.kind}.created",
            sentence=f"created the {row.get_kind_display()} {row}{bearer.whose}",
            tenant_id=tenant.id,
            target_id=str(row.id),
            target_label=name,
            data={"scopes": scopes, "expires_at": expires_at.isoformat(), "for": bearer.user.email},
        )
    return NewToken(row=row, text=text)


def longest_days(*, tenant: Tenant) -> int:
    """Return for how many days at most a token of this tenant may be valid: the tenant's maximum, and never more than the portal's."""
    return min(settings.MAX_TOKEN_DAYS, tenant.max_token_days or settings.MAX_TOKEN_DAYS)


def _check_name(wish: Wish) -> str:
    name = " ".join(wish.name.split()) or ("token" if wish.kind == ApiToken.Kind.TOKEN else "credential")
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidInput.field("name", f"The name may have at most {NAME_LENGTH} printable characters.")
    return name


def _check_scopes(*, access: Access, bearer: Bearer, scopes: Sequence[str]) -> list[str]:
    if not scopes:
        return sorted(bearer.allowed)
    unknown = [scope for scope in scopes if scope not in set(Permission)]
    if unknown:
        raise InvalidInput.field("scopes", f"Unknown scope “{unknown[0]}”; known are {', '.join(Permission)}.")
    beyond = sorted(set(scopes) - bearer.allowed)
    if beyond:
        scope = Permission(beyond[0])
        if scope not in PERMISSIONS[access.role]:
            reason = "your role does not have it"
        else:
            reason = bearer.why_not if scope in access.permissions else "the token you use does not have it"
        raise InvalidInput.field("scopes", f"You cannot give the scope “{scope}”: {reason}.")
    return sorted(set(scopes))


def _check_expiry(*, tenant: Tenant, wish: Wish, made_with: ApiToken | None, moment: datetime) -> datetime:
    days = longest_days(tenant=tenant)
    latest = moment + timedelta(days=days)
    if made_with is not None and made_with.expires_at < latest:
        latest = made_with.expires_at
        rule = f"no later than the token you make it with, {latest:%Y-%m-%d %H:%M} UTC"
    else:
        rule = f"at most {days} {'day' if days == 1 else 'days'} ahead"
    expires_at = wish.expires_at or min(moment + DEFAULT_LIFETIME, latest)
    if not moment < expires_at <= latest:
        raise InvalidInput.field("expires_at", f"The expiry must lie in the future, {rule}.")
    return expires_at


def _check_count(*, tenant: Tenant, user: User) -> None:
    if ApiToken.objects.filter(tenant=tenant, user=user, revoked_at=None, expires_at__gt=now()).count() >= MOST:
        raise LimitReached(f"At most {MOST} tokens may be valid at a time; revoke those that are not needed.", code="too_many_tokens")
