"""Service accounts over REST: programs as members of a tenant, and their tokens."""

from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.bays.api.token_rows import TOKEN_PAGE, CreateTokenSerializer, NewTokenSerializer, TokenSerializer, wish_of
from apps.bays.spec import parse_text, refuse_unknown
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import NewestFirst
from apps.common.api.parsing import body_of
from apps.common.errors import InvalidInput
from apps.tenants.models import ServiceAccount
from apps.tenants.roles import Permission
from apps.tenants.service_accounts import (
    ROLES,
    change_service_account,
    create_service_account,
    create_service_token,
    delete_service_account,
    find_service_account,
    service_accounts,
    tokens_of_account,
)

FIELDS = ("name", "role")
ONE_OF = f"One of {', '.join(ROLES)}."


class ServiceAccountSerializer(serializers.ModelSerializer[ServiceAccount]):
    """A program's account."""

    role = serializers.CharField(help_text=ONE_OF)
    user = serializers.EmailField(source="user.email", help_text="How the audit log names it; no mail arrives there.")
    live_tokens = serializers.IntegerField()

    class Meta:
        model = ServiceAccount
        fields = ("id", "name", "role", "user", "live_tokens", "created_by", "created_at")


class CreateServiceAccountSerializer(serializers.Serializer[Any]):
    """A service account to be made."""

    name = serializers.CharField(max_length=40, help_text="Lower-case letters, digits and hyphens, starting with a letter.")
    role = serializers.CharField(help_text=f"{ONE_OF} None that may more than you.")


class ChangeServiceAccountSerializer(serializers.Serializer[Any]):
    """A change of a service account."""

    name = serializers.CharField(max_length=40, required=False)
    role = serializers.CharField(required=False, help_text=ONE_OF)


class ServiceAccountView(TenantView):
    """A view of service accounts: for those who manage the tenant."""

    tag: ClassVar[str] = "Service accounts"

    @property
    def _home(self) -> str:
        return f"/api/v1/tenants/{self.access.tenant.slug}"


class ServiceAccountList(ServiceAccountView):
    """The tenant's service accounts."""

    needs: ClassVar = {"GET": Permission.TENANT_MANAGE, "POST": Permission.TENANT_MANAGE}

    @extend_schema(
        operation_id="list_service_accounts", summary="List service accounts", parameters=PAGING,
        responses={200: page_of(ServiceAccountSerializer)},
    )  # fmt: skip
    def get(self, request: Request, **_: str) -> Response:
        """Newest first."""
        pages = NewestFirst()
        page = pages.paginate_queryset(service_accounts(access=self.access), request)
        return pages.get_paginated_response(ServiceAccountSerializer(page, many=True).data)

    @extend_schema(
        operation_id="create_service_account", summary="Create a service account", request=CreateServiceAccountSerializer,
        responses={201: ServiceAccountSerializer},
        description="A member that is a program: it has a role and tokens, and nobody signs in as it.",
        examples=[OpenApiExample("For a pipeline", value={"name": "pipeline", "role": "operator"}, request_only=True)],
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Make a service account."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=FIELDS)
        name, role = parse_text("name", body.get("name", "")), parse_text("role", body.get("role", ""))
        row = create_service_account(access=self.access, name=name, role=role)
        headers = {"Location": f"{self._home}/service-accounts/{row.id}"}
        return Response(ServiceAccountSerializer(row).data, status=201, headers=headers)


class ServiceAccountDetail(ServiceAccountView):
    """One service account."""

    needs: ClassVar = {"GET": Permission.TENANT_MANAGE, "PATCH": Permission.TENANT_MANAGE, "DELETE": Permission.TENANT_MANAGE}

    @extend_schema(operation_id="read_service_account", summary="Read a service account", responses={200: ServiceAccountSerializer})
    def get(self, request: Request, *, account_id: UUID, **_: str) -> Response:
        """Return the account with its role."""
        return Response(ServiceAccountSerializer(find_service_account(access=self.access, account_id=str(account_id))).data)

    @extend_schema(
        operation_id="change_service_account", summary="Rename a service account or change its role",
        request=ChangeServiceAccountSerializer, responses={200: ServiceAccountSerializer},
        description="What its tokens may follows its role at once.",
    )  # fmt: skip
    def patch(self, request: Request, *, account_id: UUID, **_: str) -> Response:
        """Change name, role or both."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=FIELDS)
        if not body:
            raise InvalidInput("Say a new name, a new role, or both.")
        changes = {field: parse_text(field, value) for field, value in body.items()}
        return Response(ServiceAccountSerializer(change_service_account(access=self.access, account_id=str(account_id), **changes)).data)

    @extend_schema(
        operation_id="delete_service_account", summary="Delete a service account", responses={204: OpenApiResponse(description="Deleted.")},
        description="Its tokens stop at once.",
    )  # fmt: skip
    def delete(self, request: Request, *, account_id: UUID, **_: str) -> Response:
        """Delete it with its tokens."""
        delete_service_account(access=self.access, account_id=str(account_id))
        return Response(status=204)


class ServiceAccountTokens(ServiceAccountView):
    """The tokens of a service account."""

    needs: ClassVar = {"GET": Permission.TENANT_MANAGE, "POST": Permission.TENANT_MANAGE}

    @extend_schema(
        operation_id="list_service_account_tokens", summary="List the tokens of a service account", parameters=PAGING,
        responses={200: TOKEN_PAGE},
    )  # fmt: skip
    def get(self, request: Request, *, account_id: UUID, **_: str) -> Response:
        """Newest first, without revoked and expired ones."""
        account = find_service_account(access=self.access, account_id=str(account_id))
        pages = NewestFirst()
        page = pages.paginate_queryset(tokens_of_account(access=self.access, account=account), request)
        return pages.get_paginated_response(TokenSerializer(page, many=True).data)

    @extend_schema(
        operation_id="create_service_account_token", summary="Create a token for a service account", request=CreateTokenSerializer,
        responses={201: NewTokenSerializer},
        description="Its text is in this answer and nowhere else. It never gives more than the account's role, nor more than you may. "
        "To revoke it, DELETE …/tokens/{id}.",
    )  # fmt: skip
    @idempotent(keeps_answer=False)
    def post(self, request: Request, *, account_id: UUID, **_: str) -> HttpResponseBase:
        """Make a token for the account."""
        made = create_service_token(access=self.access, account_id=str(account_id), **wish_of(request=request))
        headers = {"Location": f"{self._home}/tokens/{made.row.id}"}
        return Response(NewTokenSerializer(made.row, context={"text": made.text}).data, status=201, headers=headers)
