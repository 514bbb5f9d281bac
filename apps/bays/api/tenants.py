"""Tenants over REST: mine, one and its members."""

from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, extend_schema
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
from apps.tenants.context import access_of
from apps.tenants.models import Membership, Tenant
from apps.tenants.roles import Permission
from apps.tenants.services import create_tenant, tenants_of


class TenantSerializer(serializers.ModelSerializer[Tenant]):
    """An organisation."""

    class Meta:
        model = Tenant
        fields = ("id", "slug", "name", "personal", "created_at")


class CreateTenantSerializer(serializers.Serializer[Any]):
    """An organisation to be made."""

    slug = serializers.CharField(max_length=40, help_text="Its name in addresses: lower-case letters, digits and hyphens.")
    name = serializers.CharField(required=False, max_length=80, help_text="Its name for people; the slug unless given.")


class MemberSerializer(serializers.ModelSerializer[Membership]):
    """A person in a tenant."""

    email = serializers.EmailField(source="user.email")
    since = serializers.DateTimeField(source="created_at")

    class Meta:
        model = Membership
        fields = ("email", "role", "since")


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
        if self.token is not None:
            access_of(user=self.user, slug=self.token.tenant.slug, token=self.token).require(Permission.TENANT_MANAGE)
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("slug", "name"))
        slug, name = parse_text("slug", body.get("slug", "")), parse_text("name", body.get("name", ""))
        tenant = create_tenant(by=self.user, slug=slug, name=name)
        return Response(TenantSerializer(tenant).data, status=201, headers={"Location": f"/api/v1/tenants/{tenant.slug}"})


class TenantDetail(TenantView):
    """One tenant."""

    tag: ClassVar[str] = "Tenants"
    needs: ClassVar = {"GET": Permission.TENANT_READ}

    @extend_schema(operation_id="read_tenant", summary="Read a tenant", responses={200: TenantSerializer})
    def get(self, request: Request, **_: str) -> Response:
        """Return the organisation."""
        return Response(TenantSerializer(self.access.tenant).data)


class TenantMembers(TenantView):
    """The people of a tenant."""

    tag: ClassVar[str] = "Tenants"
    needs: ClassVar = {"GET": Permission.TENANT_READ}

    @extend_schema(
        operation_id="list_members", summary="List the members of a tenant", parameters=PAGING, responses={200: page_of(MemberSerializer)}
    )
    def get(self, request: Request, **_: str) -> Response:
        """Newest first."""
        pages = NewestFirst()
        page = pages.paginate_queryset(self.access.tenant.memberships.select_related("user"), request)
        return pages.get_paginated_response(MemberSerializer(page, many=True).data)
