from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out
from django.core.signals import request_started


class DashboardConfig(AppConfig):
    name = "apps.dashboard"
    label = "dashboard"

    def ready(self) -> None:
        """Let operators with a support view in, as guests who can only look."""
        from apps.dashboard import support  # noqa: PLC0415 - models are not loaded when apps are configured
        from apps.tenants.context import guests  # noqa: PLC0415 - as above

        if support.admit not in guests:
            guests.append(support.admit)
        request_started.connect(support.note_method, dispatch_uid="method of the request")
        user_logged_out.connect(support.end_at_sign_out, dispatch_uid="support views end with the session")
