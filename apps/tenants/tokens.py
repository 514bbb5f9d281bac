"""API tokens: `carina_<40 random characters><6 checksum characters>`, shown once, stored as an HMAC.

The prefix and the CRC32 checksum let secret scanners recognise a leaked token without asking us.
"""

import hashlib
import hmac
import secrets
import string
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.audit.services import record
from apps.common.clock import now
from apps.common.errors import InvalidInput, NotFound
from apps.tenants.context import Access
from apps.tenants.models import ApiToken
from apps.tenants.roles import PERMISSIONS, Permission

ALPHABET = string.digits + string.ascii_letters
SECRET_LENGTH, CHECKSUM_LENGTH = 40, 6
DEFAULT_LIFETIME = timedelta(days=90)
TOUCH_EVERY = timedelta(minutes=1)
NAME_LENGTH = 80


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """A token at the only moment its text is known."""

    row: ApiToken
    text: str = field(repr=False)


def create_token(*, access: Access, name: str, scopes: list[str] | None = None, expires_at: datetime | None = None) -> NewToken:
    """Make a token for the user of `access` in its tenant; scopes default to all the role allows, expiry to 90 days.

    Raises InvalidInput for unknown scopes, scopes beyond the asker's own permissions, and expiries in the past or too far away.
    """
    access.require(Permission.TOKEN_MANAGE)
    name = " ".join(name.split()) or "token"
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidInput.field("name", f"The name may have at most {NAME_LENGTH} printable characters.")
    granted = _check_scopes(access=access, scopes=scopes)
    moment = now()
    expires_at = expires_at or moment + min(DEFAULT_LIFETIME, timedelta(days=settings.MAX_TOKEN_DAYS))
    if not moment < expires_at <= moment + timedelta(days=settings.MAX_TOKEN_DAYS):
        raise InvalidInput.field("expires_at", f"The expiry must lie in the future, at most {settings.MAX_TOKEN_DAYS} days ahead.")
    text = _new_text()
    with transaction.atomic():
        row = ApiToken.objects.create(
            tenant=access.tenant,
            user=access.user,
            name=name,
            digest=_digest(text),
            hint=text[-4:],
            scopes=granted,
            created_at=moment,
            expires_at=expires_at,
        )
        record(
            by=access.actor,
            action="token.created",
            sentence=f"created the API token {row}",
            tenant_id=access.tenant.id,
            target_id=str(row.id),
            target_label=name,
            data={"scopes": granted, "expires_at": expires_at.isoformat()},
        )
    return NewToken(row=row, text=text)


def revoke_token(*, access: Access, token_id: str) -> None:
    """Revoke one of the asker's own tokens at once; revoking twice is harmless. Raises NotFound for anybody else's."""
    access.require(Permission.TOKEN_MANAGE)
    with transaction.atomic():
        row = ApiToken.objects.select_for_update().filter(tenant=access.tenant, user=access.user, id=token_id).first()
        if row is None:
            raise NotFound("You have no such token.", code="token_not_found")
        if row.revoked_at is None:
            row.revoked_at = now()
            row.save(update_fields=["revoked_at"])
            record(
                by=access.actor,
                action="token.revoked",
                sentence=f"revoked the API token {row}",
                tenant_id=access.tenant.id,
                target_id=str(row.id),
                target_label=row.name,
            )


def find_token(*, text: str, address: str | None) -> ApiToken | None:
    """Return the live token with this text, its user and tenant loaded, and note its use; None if there is none."""
    if not looks_like_token(text=text):
        return None
    moment = now()
    row = ApiToken.objects.select_related("user", "tenant").filter(digest=_digest(text), revoked_at=None, expires_at__gt=moment).first()
    if row is None or not row.user.is_active:
        return None
    stale = Q(last_used_at=None) | Q(last_used_at__lt=moment - TOUCH_EVERY)  # a write a minute, not a write a request
    if row.last_used_at is None or row.last_used_at < moment - TOUCH_EVERY:
        ApiToken.objects.filter(stale, id=row.id).update(last_used_at=moment, last_used_address=address)
    return row


def live_tokens(*, access: Access) -> QuerySet[ApiToken]:
    """Return the asker's tokens that are neither revoked nor expired, newest first."""
    access.require(Permission.TOKEN_MANAGE)
    return access.tenant.tokens.filter(user=access.user, revoked_at=None, expires_at__gt=now()).order_by("-created_at", "-id")


def looks_like_token(*, text: str) -> bool:
    """Tell whether prefix, length and checksum are those of a token of ours; costs no look-up."""
    prefix, _, rest = text.partition("_")
    secret, checksum = rest[:SECRET_LENGTH], rest[SECRET_LENGTH:]
    return prefix == settings.TOKEN_PREFIX and len(rest) == SECRET_LENGTH + CHECKSUM_LENGTH and _checksum(secret) == checksum


def user_named(*, email: str) -> User:
    """Return the active user with this address; raises NotFound."""
    user = User.objects.filter(email__iexact=email.strip(), is_active=True).first()
    if user is None:
        raise NotFound(f"There is no active user “{email}”.", code="user_not_found")
    return user


def _check_scopes(*, access: Access, scopes: list[str] | None) -> list[str]:
    if not scopes:
        return sorted(access.permissions)
    unknown = [scope for scope in scopes if scope not in set(Permission)]
    if unknown:
        raise InvalidInput.field("scopes", f"Unknown scope “{unknown[0]}”; known are {', '.join(Permission)}.")
    beyond = sorted(set(scopes) - access.permissions)
    if beyond:
        reason = (
            "your role does not have it" if Permission(beyond[0]) not in PERMISSIONS[access.role] else "the token you use does not have it"
        )
        raise InvalidInput.field("scopes", f"You cannot give the scope “{beyond[0]}”: {reason}.")
    return sorted(set(scopes))


def _new_text() -> str:
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return f"{settings.TOKEN_PREFIX}_{secret}{_checksum(secret)}"


def _checksum(secret: str) -> str:
    number, digits = zlib.crc32(secret.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def _digest(text: str) -> str:
    return hmac.new(settings.SECRET_KEY.encode(), b"api-token:" + text.encode(), hashlib.sha256).hexdigest()
