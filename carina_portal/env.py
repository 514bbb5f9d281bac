"""Typed reading of the environment. Secrets come from `NAME` or, better, from the file that `NAME_FILE` names."""

import base64
import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    """Return the variable `name`, or `default` where it is not set."""
    return os.environ.get(name, default)


def flag(name: str, *, default: bool = False) -> bool:
    """Return True for 1/true/yes/on, False for 0/false/no/off and the empty string; anything else is a configuration error."""
    value = os.environ.get(name, "").strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    if value:
        raise ImproperlyConfigured(f"{name} is {value!r}; write 1 or 0.")
    return default


def integer(name: str, default: int) -> int:
    """Return the whole number in the variable `name`; raises ImproperlyConfigured for anything else."""
    value = os.environ.get(name, "").strip()
    try:
        return int(value) if value else default
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is {value!r}; write a whole number.") from error


def words(name: str, default: str = "") -> list[str]:
    """Return the comma-separated items of a variable, without blanks."""
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def days(name: str, default: str) -> tuple[int, ...]:
    """Return ascending whole numbers of days, comma-separated; raises ImproperlyConfigured for anything else, and for none."""
    texts = words(name, default)
    numbers = tuple(int(text) for text in texts if text.isascii() and text.isdigit())
    if not numbers or len(numbers) != len(texts) or list(numbers) != sorted(set(numbers)):
        raise ImproperlyConfigured(f"{name} is {','.join(texts)!r}; write whole numbers of days, each larger than the one before.")
    return numbers


def secret(name: str) -> str:
    """Return the secret `name`; raises ImproperlyConfigured when neither NAME nor NAME_FILE is set."""
    if path := os.environ.get(f"{name}_FILE"):
        return Path(path).read_text().strip()
    if value := os.environ.get(name):
        return value
    raise ImproperlyConfigured(f"Set {name}, or {name}_FILE to the path of a file that holds it.")


def optional_secret(name: str) -> str:
    """Return the secret `name` in the same ways, or nothing where it is not set: what needs it is not offered then."""
    return secret(name) if os.environ.get(name) or os.environ.get(f"{name}_FILE") else ""


def key_ring(name: str) -> list[tuple[str, bytes]]:
    """Return (id, 32 bytes) for each `id:base64` of a comma-separated secret; the first one encrypts, all decrypt."""
    ring = []
    for item in secret(name).split(","):
        key_id, _, encoded = item.strip().partition(":")
        key = base64.b64decode(encoded)
        if not key_id or len(key) != 32:  # noqa: PLR2004 - AES-256
            raise ImproperlyConfigured(f"{name} must be id:base64 pairs separated by commas, each key 32 bytes long.")
        ring.append((key_id, key))
    return ring


def broker_url(redis_url: str) -> str:
    """Return a Redis URL as Celery reads it: kombu calls the scheme of unix sockets and their `?db=` otherwise than redis-py does."""
    if not redis_url.startswith("unix://"):
        return redis_url
    return redis_url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=").replace("&db=", "&virtual_host=")


def database(name: str) -> dict[str, object]:
    """Return Django's dict for a postgresql:// URL; options such as `?host=/socket/dir` or `?sslmode=verify-full` are passed on."""
    url = urlsplit(secret(name))
    if url.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured(f"{name} must start with postgresql:// because PostgreSQL is the only database Carina runs on.")
    options = dict(parse_qsl(url.query))
    return {
        "ENGINE": "apps.common.postgres",
        "NAME": unquote(url.path.lstrip("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": options.pop("host", "") or (url.hostname or ""),
        "PORT": options.pop("port", "") or (str(url.port) if url.port else ""),
        "OPTIONS": options,
    }
