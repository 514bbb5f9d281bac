import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def _light(settings: Settings) -> None:
    """Pages are rendered from the sources (the collected, compressed files belong to a portal that serves), passwords hashed fast."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
