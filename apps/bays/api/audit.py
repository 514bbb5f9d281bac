"""The audit log of a tenant over REST."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit.models import AuditEvent
from apps.audit.selectors import events_of_tenant
from apps.bays.api.base import TenantView
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.common.api.pagination import NewestFirst
from apps.tenants.roles import Permission


class AuditSerializer(serializers.ModelSerializer[AuditEvent]):
    """Who did what."""

    actor = serializers.CharField(source="actor_label")
    target = serializers.CharField(source="target_label")

    class Meta:
        model = AuditEvent
        fields = ("id", "at", "actor", "action", "target", "target_id", "sentence", "data")


class TenantAudit(TenantView):
    """The audit log of a tenant."""

    tag: ClassVar[str] = "Tenants"
    needs: ClassVar = {"GET": Permission.AUDIT_READ}

    @extend_schema(
        operation_id="list_audit", summary="Read the audit log of a tenant", parameters=PAGING, responses={200: page_of(AuditSerializer)}
    )
    def get(self, request: Request, **_: str) -> Response:
        """Newest first; for owners and admins."""
        pages = NewestFirst(moment="at")
        page = pages.paginate_queryset(events_of_tenant(tenant_id=self.access.tenant.id), request)
        return pages.get_paginated_response(AuditSerializer(page, many=True).data)
