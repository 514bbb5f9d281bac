from django.apps import AppConfig
from django.core.signals import request_finished, request_started

from apps.audit import origin


class AuditConfig(AppConfig):
    name = "apps.audit"
    label = "audit"

    def ready(self) -> None:
        """Know of every request where it comes from, so that each event can say it without being told."""
        request_started.connect(origin.begin, dispatch_uid="where an audited request comes from")
        request_finished.connect(origin.end, dispatch_uid="where an audited request comes from")
