"""Secrets of authenticator apps and of recovery codes, encrypted at rest."""

from apps.accounts.mfa import SecondFactorAdapter
from apps.credentials import vault

CONTEXT = "second-factor"


class SealedSecondFactors(SecondFactorAdapter):
    """Second factors whose secrets the database keeps sealed by the vault."""

    def encrypt(self, text: str) -> str:
        """Seal a secret for the database."""
        return vault.encrypt(plaintext=text.encode(), context=CONTEXT)

    def decrypt(self, encrypted_text: str) -> str:
        """Open what `encrypt` sealed. Raises VaultError when the key is gone."""
        return vault.decrypt(token=encrypted_text, context=CONTEXT).decode()
