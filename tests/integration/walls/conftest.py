from collections.abc import Iterator

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.integration.walls.people import World, build


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """One world for all knocks; every knock's traces are rolled back."""
    del django_db_setup
    sources = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    middleware = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    changed = override_settings(STORAGES=sources, MIDDLEWARE=middleware)
    with changed, django_db_blocker.unblock(), transaction.atomic():
        yield build()
        transaction.set_rollback(True)
        cache.clear()
