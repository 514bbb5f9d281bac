"""Addresses with and without a slash at the end, as one: a redirect would lose the body of a POST."""

from django.urls import URLPattern, path
from rest_framework.views import APIView


def both(*, route: str, view: type[APIView], name: str) -> list[URLPattern]:
    """Return the patterns of `route` in both forms; only the one without the slash is named and described in the schema."""
    return [path(route, view.as_view(), name=name), path(f"{route}/", view.as_view(schema=None))]
