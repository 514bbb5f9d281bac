"""The people of a tenant over REST: list, change a role, remove."""

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.bays.spec import parse_text, refuse_unknown
from apps.common.api.pagination import NewestFirst
from apps.common.api.parsing import body_of
from apps.tenants.members import change_role, member_named, members_of, remove_member
from apps.tenants.models import Membership
from apps.tenants.roles import Permission


class MemberSerializer(serializers.ModelSerializer[Membership]):
    """A person in a tenant."""

    id = serializers.UUIDField(source="user_id", help_text="The person's id, in every tenant the same.")
    email = serializers.EmailField(source="user.email")
    since = serializers.DateTimeField(source="created_at")

    class Meta:
        model = Membership
        fields = ("id", "email", "role", "since")


class ChangeMemberSerializer(serializers.Serializer[Any]):
    """What of a membership may be changed."""

    role = serializers.CharField(help_text="owner, admin, operator, billing or viewer.")


class MemberList(TenantView):
    """The people of a tenant."""

    tag: ClassVar[str] = "Members"
    needs: ClassVar = {"GET": Permission.TENANT_READ}

    @extend_schema(
        operation_id="list_members", summary="List the members of a tenant", parameters=PAGING, responses={200: page_of(MemberSerializer)}
    )
    def get(self, request: Request, **_: str) -> Response:
        """Newest first; service accounts are not among them."""
        pages = NewestFirst()
        page = pages.paginate_queryset(members_of(access=self.access), request)
        return pages.get_paginated_response(MemberSerializer(page, many=True).data)


class MemberDetail(TenantView):
    """One person of a tenant."""

    tag: ClassVar[str] = "Members"
    needs: ClassVar = {"GET": Permission.TENANT_READ, "PATCH": Permission.MEMBER_MANAGE, "DELETE": Permission.MEMBER_MANAGE}

    @extend_schema(operation_id="read_member", summary="Read a member", responses={200: MemberSerializer})
    def get(self, request: Request, *, member_id: UUID, **_: str) -> Response:
        """Return the person with their role."""
        return Response(MemberSerializer(member_named(access=self.access, user_id=member_id)).data)

    @extend_schema(
        operation_id="change_member", summary="Change a member's role", request=ChangeMemberSerializer, responses={200: MemberSerializer},
        description="Owners are made and changed by owners only (scope owner:manage); the last one stays one.",
        examples=[OpenApiExample("May look only", value={"role": "viewer"}, request_only=True)],
    )  # fmt: skip
    def patch(self, request: Request, *, member_id: UUID, **_: str) -> Response:
        """Give the person another role, which holds from their next request on."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("role",))
        role = parse_text("role", body.get("role", ""))
        return Response(MemberSerializer(change_role(access=self.access, user_id=member_id, role=role)).data)

    @extend_schema(
        operation_id="remove_member", summary="Remove a member", responses={204: OpenApiResponse(description="Removed.")},
        description="Their tokens for it stop at once. Certificates of bays that they hold are good until the bay's CA is rotated.",
    )  # fmt: skip
    def delete(self, request: Request, *, member_id: UUID, **_: str) -> Response:
        """Take the person's membership."""
        remove_member(access=self.access, user_id=member_id)
        return Response(status=204)
