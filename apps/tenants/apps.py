from typing import Any

from allauth.account.signals import user_signed_up
from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "apps.tenants"
    label = "tenants"

    def ready(self) -> None:
        """Give everybody who signs up a personal tenant."""
        user_signed_up.connect(_make_personal_tenant, dispatch_uid="personal tenant")


def _make_personal_tenant(*, user: Any, **_: Any) -> None:
    from apps.tenants.services import ensure_personal_tenant  # noqa: PLC0415 - models are not loaded when apps are configured

    ensure_personal_tenant(user=user)
