from typing import Any

from django.apps import AppConfig

from apps.credentials.rotation import register_secret


class HostsConfig(AppConfig):
    name = "apps.hosts"
    label = "hosts"

    def ready(self) -> None:
        """Let `rotate_keys` reach the clouds' secrets."""
        register_secret(model="hosts.Cloud", field="secrets_encrypted", context=_context)


def _context(cloud: Any) -> str:
    return f"cloud:{cloud.id}"
