from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.credentials.rotation import rotate_all


class Command(BaseCommand):
    help = (
        "Re-encrypt every stored secret with the active key. Put a new key first in CARINA_VAULT_KEYS, restart the portal, run this, "
        "then take the old key out."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        failed = False
        for column in rotate_all():
            self.stdout.write(f"{column.column}: {column.moved} re-encrypted, {column.current} already on the active key")
            for failure in column.failures:
                failed = True
                self.stderr.write(f"  {failure}")
        if failed:
            raise CommandError("Some secrets could not be re-encrypted and keep their old key: do not remove old keys yet.")
