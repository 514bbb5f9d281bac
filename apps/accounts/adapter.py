from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from apps.accounts.models import User


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Where Carina's sign-in differs from allauth's: addresses are kept in lower case."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:  # noqa: FBT001, FBT002 - allauth's signature
        """Save the new user with a lower-case address."""
        saved: User = super().save_user(request, user, form, commit=False)
        saved.email = saved.email.strip().lower()
        if commit:
            saved.save()
        return saved
