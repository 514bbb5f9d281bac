from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Write into the audit log what people do to their accounts."""
        from apps.accounts import events  # noqa: PLC0415 - models are not loaded when apps are configured

        events.connect()
