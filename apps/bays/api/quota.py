"""The limits of a tenant over REST."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.bays.estimates import usage_after
from apps.tenants.roles import Permission


class LimitSerializer(serializers.Serializer[Any]):
    """One limit."""

    used = serializers.IntegerField()
    limit = serializers.IntegerField()


class QuotaSerializer(serializers.Serializer[Any]):
    """What the tenant uses and may use."""

    bays = LimitSerializer()
    hosts = LimitSerializer()


class TenantQuota(TenantView):
    """The limits of a tenant."""

    tag: ClassVar[str] = "Tenants"
    needs: ClassVar = {"GET": Permission.TENANT_READ}

    @extend_schema(operation_id="read_quota", summary="Read the limits of a tenant", responses={200: QuotaSerializer})
    def get(self, request: Request, **_: str) -> Response:
        """Return what is used and what may be used."""
        usage = usage_after(tenant=self.access.tenant, more_bays=0, more_hosts=0)
        return Response({item.name: {"used": item.used, "limit": item.limit} for item in usage})
