from django.apps import AppConfig
from django.db.models.signals import post_migrate

from apps.common import rls


class CommonConfig(AppConfig):
    name = "apps.common"
    label = "common"

    def ready(self) -> None:
        """Grant the portal's role what migrations have made, once they are through."""
        post_migrate.connect(rls.grant, sender=self, dispatch_uid="grants")
