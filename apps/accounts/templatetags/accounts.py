"""Template tags of the pages around signing in."""

import json
from typing import Any

from django import template
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest

from apps.accounts.mfa import passkeys_possible

register = template.Library()


@register.simple_tag(takes_context=True)
def can_use_passkeys(context: dict[str, Any]) -> bool:
    """Tell whether browsers allow passkeys under the address this page was asked by."""
    return passkeys_possible(request=context["request"])


@register.simple_tag(takes_context=True)
def address_for_passkeys(context: dict[str, Any]) -> str:
    """Return the address of this page under which passkeys work, if it is known: the same machine by its name."""
    request: HttpRequest = context["request"]
    name, _, port = request.get_host().rpartition(":")
    if name != "127.0.0.1" or "localhost" not in settings.ALLOWED_HOSTS:
        return ""
    return f"http://localhost:{port}{request.path}"


@register.simple_tag
def single_sign_on_name() -> str:
    """Return what the identity provider is called; empty where none is configured."""
    return settings.OIDC_NAME if settings.OIDC_ISSUER else ""


@register.filter
def as_json(value: Any) -> str:
    """Return the value as JSON, for a data attribute."""
    return json.dumps(value, cls=DjangoJSONEncoder)


@register.filter
def browser(user_agent: str) -> str:
    """Return what a User-Agent header means to people: “Firefox on Linux”."""
    programs = (
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    )
    systems = (
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    )
    program = next((name for mark, name in programs if mark in user_agent), "")
    system = next((name for mark, name in systems if mark in user_agent), "")
    return " on ".join(part for part in (program, system) if part) or user_agent[:60] or "unknown"
