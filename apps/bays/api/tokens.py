"""API tokens over REST: one's own, in one tenant."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponseBase
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.bays.api.pages import page_of
from apps.bays.api.schema import PAGING
from apps.bays.spec import parse_text, refuse_unknown
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import NewestFirst
from apps.common.api.parsing import body_of
from apps.common.errors import InvalidInput, NotFound
from apps.tenants.models import ApiToken
from apps.tenants.roles import Permission
from apps.tenants.tokens import create_token, live_tokens, revoke_token

FIELDS = ("name", "scopes", "expires_at")


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token without its text."""

    hint = serializers.CharField(help_text="The last four characters of its text.")
    scopes = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = ApiToken
        fields = ("id", "name", "hint", "scopes", "created_at", "expires_at", "last_used_at", "last_used_address")


class NewTokenSerializer(TokenSerializer):
    """A token at the only moment its text is shown."""

    token = serializers.SerializerMethodField(help_text="Keep it now: it is not shown again.")

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "token")  # type: ignore[assignment]

    def get_token(self, row: ApiToken) -> str:
        """Return the text."""
        text: str = self.context["text"]
        return text


class CreateTokenSerializer(serializers.Serializer[Any]):
    """A token to be made."""

    name = serializers.CharField(required=False, max_length=80, help_text="What the list of tokens shows.")
    scopes = serializers.ListField(child=serializers.CharField(), required=False, help_text="What it may do; all you may do unless given.")
    expires_at = serializers.DateTimeField(required=False, help_text="With time zone; in 90 days unless given.")


class TokenView(TenantView):
    """A view of the asker's own tokens."""

    tag: ClassVar[str] = "Tokens"


class TokenList(TokenView):
    """The asker's tokens."""

    needs: ClassVar = {"GET": Permission.TOKEN_MANAGE, "POST": Permission.TOKEN_MANAGE}

    @extend_schema(operation_id="list_tokens", summary="List my tokens", parameters=PAGING, responses={200: page_of(TokenSerializer)})
    def get(self, request: Request, **_: str) -> Response:
        """Newest first, without revoked and expired ones."""
        pages = NewestFirst()
        return pages.get_paginated_response(
            TokenSerializer(pages.paginate_queryset(live_tokens(access=self.access), request), many=True).data
        )

    @extend_schema(
        operation_id="create_token", summary="Create a token", request=CreateTokenSerializer, responses={201: NewTokenSerializer},
        description="Its text is in this answer and nowhere else. A token never gives more than whoever makes it may do.",
        examples=[OpenApiExample("For a pipeline", value={"name": "pipeline", "scopes": ["bay:read", "bay:access"]}, request_only=True)],
    )  # fmt: skip
    @idempotent(keeps_answer=False)
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Make a token for the asker in this tenant."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=FIELDS)
        name = parse_text("name", body.get("name", ""))
        made = create_token(access=self.access, name=name, scopes=_scopes(body.get("scopes")), expires_at=_moment(body.get("expires_at")))
        location = f"/api/v1/tenants/{self.access.tenant.slug}/tokens/{made.row.id}"
        return Response(NewTokenSerializer(made.row, context={"text": made.text}).data, status=201, headers={"Location": location})


class TokenDetail(TokenView):
    """One of the asker's tokens."""

    needs: ClassVar = {"GET": Permission.TOKEN_MANAGE, "DELETE": Permission.TOKEN_MANAGE}

    @extend_schema(operation_id="read_token", summary="Read a token", responses={200: TokenSerializer})
    def get(self, request: Request, *, token_id: UUID, **_: str) -> Response:
        """Return all but its text."""
        row = live_tokens(access=self.access).filter(id=token_id).first()
        if row is None:
            raise NotFound("You have no such token.", code="token_not_found")
        return Response(TokenSerializer(row).data)

    @extend_schema(
        operation_id="revoke_token", summary="Revoke a token", responses={204: OpenApiResponse(description="Revoked, or already so.")}
    )
    def delete(self, request: Request, *, token_id: UUID, **_: str) -> Response:
        """Revoke the token at once."""
        revoke_token(access=self.access, token_id=str(token_id))
        return Response(status=204)


def _scopes(value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(scope, str) for scope in value):
        raise InvalidInput.field(
            "scopes", "The scopes must be a list of texts with at least one; leave the field out for all you may do.", code="type"
        )
    return value


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    moment = None
    if isinstance(value, str):
        try:
            moment = parse_datetime(value)
        except ValueError:
            moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput.field("expires_at", "The expiry must be a time with zone, such as 2027-01-31T12:00:00Z.", code="type")
    return moment
