"""The secrets of a local stack: generated once, kept under `var/secrets`, readable by their owner only."""

import base64
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from carina_portal.embedded.layout import Layout, write_private


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What is handed on: paths where the portal reads a file, values where a server's own configuration needs them."""

    secret_key_file: Path
    vault_keys_file: Path
    token_peppers_file: Path
    installation: str
    postgres_admin: str = field(repr=False)
    postgres: str = field(repr=False)
    postgres_portal: str = field(repr=False)
    redis: str = field(repr=False)


def ensure_keys(*, layout: Layout) -> Keys:
    """Return the stack's secrets, making those that do not exist yet. What exists is never changed: data is encrypted with it."""
    _ensure(layout.secrets / "secret-key", secrets.token_urlsafe(50))
    _ensure(layout.secrets / "vault-keys", _ring())
    _ensure(layout.secrets / "token-peppers", _ring())
    return Keys(
        secret_key_file=layout.secrets / "secret-key",
        vault_keys_file=layout.secrets / "vault-keys",
        token_peppers_file=layout.secrets / "token-peppers",
        # Kept apart from the path's hash: a clone that is moved keeps its hosts.
        installation=_ensure(layout.secrets / "installation", secrets.token_hex(4)),
        postgres_admin=_ensure(layout.secrets / "postgres-admin-password", secrets.token_urlsafe(24)),
        postgres=_ensure(layout.secrets / "postgres-password", secrets.token_urlsafe(24)),
        postgres_portal=_ensure(layout.secrets / "postgres-portal-password", secrets.token_urlsafe(24)),
        redis=_ensure(layout.secrets / "redis-password", secrets.token_urlsafe(24)),
    )


def _ensure(path: Path, fresh: str) -> str:
    if not path.exists():
        write_private(path=path, content=fresh)
    return path.read_text().strip()


def _ring() -> str:
    """Return a key ring of one new key, as `carina_portal.env.key_ring` reads it."""
    return f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
