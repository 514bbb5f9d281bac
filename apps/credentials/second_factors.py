"""Secrets of authenticator apps and of recovery codes, encrypted at rest."""

from allauth.mfa.models import Authenticator
from django.db import transaction

from apps.accounts.mfa import SecondFactorAdapter
from apps.credentials import vault
from apps.credentials.rotation import Rotated

CONTEXT = "second-factor"
COLUMN = "mfa.Authenticator.data"
KEYS = ("secret", "seed")
"""Where allauth keeps what it had sealed: the secret of an app, the seed of recovery codes."""


class SealedSecondFactors(SecondFactorAdapter):
    """Second factors whose secrets the database keeps sealed by the vault."""

    def encrypt(self, text: str) -> str:
        """Seal a secret for the database."""
        return vault.encrypt(plaintext=text.encode(), context=CONTEXT)

    def decrypt(self, encrypted_text: str) -> str:
        """Open what `encrypt` sealed. Raises VaultError when the key is gone."""
        return vault.decrypt(token=encrypted_text, context=CONTEXT).decode()


def rotate() -> Rotated:
    """Seal all of them with the active key. Safe to run twice, at once, and beside people who sign in: each row is locked for it."""
    moved, current, failures = 0, 0, []
    for pk in list(Authenticator.objects.filter(data__has_any_keys=list(KEYS)).values_list("pk", flat=True)):
        try:
            if _rotate_one(pk):
                moved += 1
            else:
                current += 1
        except vault.VaultError as error:
            failures.append(str(error))
    return Rotated(column=COLUMN, moved=moved, current=current, failures=tuple(failures))


@transaction.atomic
def _rotate_one(pk: int) -> bool:
    row = Authenticator.objects.select_for_update().filter(pk=pk).first()
    if row is None:  # taken away meanwhile
        return False
    stale = [key for key in KEYS if key in row.data and vault.needs_rotation(token=row.data[key])]
    for key in stale:
        row.data[key] = vault.encrypt(plaintext=vault.decrypt(token=row.data[key], context=CONTEXT), context=CONTEXT)
    if stale:
        row.save(update_fields=["data"])
    return bool(stale)
