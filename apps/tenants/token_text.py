"""The text of tokens, `carina_<40 random characters><6 checksum characters>`, and the keyed hash that is stored of it.

The prefix and the CRC32 checksum let secret scanners recognise a leaked token without asking us. Secrets of application credentials
have the same form with the prefix `carinaapp`. Hashes are keyed with a pepper of settings.TOKEN_PEPPERS: the first one is used for new
texts, all are accepted, and so are, under the empty id, hashes keyed with SECRET_KEY as they were made before there were peppers.
"""

import hashlib
import hmac
import secrets
import string
import zlib

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

ALPHABET = string.digits + string.ascii_letters
SECRET_LENGTH, CHECKSUM_LENGTH, HINT_LENGTH = 40, 6, 4
PEPPER_ID_LENGTH = 16
FORMER = ""
"""The id under which hashes keyed with SECRET_KEY are known."""


def new_token_text() -> str:
    """Return the text of a new API token."""
    return _new_text(prefix=settings.TOKEN_PREFIX)


def new_secret_text() -> str:
    """Return the secret of a new application credential."""
    return _new_text(prefix=_secret_prefix())


def looks_like_token(*, text: str) -> bool:
    """Tell whether prefix, length and checksum are those of a token of ours; costs no look-up."""
    return _looks_right(text, prefix=settings.TOKEN_PREFIX)


def looks_like_secret(*, text: str) -> bool:
    """Tell whether prefix, length and checksum are those of the secret of an application credential; costs no look-up."""
    return _looks_right(text, prefix=_secret_prefix())


def digests_of(*, text: str) -> dict[str, str]:
    """Return the keyed hashes of `text` by the id of their pepper, the one for new texts first."""
    return {pepper: hmac.new(key, b"api-token:" + text.encode(), hashlib.sha256).hexdigest() for pepper, key in _ring()}


def newest_pepper() -> str:
    """Return the id of the pepper that new texts are hashed with."""
    return _ring()[0][0]


def known_peppers() -> list[str]:
    """Return the ids of all peppers that are accepted, newest first; the last one is `FORMER`."""
    return [pepper for pepper, _ in _ring()]


def _ring() -> list[tuple[str, bytes]]:
    ring: list[tuple[str, bytes]] = settings.TOKEN_PEPPERS
    names = [pepper for pepper, _ in ring]
    if not ring or len(set(names)) < len(names) or any(not 0 < len(name) <= PEPPER_ID_LENGTH for name in names):
        raise ImproperlyConfigured(
            "CARINA_TOKEN_PEPPERS must have at least one id:base64 pair, and each an id of its own "
            f"of at most {PEPPER_ID_LENGTH} characters."
        )
    return [*ring, (FORMER, settings.SECRET_KEY.encode())]


def _secret_prefix() -> str:
    return f"{settings.TOKEN_PREFIX}app"


def _new_text(*, prefix: str) -> str:
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return f"{prefix}_{secret}{_checksum(secret)}"


def _looks_right(text: str, *, prefix: str) -> bool:
    found, _, rest = text.partition("_")
    secret, checksum = rest[:SECRET_LENGTH], rest[SECRET_LENGTH:]
    return text.isascii() and found == prefix and len(rest) == SECRET_LENGTH + CHECKSUM_LENGTH and _checksum(secret) == checksum


def _checksum(secret: str) -> str:
    number, digits = zlib.crc32(secret.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
