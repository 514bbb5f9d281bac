"""Typed reading of the environment: what is right, and one clear sentence for what is not."""

import base64
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from carina_portal import env

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.mark.parametrize(
    ("redis", "broker"),
    [
        ("redis://:pw@db.example:6379/2", "redis://:pw@db.example:6379/2"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
        ("unix://:pw@/run/redis.sock?x=1&db=3", "redis+socket://:pw@/run/redis.sock?x=1&virtual_host=3"),
    ],
)
def test_the_broker_uses_the_database_that_the_url_names(redis: str, broker: str) -> None:
    assert env.broker_url(redis) == broker


def test_a_secret_may_come_from_a_file_and_its_absence_is_told_with_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_SECRET", raising=False)
    with pytest.raises(ImproperlyConfigured, match="Set SOME_SECRET, or SOME_SECRET_FILE"):
        env.secret("SOME_SECRET")
    (tmp_path / "secret").write_text("s3cret\n")
    monkeypatch.setenv("SOME_SECRET_FILE", str(tmp_path / "secret"))
    assert env.secret("SOME_SECRET") == "s3cret"


def test_a_secret_that_need_not_be_there_is_nothing_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_SECRET", raising=False)
    monkeypatch.delenv("SOME_SECRET_FILE", raising=False)
    assert env.optional_secret("SOME_SECRET") == ""
    monkeypatch.setenv("SOME_SECRET", "by itself")
    assert env.optional_secret("SOME_SECRET") == "by itself"
    (tmp_path / "secret").write_text("of a file\n")
    monkeypatch.setenv("SOME_SECRET_FILE", str(tmp_path / "secret"))
    assert env.optional_secret("SOME_SECRET") == "of a file"


@pytest.mark.parametrize("text", ["maybe", "2", "ja"])
def test_a_switch_that_is_neither_on_nor_off_is_an_error_and_not_off(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_FLAG", text)
    with pytest.raises(ImproperlyConfigured, match="write 1 or 0"):
        env.flag("SOME_FLAG")


@pytest.mark.parametrize("text", ["k1:short", "no-colon", f":{KEY}"])
def test_a_key_ring_with_a_bad_key_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RING", text)
    with pytest.raises((ImproperlyConfigured, ValueError)):
        env.key_ring("RING")


def test_the_first_key_of_a_ring_is_the_first_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RING", f"new:{KEY}, old:{KEY}")
    assert [key_id for key_id, _ in env.key_ring("RING")] == ["new", "old"]


def test_only_postgresql_is_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_DATABASE", "sqlite:///db")
    with pytest.raises(ImproperlyConfigured, match="PostgreSQL is the only database"):
        env.database("SOME_DATABASE")
    monkeypatch.setenv("SOME_DATABASE", "postgresql://me:p%40ss@/carina?host=/run/pg&sslmode=disable")
    settings = env.database("SOME_DATABASE")
    assert (settings["PASSWORD"], settings["HOST"], settings["OPTIONS"]) == ("p@ss", "/run/pg", {"sslmode": "disable"})
