"""The form of tokens, and the hashes that are kept of them, with one pepper and with several."""

import hashlib
import hmac

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from apps.tenants.token_text import (
    FORMER,
    digests_of,
    known_peppers,
    looks_like_secret,
    looks_like_token,
    new_secret_text,
    new_token_text,
    newest_pepper,
)

OLD, NEW = ("old", b"o" * 32), ("new", b"n" * 32)


@pytest.mark.parametrize("position", [7, 20, 46, 47, 52])
def test_one_wrong_character_anywhere_shows(position: int) -> None:
    text = new_token_text()
    other = "0" if text[position] != "0" else "1"
    assert looks_like_token(text=text)
    assert not looks_like_token(text=text[:position] + other + text[position + 1 :])


@pytest.mark.parametrize("text", ["", "carina_", "carina_" + "a" * 46, "carina_" + "é" * 46, "Carina_" + "a" * 46, "\ud800"])
def test_what_is_no_token_does_not_look_like_one(text: str) -> None:
    assert not looks_like_token(text=text)
    assert not looks_like_secret(text=text)


def test_a_token_and_a_secret_are_told_apart_by_their_prefix() -> None:
    token, secret = new_token_text(), new_secret_text()
    assert (len(token), len(secret)) == (53, 56)
    assert not looks_like_token(text=secret)
    assert not looks_like_secret(text=token)
    assert looks_like_secret(text=secret)


def test_the_first_pepper_hashes_all_are_known_and_the_former_key_is_the_last(settings: Settings) -> None:
    settings.TOKEN_PEPPERS = [NEW, OLD]
    digests = digests_of(text="carina_x")
    assert list(digests) == ["new", "old", FORMER] == known_peppers()
    assert newest_pepper() == "new"
    assert len(set(digests.values())) == 3
    assert digests["old"] == hmac.new(b"o" * 32, b"api-token:carina_x", hashlib.sha256).hexdigest()
    assert digests[FORMER] == hmac.new(str(settings.SECRET_KEY).encode(), b"api-token:carina_x", hashlib.sha256).hexdigest()


@pytest.mark.parametrize("ring", [[], [OLD, OLD], [("x" * 17, b"k" * 32)]])
def test_a_ring_that_cannot_be_meant_is_refused_by_name(settings: Settings, ring: list[tuple[str, bytes]]) -> None:
    settings.TOKEN_PEPPERS = ring
    with pytest.raises(ImproperlyConfigured, match="CARINA_TOKEN_PEPPERS"):
        digests_of(text="x")
