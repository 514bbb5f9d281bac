from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """Where Carina's sign-in differs from allauth's: addresses are kept in lower case."""

    def save_user(self, request: HttpRequest, user: AbstractBaseUser, form: Any, commit: bool = True) -> AbstractBaseUser:  # noqa: FBT001, FBT002 - allauth's
        """Save the new user with a lower-case address."""
        saved = super().save_user(request, user, form, commit=False)
        saved.email = saved.email.strip().lower()  # type: ignore[attr-defined]  # AUTH_USER_MODEL has one
        if commit:
            saved.save()
        return saved
