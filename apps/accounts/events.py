"""What people do to their own accounts, written into the audit log."""

from typing import Any

from allauth.account.signals import email_changed, password_changed, password_reset, password_set
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from allauth.socialaccount.signals import social_account_added, social_account_removed

from apps.accounts.models import User
from apps.audit.services import record

NAMES = {
    Authenticator.Type.TOTP: "an authenticator app",
    Authenticator.Type.WEBAUTHN: "a passkey",
    Authenticator.Type.RECOVERY_CODES: "recovery codes",
}


def connect() -> None:
    """Listen; called once, when applications are ready."""
    for signal, action, sentence in (
        (password_changed, "account.password_changed", "changed their password"),
        (password_set, "account.password_changed", "set a password"),
        (password_reset, "account.password_reset", "chose a new password by a mailed link"),
        (social_account_added, "account.sign_in_connected", "connected a sign-in of another provider"),
        (social_account_removed, "account.sign_in_removed", "removed a sign-in of another provider"),
    ):
        signal.connect(_listener(action, sentence), weak=False, dispatch_uid=f"audit {action} {sentence}")
    for signal, verb in ((authenticator_added, "added"), (authenticator_removed, "removed"), (authenticator_reset, "renewed")):
        signal.connect(_factor_listener(verb), weak=False, dispatch_uid=f"audit factor {verb}")
    email_changed.connect(_address_changed, dispatch_uid="audit address")


def _write(user: User, action: str, sentence: str, **data: Any) -> None:
    record(by=user.actor, action=action, sentence=sentence, tenant_id=None, target_id=str(user.id), target_label=user.email, data=data)


def _listener(action: str, sentence: str) -> Any:
    def listen(request: Any = None, user: Any = None, sociallogin: Any = None, socialaccount: Any = None, **_: Any) -> None:
        whose = user or (sociallogin.user if sociallogin else None) or (socialaccount.user if socialaccount else None) or request.user
        _write(whose, action, sentence)

    return listen


def _factor_listener(verb: str) -> Any:
    def listen(user: User, authenticator: Authenticator, **_: Any) -> None:
        kind = Authenticator.Type(authenticator.type)
        _write(user, f"account.factor_{verb}", f"{verb} {NAMES[kind]}", factor=kind.value)

    return listen


def _address_changed(user: User, from_email_address: Any, to_email_address: Any, **_: Any) -> None:
    before = from_email_address.email if from_email_address else None
    if before:
        _write(user, "account.email_changed", f"changed their address from {before} to {to_email_address.email}", before=before)
