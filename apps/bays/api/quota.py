"""The limits of a tenant over REST: what is used, and requests for more."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.bays.spec import parse_text, refuse_unknown
from apps.bays.usage import usage_after
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import NewestFirst
from apps.common.api.parsing import body_of
from apps.common.errors import InvalidInput
from apps.tenants.limits import LIMITS
from apps.tenants.models import QuotaRequest
from apps.tenants.quota_requests import find_quota_request, quota_requests_of, request_quota, self_approved_limits, withdraw_quota_request
from apps.tenants.roles import Permission

COLUMNS = {limit.name: column for column, limit in LIMITS.items()}


class LimitSerializer(serializers.Serializer[Any]):
    """One limit."""

    used = serializers.IntegerField(help_text="What bays have or shall have; hosts that are being removed count until they are gone.")
    limit = serializers.IntegerField()
    unit = serializers.CharField(help_text="bays, hosts, vCPUs, MiB or GiB.")
    approves_itself_up_to = serializers.IntegerField(help_text="A request up to here needs no operator, once in 30 days.")


class QuotaSerializer(serializers.Serializer[Any]):
    """What the tenant uses and may use."""

    bays = LimitSerializer()
    hosts = LimitSerializer()
    vcpus = LimitSerializer()
    memory_mib = LimitSerializer()
    disk_gib = LimitSerializer()


class WantedSerializer(serializers.Serializer[Any]):
    """Limits asked for; those left out stay."""

    bays = serializers.IntegerField(required=False, min_value=0)
    hosts = serializers.IntegerField(required=False, min_value=0)
    vcpus = serializers.IntegerField(required=False, min_value=0)
    memory_mib = serializers.IntegerField(required=False, min_value=0)
    disk_gib = serializers.IntegerField(required=False, min_value=0)


class CreateQuotaRequestSerializer(serializers.Serializer[Any]):
    """A wish for higher limits."""

    wanted = WantedSerializer()
    reason = serializers.CharField(required=False, allow_blank=True, max_length=1000, help_text="Needed where an operator decides.")


class QuotaRequestSerializer(serializers.ModelSerializer[QuotaRequest]):
    """A wish for higher limits, and what became of it."""

    wanted = serializers.SerializerMethodField()
    state = serializers.CharField(help_text="open, approved, refused or withdrawn.")

    class Meta:
        model = QuotaRequest
        fields = ("id", "state", "wanted", "reason", "requested_by", "created_at", "decided_by", "decided_at", "answer")

    def get_wanted(self, row: QuotaRequest) -> dict[str, int]:
        """Return the limits asked for, by the names the API gives them."""
        return {LIMITS[column].name: number for column, number in row.wanted.items()}


class QuotaView(TenantView):
    """A view of limits."""

    tag: ClassVar[str] = "Limits"


class TenantQuota(QuotaView):
    """The limits of a tenant."""

    needs: ClassVar = {"GET": Permission.TENANT_READ}

    @extend_schema(operation_id="read_quota", summary="Read the limits of a tenant", responses={200: QuotaSerializer})
    def get(self, request: Request, **_: str) -> Response:
        """Return what is used and what may be used."""
        reach = self_approved_limits()
        return Response(
            {
                each.name: {
                    "used": each.used,
                    "limit": each.limit,
                    "unit": each.unit,
                    "approves_itself_up_to": max(each.limit, reach[COLUMNS[each.name]]),
                }
                for each in usage_after(tenant=self.access.tenant)
            }
        )


class QuotaRequestList(QuotaView):
    """Requests for higher limits."""

    needs: ClassVar = {"GET": Permission.TENANT_READ, "POST": Permission.TENANT_MANAGE}

    @extend_schema(
        operation_id="list_quota_requests", summary="List requests for higher limits", parameters=PAGING,
        responses={200: page_of(QuotaRequestSerializer)},
    )  # fmt: skip
    def get(self, request: Request, **_: str) -> Response:
        """Newest first."""
        pages = NewestFirst()
        page = pages.paginate_queryset(quota_requests_of(access=self.access), request)
        return pages.get_paginated_response(QuotaRequestSerializer(page, many=True).data)

    @extend_schema(
        operation_id="request_quota", summary="Ask for higher limits", request=CreateQuotaRequestSerializer,
        responses={201: QuotaRequestSerializer},
        description="Small requests are “approved” at once, others “open” until an operator decides. One may be open at a time.",
        examples=[OpenApiExample("More hosts", value={"wanted": {"hosts": 80, "vcpus": 320}, "reason": "Load test"}, request_only=True)],
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Ask for higher limits."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("wanted", "reason"))
        reason = parse_text("reason", body.get("reason", ""))
        wanted = _wanted(body.get("wanted"))
        try:
            row = request_quota(access=self.access, wanted=wanted, reason=reason)
        except InvalidInput as error:
            raise InvalidInput(error.detail, code=error.code, errors=_by_name(error.errors)) from error
        headers = {"Location": f"/api/v1/tenants/{self.access.tenant.slug}/quota/requests/{row.id}"}
        return Response(QuotaRequestSerializer(row).data, status=201, headers=headers)


class QuotaRequestDetail(QuotaView):
    """One request for higher limits."""

    needs: ClassVar = {"GET": Permission.TENANT_READ, "DELETE": Permission.TENANT_MANAGE}

    @extend_schema(operation_id="read_quota_request", summary="Read a request for higher limits", responses={200: QuotaRequestSerializer})
    def get(self, request: Request, *, request_id: UUID, **_: str) -> Response:
        """Return what was asked for and what became of it."""
        return Response(QuotaRequestSerializer(find_quota_request(access=self.access, request_id=request_id)).data)

    @extend_schema(
        operation_id="withdraw_quota_request", summary="Withdraw a request for higher limits", responses={200: QuotaRequestSerializer},
        description="Only while it is open. It stays in the list, as withdrawn.",
    )  # fmt: skip
    def delete(self, request: Request, *, request_id: UUID, **_: str) -> Response:
        """Take it back."""
        return Response(QuotaRequestSerializer(withdraw_quota_request(access=self.access, request_id=request_id)).data)


def _wanted(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidInput.field("wanted", 'The limits you want must be an object, such as {"hosts": 80}.', code="type")
    refuse_unknown(data=value, allowed=tuple(COLUMNS))
    return {COLUMNS[str(name)]: number for name, number in value.items()}


def _by_name(errors: Mapping[str, str]) -> dict[str, str]:
    return {f"wanted.{LIMITS[field].name}" if field in LIMITS else field: sentence for field, sentence in errors.items()}
