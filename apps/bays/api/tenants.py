"""Tenants over REST: mine, one, leaving it."""

from typing import Any, ClassVar

from django.db import transaction
from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import ApiView, TenantView
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.bays.spec import parse_text, refuse_unknown
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import NewestFirst
from apps.common.api.parsing import body_of
from apps.common.errors import InvalidInput
from apps.tenants.members import leave_tenant
from apps.tenants.models import Tenant
from apps.tenants.roles import Permission
from apps.tenants.services import create_tenant, delete_tenant, rename_tenant, require_mfa, tenants_of


class TenantSerializer(serializers.ModelSerializer[Tenant]):
    """An organisation."""

    class Meta:
        model = Tenant
        fields = ("id", "slug", "name", "personal", "mfa_required", "max_token_days", "created_at")
        extra_kwargs = {"max_token_days": {"help_text": "The longest lifetime of API tokens; null where the portal's own applies."}}


class ChangeTenantSerializer(serializers.Serializer[Any]):
    """What of an organisation may be changed; its slug stays."""

    name = serializers.CharField(required=False, max_length=80, help_text="Its name for people.")
    mfa_required = serializers.BooleanField(required=False, help_text="Whether only members with a second factor get in.")


class CreateTenantSerializer(serializers.Serializer[Any]):
    """An organisation to be made."""

    slug = serializers.CharField(max_length=40, help_text="Its name in addresses: lower-case letters, digits and hyphens.")
    name = serializers.CharField(required=False, max_length=80, help_text="Its name for people; the slug unless given.")


def parse_flag(field: str, value: object) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        raise InvalidInput.field(field, f"The {field} must be true or false.", code="type")
    return value


class TenantList(ApiView):
    """The tenants of whoever asks."""

    tag: ClassVar[str] = "Tenants"

    @extend_schema(operation_id="list_tenants", summary="List my tenants", parameters=PAGING, responses={200: page_of(TenantSerializer)})
    def get(self, request: Request) -> Response:
        """Newest first. A token sees only the tenant it is for."""
        mine = tenants_of(user=self.user)
        if self.token is not None:
            mine = mine.filter(id=self.token.tenant_id)
        pages = NewestFirst()
        return pages.get_paginated_response(TenantSerializer(pages.paginate_queryset(mine, request), many=True).data)

    @extend_schema(
        operation_id="create_tenant", summary="Create a tenant", request=CreateTenantSerializer, responses={201: TenantSerializer},
        description="You become its owner. A token needs the scope tenant:manage, and stays one of its own tenant.",
        examples=[OpenApiExample("A team", value={"slug": "blue-team", "name": "Blue team"}, request_only=True)],
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request) -> HttpResponseBase:
        """Create an organisation owned by the asker."""
        self.require_of_token(Permission.TENANT_MANAGE)
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("slug", "name"))
        slug, name = parse_text("slug", body.get("slug", "")), parse_text("name", body.get("name", ""))
        tenant = create_tenant(by=self.user, slug=slug, name=name)
        return Response(TenantSerializer(tenant).data, status=201, headers={"Location": f"/api/v1/tenants/{tenant.slug}"})


class TenantDetail(TenantView):
    """One tenant."""

    tag: ClassVar[str] = "Tenants"
    needs: ClassVar = {"GET": Permission.TENANT_READ, "PATCH": Permission.TENANT_MANAGE, "DELETE": Permission.TENANT_DELETE}

    @extend_schema(operation_id="read_tenant", summary="Read a tenant", responses={200: TenantSerializer})
    def get(self, request: Request, **_: str) -> Response:
        """Return the organisation."""
        return Response(TenantSerializer(self.access.tenant).data)

    @extend_schema(
        operation_id="change_tenant", summary="Change a tenant", request=ChangeTenantSerializer, responses={200: TenantSerializer},
        description="One field or both. Who requires a second factor of others must have one; …/token-policy has the lifetime of tokens.",
        examples=[OpenApiExample("Another name", value={"name": "Blue team"}, request_only=True)],
    )  # fmt: skip
    def patch(self, request: Request, **_: str) -> Response:
        """Rename it, or set whether members need a second factor."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("name", "mfa_required"))
        name = parse_text("name", body["name"]) if "name" in body else None
        required = parse_flag("mfa_required", body["mfa_required"]) if "mfa_required" in body else None
        with transaction.atomic():
            if name is not None:
                rename_tenant(access=self.access, name=name)
            if required is not None:
                require_mfa(access=self.access, required=required)
        return Response(TenantSerializer(self.access.tenant).data)

    @extend_schema(
        operation_id="delete_tenant", summary="Delete a tenant", responses={204: OpenApiResponse(description="Deleted.")},
        description="For good, with its tokens and invitations. Refused while it has bays; the sentence names them.",
    )  # fmt: skip
    def delete(self, request: Request, **_: str) -> Response:
        """Delete the organisation."""
        delete_tenant(access=self.access)
        return Response(status=204)


class TenantLeave(TenantView):
    """Leaving a tenant."""

    tag: ClassVar[str] = "Members"
    needs: ClassVar = {"POST": Permission.TENANT_LEAVE}

    @extend_schema(
        operation_id="leave_tenant", summary="Leave a tenant", request=None, responses={204: OpenApiResponse(description="You have left.")},
        description="Your tokens for it are revoked, the one of this request too. The last owner cannot leave.",
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Give up one's own membership."""
        refuse_unknown(data=body_of(request=request), allowed=())
        leave_tenant(access=self.access)
        return Response(status=204)
