"""The only place that encrypts or decrypts what the database keeps secret.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce per secret. A token says which key of the ring sealed it, so that keys can be
replaced one row at a time, and is bound to a context ("bay-ca:<id>"): a token copied into another row or column does not open there.
"""

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_FORMAT = "v1"
_NONCE_BYTES = 12
_KEY_BYTES = 32


class VaultError(Exception):
    """A secret cannot be opened or sealed; the sentence says which key or setting is wrong and never contains the secret."""


def encrypt(*, plaintext: bytes, context: str) -> str:
    """Return a token that only `decrypt` with the same `context` opens, sealed with the first key of the ring.

    Raises VaultError when the ring is empty or its first key is not 32 bytes.
    """
    ring = _ring()
    key_id = next(iter(ring))
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(ring[key_id]).encrypt(nonce, plaintext, _associated_data(key_id=key_id, context=context))
    return f"{_FORMAT}.{key_id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def decrypt(*, token: str, context: str) -> bytes:
    """Return what was encrypted into `token`. Raises VaultError for an unknown key, a foreign context, or a damaged token."""
    key_id, sealed = _parse(token)
    key = _ring().get(key_id)
    if key is None:
        raise VaultError(
            f"The secret for {context} was encrypted with key '{key_id}', which CARINA_VAULT_KEYS lacks: add it behind the active one."
        )
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _associated_data(key_id=key_id, context=context))
    except (InvalidTag, ValueError):  # ValueError: too short to be sealed by us
        raise VaultError(
            f"The secret for {context} does not open with key '{key_id}': it is damaged, belongs elsewhere, or the key was changed."
        ) from None


def needs_rotation(*, token: str) -> bool:
    """Tell whether `token` was sealed with another key than the active one. Raises VaultError when it is not a token."""
    key_id, _ = _parse(token)
    return key_id != next(iter(_ring()))


def _ring() -> dict[str, bytes]:
    ring = dict(settings.VAULT_KEYS)
    if not ring:
        raise VaultError("No key to encrypt secrets with: set CARINA_VAULT_KEYS or CARINA_VAULT_KEYS_FILE to id:base64-of-32-bytes.")
    for key_id, key in ring.items():
        if len(key) != _KEY_BYTES:
            raise VaultError(f"Key '{key_id}' in CARINA_VAULT_KEYS has {len(key)} bytes: a key is 32 random bytes in base64.")
        if not key_id or "." in key_id:
            raise VaultError(f"'{key_id}' cannot be the id of a key in CARINA_VAULT_KEYS: use letters and digits.")
    return ring


def _parse(token: str) -> tuple[str, bytes]:
    form, _, rest = token.partition(".")
    key_id, _, body = rest.partition(".")
    if form == _FORMAT and key_id and body:
        try:
            return key_id, base64.b64decode(body.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            pass
    raise VaultError("This is not an encrypted secret of this portal: expected v1.<key id>.<data>.")


def _associated_data(*, key_id: str, context: str) -> bytes:
    return f"carina|{_FORMAT}|{key_id}|{context}".encode()
