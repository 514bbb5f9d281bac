"""The identity provider of the company, from the environment."""

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from carina_portal import env

PROVIDER_ID = "sso"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def issuer() -> str:
    """Return CARINA_OIDC_ISSUER without a slash at its end, empty where it is not set.

    Raises ImproperlyConfigured unless it is an https address: what the provider says is believed because the connection is its own.
    """
    text = env.text("CARINA_OIDC_ISSUER").strip().rstrip("/")
    url = urlsplit(text)
    if text and (not url.hostname or (url.scheme != "https" and not (url.scheme == "http" and url.hostname in LOOPBACK))):
        raise ImproperlyConfigured(f"CARINA_OIDC_ISSUER is {text!r}; write the https address of the identity provider.")
    return text


def name() -> str:
    """Return what the provider is called on buttons: CARINA_OIDC_NAME, else its host name."""
    return env.text("CARINA_OIDC_NAME").strip() or urlsplit(issuer()).hostname or ""


def providers() -> dict[str, Any]:
    """Return SOCIALACCOUNT_PROVIDERS: one OpenID Connect provider, or none. Raises ImproperlyConfigured for half a configuration."""
    server = issuer()
    if not server:
        return {}
    client = env.text("CARINA_OIDC_CLIENT_ID")
    if not client:
        raise ImproperlyConfigured("CARINA_OIDC_ISSUER is set, so set CARINA_OIDC_CLIENT_ID and CARINA_OIDC_CLIENT_SECRET as well.")
    app = {
        "provider_id": PROVIDER_ID,
        "name": name(),
        "client_id": client,
        "secret": env.secret("CARINA_OIDC_CLIENT_SECRET"),
        "settings": {"server_url": server},
    }
    return {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}
