"""The audit log of a tenant over REST."""

from typing import ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit.models import AuditEvent
from apps.audit.selectors import PARAMETERS, events_of_tenant, matching, parse_wanted
from apps.bays.api.base import TenantView
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.common.api.pagination import NewestFirst
from apps.tenants.roles import Permission

FILTERS = [OpenApiParameter(name=name, type=OpenApiTypes.STR, description=words) for name, words in PARAMETERS.items()]


class AuditSerializer(serializers.ModelSerializer[AuditEvent]):
    """Who did what."""

    actor = serializers.CharField(source="actor_label")
    address = serializers.CharField(allow_null=True, help_text="Network address of the request; null where there was none.")
    target = serializers.CharField(source="target_label")

    class Meta:
        model = AuditEvent
        fields = ("id", "at", "actor", "actor_id", "address", "action", "target", "target_id", "sentence", "data")


class TenantAudit(TenantView):
    """The audit log of a tenant."""

    tag: ClassVar[str] = "Tenants"
    needs: ClassVar = {"GET": Permission.AUDIT_READ}

    @extend_schema(
        operation_id="list_audit", summary="Read the audit log of a tenant", parameters=[*FILTERS, *PAGING],
        responses={200: page_of(AuditSerializer)},
    )  # fmt: skip
    def get(self, request: Request, **_: str) -> Response:
        """Newest first; for owners and admins. Filters narrow it together."""
        wanted = parse_wanted(parameters=request.query_params)
        pages = NewestFirst(moment="at")
        page = pages.paginate_queryset(matching(events=events_of_tenant(tenant_id=self.access.tenant.id), wanted=wanted), request)
        return pages.get_paginated_response(AuditSerializer(page, many=True).data)
