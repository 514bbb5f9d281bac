"""What the pages of every application share: routes in both slash forms, and saying what the domain refuses, on a form or above a page."""

from collections.abc import Callable
from types import TracebackType
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, path

from apps.common.errors import CarinaError, Forbidden, NotFound


def both(route: str, view: Callable[..., HttpResponseBase], name: str, **fixed: str) -> list[URLPattern]:
    """Return the patterns of a page with and without a slash at its end; links use the form that `route` is written in.

    `fixed` are arguments of the view that the address does not carry. A redirect between the two would lose the body of a POST.
    """
    other = route.removesuffix("/") if route.endswith("/") else f"{route}/"
    return [path(route, view, fixed, name=name), path(other, view, fixed)]


class DomainForm(forms.Form):
    """A form whose rules live in the domain: it reads text into values and shows refusals beside the fields they are about."""

    def blame(self, error: CarinaError) -> None:
        """Show a refusal at the fields it names, in full if it names one, and above the form if it names none that is here."""
        named = {field: sentence for field, sentence in error.errors.items() if field in self.fields}
        if not named:
            self.add_error(None, error.detail)
        elif len(named) == 1:
            self.add_error(next(iter(named)), error.detail)
        else:
            for field, sentence in named.items():
                self.add_error(field, sentence)

    def as_typed(self) -> dict[str, Any]:
        """Return the values of the fields that are filled in; those left empty are for the domain's defaults."""
        return {name: value for name, value in self.cleaned_data.items() if value is not None and value != ""}


class SayingRefusals:
    """For a `with` around a use case: says what it refuses, and goes on behind the block.

    NotFound and Forbidden go through: they are about the whole page, and become 404 and 403.
    """

    def __init__(self, say: Callable[[CarinaError], None]) -> None:
        self._say = say

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Say a refusal, if there is one to be said."""
        if not isinstance(error, CarinaError) or isinstance(error, NotFound | Forbidden):
            return False
        self._say(error)
        return True


def refusals_at(form: DomainForm) -> SayingRefusals:
    """Show what the use case in the block refuses at the form."""
    return SayingRefusals(form.blame)


def refusals_as_messages(request: HttpRequest) -> SayingRefusals:
    """Show what the use case in the block refuses above the next page."""
    return SayingRefusals(lambda error: messages.error(request, error.detail))
