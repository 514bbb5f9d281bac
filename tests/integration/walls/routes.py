"""Every address of the portal, found in its URL conf: nothing here is a list that somebody could forget to add to."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ANGLED = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")
NAMED = re.compile(r"\(\?P<(?P<name>\w+)>(?:[^()]|\([^()]*\))*\)")


@dataclass(frozen=True)
class Route:
    """One address with its arguments as `<name>`, its view, and the methods that it may answer otherwise than with 405."""

    path: str
    methods: tuple[str, ...]
    view: Any

    @property
    def name(self) -> str:
        """The address without the slash at its end: both forms must behave alike, so they share one line of the matrix."""
        return self.path.rstrip("/") or "/"

    @property
    def arguments(self) -> list[str]:
        """The names of its arguments, in order."""
        return [found["name"] for found in ANGLED.finditer(self.path)]

    @property
    def in_api(self) -> bool:
        """Whether tokens are of use here."""
        return self.path.startswith("/api/")

    def filled(self, values: dict[str, str]) -> str:
        """Return the address with values for its arguments; raises KeyError for one nobody thought of."""
        return ANGLED.sub(lambda found: values[found["name"]], self.path)


def routes() -> list[Route]:
    """Return every route but those of Django's admin, which have a rule of their own, in the order in which they are tried."""
    return [route for route in _walk(get_resolver().url_patterns, "/") if not route.path.startswith("/admin/")]


def first_forms(found: Iterable[Route]) -> list[Route]:
    """Return each address in one of its two forms, with or without the slash: `same view` is what makes knocking at one enough."""
    return list({route.name: route for route in reversed(list(found))}.values())[::-1]


def admin_routes() -> list[Route]:
    """Return the routes of Django's admin pages."""
    return [route for route in _walk(get_resolver().url_patterns, "/") if route.path.startswith("/admin/")]


def _walk(patterns: Iterable[Any], before: str) -> Iterator[Route]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, before + _plain(str(pattern.pattern)))
        elif isinstance(pattern, URLPattern):
            yield Route(path=before + _plain(str(pattern.pattern)), methods=tuple(_methods(pattern.callback)), view=pattern.callback)


def _plain(pattern: str) -> str:
    """Return a pattern, be it a path or a regular expression, with `<name>` for its arguments."""
    text = NAMED.sub(lambda found: f"<{found['name']}>", pattern)
    text = ANGLED.sub(lambda found: f"<{found['name']}>", text)
    return text.removeprefix("^").removesuffix("$").replace("\\", "").replace("/?", "").removesuffix("Z")


def _methods(view: Any) -> Sequence[str]:
    """A class says what it answers; of a function all methods are tried."""
    answering = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if answering is None:
        return ("GET", "POST")
    return [method for method in METHODS if hasattr(answering, method.lower())]
