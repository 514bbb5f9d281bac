"""Use cases of tokens: make one's own, list, revoke; and the one place where a presented token is let in or not."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import NotFound
from apps.common.scope import as_system
from apps.tenants.context import Access
from apps.tenants.models import ApiToken
from apps.tenants.roles import Permission
from apps.tenants.token_issue import Bearer, NewToken, Wish, issue
from apps.tenants.token_text import digests_of, looks_like_token, newest_pepper

TOUCH_EVERY = timedelta(minutes=1)


def create_token(*, access: Access, name: str, scopes: list[str] | None = None, expires_at: datetime | None = None) -> NewToken:
    """Make a token for the user of `access` in its tenant; scopes default to all the asker may do, expiry to 90 days.

    Raises InvalidInput for unknown scopes, scopes beyond the asker's own permissions, and expiries in the past or too far away;
    Forbidden and LimitReached as `issue` does.
    """
    bearer = Bearer(user=access.user, allowed=access.permissions)
    return issue(access=access, bearer=bearer, wish=Wish(name=name, scopes=scopes or (), expires_at=expires_at))


def revoke_token(*, access: Access, token_id: str) -> None:
    """Revoke a token at once: one's own, or, for those who manage the tenant, anybody's in it. Revoking twice is harmless.

    Raises NotFound for tokens that are not the asker's to revoke.
    """
    access.require(Permission.TOKEN_MANAGE)
    with transaction.atomic():
        rows = ApiToken.objects.select_for_update(of=("self",)).select_related("user")
        row = rows.filter(_reach(access), tenant=access.tenant, id=token_id).first()
        if row is None:
            raise NotFound("You have no such token.", code="token_not_found")
        if row.revoked_at is None:
            row.revoked_at = now()
            row.save(update_fields=["revoked_at"])
            whose = "" if row.user_id == access.user.id else f" of {row.user}"
            record(
                by=access.actor,
                action=f"{row.kind}.revoked",
                sentence=f"revoked the {row.get_kind_display()} {row}{whose}",
                tenant_id=access.tenant.id,
                target_id=str(row.id),
                target_label=row.name,
                data={"for": row.user.email},
            )


def live_tokens(*, access: Access, kind: ApiToken.Kind | None = None) -> QuerySet[ApiToken]:
    """Return the asker's tokens, of one kind or of all, that are neither revoked nor expired, newest first."""
    access.require(Permission.TOKEN_MANAGE)
    mine = _live(access).filter(user=access.user)
    return mine if kind is None else mine.filter(kind=kind)


def tokens_of_everyone(*, access: Access) -> QuerySet[ApiToken]:
    """Return the live tokens and credentials of all members and service accounts with their users, newest first; needs tenant:manage."""
    access.require(Permission.TENANT_MANAGE)
    return _live(access)


def token_named(*, access: Access, token_id: str) -> ApiToken:
    """Return a live token, or application credential, that the asker may revoke. Raises NotFound."""
    access.require(Permission.TOKEN_MANAGE)
    row = _live(access).filter(_reach(access), id=token_id).first()
    if row is None:
        raise NotFound("You have no such token.", code="token_not_found")
    return row


def find_token(*, text: str, address: str | None) -> ApiToken | None:
    """Return the token with this text that is let in, its user and tenant loaded, and note its use; None if there is none."""
    if not looks_like_token(text=text):
        return None
    digests = digests_of(text=text)
    with as_system("find a token"):
        row = usable_tokens().filter(kind=ApiToken.Kind.TOKEN, digest__in=digests.values()).first()
        if row is None or digests.get(row.pepper) != row.digest:
            return None
        note_use(row=row, text=text, address=address)
    return row


def usable_tokens() -> QuerySet[ApiToken]:
    """Return, with user and tenant, the tokens of all tenants that are let in now. Ask within the scope of the portal itself.

    Not let in is what is revoked or expired, of a disabled user, of somebody who is no longer a member, of a deleted service account,
    or for a deleted tenant. Everything that authenticates with a token asks here, in one query.
    """
    person = Q(user__is_service=False)
    program = Q(user__service_account__deleted_at=None, user__service_account__tenant=F("tenant"))
    return ApiToken.objects.select_related("user", "tenant").filter(
        person | program,
        revoked_at=None,
        expires_at__gt=now(),
        tenant__deleted_at=None,
        user__is_active=True,
        user__memberships__tenant=F("tenant"),
    )


def note_use(*, row: ApiToken, text: str, address: str | None) -> None:
    """Note when and from where a token was used, at most once a minute, and hash it with the newest pepper if an older one was used."""
    moment, newest = now(), newest_pepper()
    if row.pepper != newest:
        digest = digests_of(text=text)[newest]
        # Compare and swap: of two requests at once, one swaps and the other finds it done.
        ApiToken.objects.filter(id=row.id, digest=row.digest).update(digest=digest, pepper=newest)
        row.digest, row.pepper = digest, newest
    if row.last_used_at is None or row.last_used_at < moment - TOUCH_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=moment - TOUCH_EVERY)  # a write a minute, not a write a request
        ApiToken.objects.filter(stale, id=row.id).update(last_used_at=moment, last_used_address=address)


def user_named(*, email: str) -> User:
    """Return the active user with this address; raises NotFound."""
    user = User.objects.filter(email__iexact=email.strip(), is_active=True).first()
    if user is None:
        raise NotFound(f"There is no active user “{email}”.", code="user_not_found")
    return user


def _live(access: Access) -> QuerySet[ApiToken]:
    rows = access.tenant.tokens.select_related("user", "user__service_account").filter(revoked_at=None, expires_at__gt=now())
    return rows.order_by("-created_at", "-id")


def _reach(access: Access) -> Q:
    return Q() if access.may(Permission.TENANT_MANAGE) else Q(user=access.user)
