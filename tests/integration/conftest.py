import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def _no_collected_files(settings: Settings) -> None:
    """Collected, compressed static files belong to a portal that serves; here pages name the sources."""
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
