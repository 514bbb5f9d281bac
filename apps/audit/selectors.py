"""Reading the audit log."""

from uuid import UUID

from django.db.models import QuerySet

from apps.audit.models import AuditEvent


def events_of_tenant(*, tenant_id: UUID) -> QuerySet[AuditEvent]:
    """Return what was done in a tenant, newest first. The caller has checked that the asker may read it."""
    return AuditEvent.objects.filter(tenant_id=tenant_id).order_by("-at", "-id")
