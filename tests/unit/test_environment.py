"""The environment of tests/environment.py reaches the settings: it is read before Django's settings are, or it would be for nothing."""

from django.conf import settings


def test_tests_are_not_held_back_by_the_limits_of_production() -> None:
    assert settings.FAILED_TOKENS_PER_MINUTE == 100_000
    assert settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"] == {"anon": "10000/min", "user": "100000/min"}


def test_a_killed_worker_is_missed_soon() -> None:
    assert settings.OPERATION_LEASE_SECONDS == 4
