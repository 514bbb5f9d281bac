"""Application credentials over REST: id and secret for OpenStack's clients. They are revoked as tokens are."""

from typing import ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.schema import PAGING
from apps.bays.api.token_rows import TOKEN_PAGE, CreateTokenSerializer, NewCredentialSerializer, TokenSerializer, wish_of
from apps.bays.api.tokens import TokenView
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import NewestFirst
from apps.tenants.application_credentials import create_application_credential
from apps.tenants.models import ApiToken
from apps.tenants.roles import Permission
from apps.tenants.tokens import live_tokens


class CredentialList(TokenView):
    """The asker's application credentials."""

    needs: ClassVar = {"GET": Permission.TOKEN_MANAGE, "POST": Permission.TOKEN_MANAGE}

    @extend_schema(
        operation_id="list_application_credentials", summary="List my application credentials", parameters=PAGING,
        responses={200: TOKEN_PAGE},
    )  # fmt: skip
    def get(self, request: Request, **_: str) -> Response:
        """Newest first, without revoked and expired ones."""
        rows = live_tokens(access=self.access, kind=ApiToken.Kind.APPLICATION_CREDENTIAL)
        pages = NewestFirst()
        return pages.get_paginated_response(TokenSerializer(pages.paginate_queryset(rows, request), many=True).data)

    @extend_schema(
        operation_id="create_application_credential", summary="Create an application credential", request=CreateTokenSerializer,
        responses={201: NewCredentialSerializer},
        description="The secret is in this answer and nowhere else. It never manages tokens, people or the tenant. To revoke it, DELETE "
        "…/tokens/{id}.",
        examples=[OpenApiExample("For Terraform", value={"name": "terraform", "scopes": ["bay:read", "bay:create"]}, request_only=True)],
    )  # fmt: skip
    @idempotent(keeps_answer=False)
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Make an application credential for the asker in this tenant."""
        made = create_application_credential(access=self.access, **wish_of(request=request))
        location = f"/api/v1/tenants/{self.access.tenant.slug}/tokens/{made.row.id}"
        return Response(NewCredentialSerializer(made.row, context={"text": made.text}).data, status=201, headers={"Location": location})
