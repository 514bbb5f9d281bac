from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out
from django.core.signals import request_started
from django.db.models.signals import post_save


class DashboardConfig(AppConfig):
    name = "apps.dashboard"
    label = "dashboard"

    def ready(self) -> None:
        """Let operators with a support view in, as guests who can only look; write down what is changed in the operator's desk."""
        from django.contrib.admin.models import LogEntry  # noqa: PLC0415 - models are not loaded when apps are configured

        from apps.dashboard import desk_log, support  # noqa: PLC0415 - as above
        from apps.tenants.context import guests  # noqa: PLC0415 - as above

        if support.admit not in guests:
            guests.append(support.admit)
        post_save.connect(desk_log.repeat, sender=LogEntry, dispatch_uid="the desk's changes are audited")
        request_started.connect(support.note_method, dispatch_uid="method of the request")
        user_logged_out.connect(support.end_at_sign_out, dispatch_uid="support views end with the session")
