"""Application credentials: an id and a secret, as OpenStack's clients know them. They share the rows and the rules of API tokens."""

import hmac
from datetime import datetime
from uuid import UUID

from apps.common.scope import as_system
from apps.tenants.context import Access
from apps.tenants.models import ApiToken
from apps.tenants.token_issue import STANDING, Bearer, NewToken, Wish, issue
from apps.tenants.token_text import digests_of, looks_like_secret
from apps.tenants.tokens import note_use, usable_tokens


def create_application_credential(
    *, access: Access, name: str, scopes: list[str] | None = None, expires_at: datetime | None = None
) -> NewToken:
    """Make an application credential for the user of `access`: its id is the row's UUID in hex, its secret the `text`, shown once.

    Scopes default to all the asker may do but manage tokens, people and the tenant. Raises what `create_token` raises.
    """
    bearer = Bearer(
        user=access.user,
        allowed=access.permissions - STANDING,
        why_not="application credentials never manage tokens, people or organisations",
    )
    wish = Wish(name=name, kind=ApiToken.Kind.APPLICATION_CREDENTIAL, scopes=scopes or (), expires_at=expires_at)
    return issue(access=access, bearer=bearer, wish=wish)


def authenticate_application_credential(*, id: str, secret: str, address: str | None) -> ApiToken | None:  # noqa: A002 - its name
    """Return the application credential with this id and secret that is let in, and note its use; None if there is none.

    The row's user and tenant are loaded; hand it to `access_of` as the token of the request. `address` is where the request came from.
    """
    key = _key(id)
    if key is None or not looks_like_secret(text=secret):
        return None
    with as_system("find an application credential"):
        row = usable_tokens().filter(kind=ApiToken.Kind.APPLICATION_CREDENTIAL, id=key).first()
        if row is None or not hmac.compare_digest(digests_of(text=secret).get(row.pepper, ""), row.digest):
            return None
        note_use(row=row, text=secret, address=address)
    return row


def _key(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
