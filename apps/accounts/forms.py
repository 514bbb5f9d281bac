"""allauth's forms where Carina knows better: what nobody may learn from them, and what is the better default."""

from typing import Any

from allauth.account.forms import ResetPasswordForm, SignupForm
from allauth.mfa.adapter import get_adapter
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm, LoginWebAuthnForm, ReauthenticateWebAuthnForm
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest

from apps.accounts.addresses import holder_of


class SignUpForm(SignupForm):
    """Signing up. An address that somebody only wants to change to does not hinder its real owner."""

    def validate_unique_email(self, value: str) -> str:
        """Remember whether the address has an account already; the answer looks the same either way."""
        self.account_already_exists = holder_of(email=value) is not None
        return value

    def try_save(self, request: HttpRequest) -> Any:
        """Save, or only send a mail; hash the password in both cases, so that both take as long."""
        if self.account_already_exists:
            make_password(self.cleaned_data["password1"])
        return super().try_save(request)


class ForgottenPasswordForm(ResetPasswordForm):
    """Asking for a new password. Only the address that counts leads to an account, not one it is being changed to."""

    def clean_email(self) -> str:
        """Look up whose password it is; the answer is the same for nobody's."""
        email: str = super().clean_email()
        self.users = [user for user in self.users if user.email.lower() == email.lower() and not user.is_service]
        return email


# What these raise on JSON that is no answer of an authenticator is whatever the parsing stumbles over.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


class _FromPasskey:
    """A form with what a browser says of a passkey; anybody may send anything, and nonsense is a wrong answer, not an error."""

    def clean_credential(self) -> Any:
        """Return whose passkey it is. Raises ValidationError for everything else."""
        try:
            return super().clean_credential()  # type: ignore[misc]  # allauth's, in the classes below
        except MALFORMED as error:
            raise get_adapter().validation_error("incorrect_code") from error


class PasskeySignInForm(_FromPasskey, LoginWebAuthnForm):
    """Signing in with a passkey alone."""


class PasskeyAfterPasswordForm(_FromPasskey, AuthenticateWebAuthnForm):
    """Signing in with a passkey after the password."""


class PasskeyAgainForm(_FromPasskey, ReauthenticateWebAuthnForm):
    """Showing the passkey again, before something sensitive."""


class AddPasskeyForm(AddWebAuthnForm):
    """Adding a passkey: by default one that signs in by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("initial", {}).setdefault("passwordless", True)
        super().__init__(*args, **kwargs)

    def clean(self) -> dict[str, Any]:
        """Check what the browser made. Raises ValidationError for everything that is no passkey."""
        try:
            return super().clean()
        except MALFORMED as error:
            raise get_adapter().validation_error("incorrect_code") from error
