"""What the pages of every application share: routes in both slash forms, forms that take the domain's refusals."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import HttpResponseBase
from django.urls import URLPattern, path

from apps.common.errors import CarinaError


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
