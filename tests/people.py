"""People at the sign-in pages, for tests of accounts: with a confirmed address, a password, and what they do there."""

import base64
import hashlib
import hmac
import re
import struct
import time
from typing import Any

from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client

from apps.accounts.models import User
from tests.factories import make_user

PASSWORD = "a plank of cedar 42"


def make_person(email: str = "ann@example.com", *, password: str | None = PASSWORD) -> User:
    """Return a user who has confirmed their address."""
    user = make_user(email, password=password)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def sign_in(email: str = "ann@example.com", password: str = PASSWORD, **headers: str) -> tuple[Client, Any]:
    """Return a new browser and the answer to its sign-in form."""
    client = Client(headers=headers or None)
    return client, client.post("/account/login/", {"login": email, "password": password})


def confirmed(client: Client, password: str = PASSWORD) -> Client:
    """Type the password again, as pages that change factors ask for."""
    client.post("/account/reauthenticate/", {"password": password})
    return client


def code_of(secret: str, *, at: float | None = None) -> str:
    """Return what an authenticator app shows (RFC 6238)."""
    counter = int((time.time() if at is None else at) // 30)
    digest = hmac.new(base64.b32decode(secret), struct.pack(">Q", counter), hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 10**6:06}"


def fresh_code(secret: str) -> str:
    """Return a code that stays right for the next seconds: not one at the end of its half minute."""
    if time.time() % 30 > 27:
        time.sleep(30 - time.time() % 30)
    return code_of(secret)


def secret_shown_to(client: Client) -> str:
    """Return the secret that the page for a new authenticator app shows."""
    page = client.get("/account/2fa/totp/activate/").content.decode()
    found = re.search(r'id="totp-secret"[^>]*><code>([A-Z2-7]+)</code>', page)
    assert found, page
    return found[1]


def add_app(client: Client) -> str:
    """Set up an authenticator app and return its secret."""
    secret = secret_shown_to(confirmed(client))
    answer = client.post("/account/2fa/totp/activate/", {"code": fresh_code(secret)})
    assert answer.status_code == 302, answer.content.decode()
    return secret


def mails_to(email: str) -> list[Any]:
    """Return the mails sent to an address so far."""
    return [message for message in mail.outbox if email in message.to]


def link_in(message: Any) -> str:
    """Return the path of the link in a mail."""
    found = re.search(r"http://testserver(/\S+)", str(message.body))
    assert found, message.body
    return found[1]
