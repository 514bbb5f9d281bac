"""A portal in the process of the tests: what its settings are there, and how a browser is let in."""

from pathlib import Path

from django.conf import settings as portal
from django.core.cache import cache
from django.test import Client
from playwright.sync_api import BrowserContext
from pytest_django import Settings

from apps.accounts.models import User


def nobody_tried_before(settings: Settings) -> None:
    """Passwords are hashed fast, and no try of another test counts."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


def no_collected_files(settings: Settings) -> None:
    """Collected, compressed static files belong to a portal that serves; here pages name the sources."""
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]


def mails_on_a_page(settings: Settings, folder: Path) -> None:
    """Mails lie in the folder, and the page that shows mails shows them."""
    settings.MAIL_DIR, settings.EMAIL_BACKEND = folder, "apps.common.mailbox.FolderBackend"


def let_in(context: BrowserContext, *, user: User, site: str) -> None:
    """Give a browser the session of a user, without the pages at which one signs in."""
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    name = portal.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": site}])
