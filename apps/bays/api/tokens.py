"""API tokens over REST: one's own in one tenant, everybody's for those who manage it, and how long they may live."""

from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.bays.api.schema import PAGING
from apps.bays.api.token_rows import TOKEN_PAGE, CreateTokenSerializer, NewTokenSerializer, TokenSerializer, wish_of
from apps.bays.spec import refuse_unknown
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import NewestFirst
from apps.common.api.parsing import body_of
from apps.common.api.problems import BadRequest
from apps.common.errors import InvalidInput
from apps.tenants.models import ApiToken
from apps.tenants.roles import Permission
from apps.tenants.token_issue import longest_days
from apps.tenants.token_policy import set_max_token_days, tokens_beyond
from apps.tenants.tokens import create_token, live_tokens, revoke_token, token_named, tokens_of_everyone

WHOSE = OpenApiParameter(
    name="of", type=OpenApiTypes.STR, enum=["me", "everyone"],
    description="Whose tokens: mine unless asked otherwise; everyone's, with application credentials, needs tenant:manage.",
)  # fmt: skip
CONSIDERED = OpenApiParameter(
    name="max_token_days", type=OpenApiTypes.INT, description="A maximum to be considered: “tokens_beyond” says how many it would cut."
)


class TokenView(TenantView):
    """A view of tokens."""

    tag: ClassVar[str] = "Tokens"


class TokenList(TokenView):
    """The asker's tokens, or everybody's."""

    needs: ClassVar = {"GET": Permission.TOKEN_MANAGE, "POST": Permission.TOKEN_MANAGE}

    @extend_schema(operation_id="list_tokens", summary="List tokens", parameters=[*PAGING, WHOSE], responses={200: TOKEN_PAGE})
    def get(self, request: Request, **_: str) -> Response:
        """Newest first, without revoked and expired ones; nobody's text."""
        of = request.query_params.get("of", "me")
        if of not in {"me", "everyone"}:
            raise BadRequest("The query parameter “of” is “me” or “everyone”.", errors={"of": "me or everyone."})
        rows = tokens_of_everyone(access=self.access) if of == "everyone" else live_tokens(access=self.access, kind=ApiToken.Kind.TOKEN)
        pages = NewestFirst()
        return pages.get_paginated_response(TokenSerializer(pages.paginate_queryset(rows, request), many=True).data)

    @extend_schema(
        operation_id="create_token", summary="Create a token", request=CreateTokenSerializer, responses={201: NewTokenSerializer},
        description="Its text is in this answer and nowhere else. A token never gives more than whoever makes it may do, and one made "
        "with another token does not outlive it.",
        examples=[OpenApiExample("For a pipeline", value={"name": "pipeline", "scopes": ["bay:read", "bay:access"]}, request_only=True)],
    )  # fmt: skip
    @idempotent(keeps_answer=False)
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Make a token for the asker in this tenant."""
        made = create_token(access=self.access, **wish_of(request=request))
        location = f"/api/v1/tenants/{self.access.tenant.slug}/tokens/{made.row.id}"
        return Response(NewTokenSerializer(made.row, context={"text": made.text}).data, status=201, headers={"Location": location})


class TokenDetail(TokenView):
    """A token: one's own, or, for those who manage the tenant, anybody's."""

    needs: ClassVar = {"GET": Permission.TOKEN_MANAGE, "DELETE": Permission.TOKEN_MANAGE}

    @extend_schema(operation_id="read_token", summary="Read a token", responses={200: TokenSerializer})
    def get(self, request: Request, *, token_id: UUID, **_: str) -> Response:
        """Return all but its text."""
        return Response(TokenSerializer(token_named(access=self.access, token_id=str(token_id))).data)

    @extend_schema(
        operation_id="revoke_token", summary="Revoke a token", responses={204: OpenApiResponse(description="Revoked, or already so.")},
        description="Works for application credentials too. Those who manage the tenant revoke anybody's.",
    )  # fmt: skip
    def delete(self, request: Request, *, token_id: UUID, **_: str) -> Response:
        """Revoke the token at once."""
        revoke_token(access=self.access, token_id=str(token_id))
        return Response(status=204)


class PolicySerializer(serializers.Serializer[Any]):
    """How long tokens of a tenant may live."""

    max_token_days = serializers.IntegerField(allow_null=True, help_text="The tenant's own maximum in days; null if it has none.")
    effective_days = serializers.IntegerField(help_text="What holds: never more than the portal's maximum.")
    tokens_beyond = serializers.IntegerField(help_text="Live tokens that the maximum, or the one being considered, would cut.")


class ChangePolicySerializer(serializers.Serializer[Any]):
    """A new maximum."""

    max_token_days = serializers.IntegerField(allow_null=True, min_value=1, help_text="In days; null for the portal's maximum.")


class TokenPolicy(TokenView):
    """How long tokens of the tenant may live."""

    also_answers: ClassVar = ("422",)
    needs: ClassVar = {"GET": Permission.TENANT_MANAGE, "PATCH": Permission.TENANT_MANAGE}

    @extend_schema(
        operation_id="read_token_policy",
        summary="Read how long tokens may live",
        parameters=[CONSIDERED],
        responses={200: PolicySerializer},
    )
    def get(self, request: Request, **_: str) -> Response:
        """Return the maximum, and how many tokens another one would cut."""
        considered = request.query_params.get("max_token_days")
        if considered is None:
            return self._answer(days=self.access.tenant.max_token_days)
        if not (considered.isascii() and considered.isdecimal() and len(considered) <= 6):  # noqa: PLR2004 - digits
            raise BadRequest("The query parameter max_token_days is a whole number.", errors={"max_token_days": "A whole number."})
        return self._answer(days=int(considered))

    @extend_schema(
        operation_id="change_token_policy", summary="Change how long tokens may live", request=ChangePolicySerializer,
        responses={200: PolicySerializer},
        description="Live tokens that would be valid for longer, counted from now, are cut to it.",
    )  # fmt: skip
    def patch(self, request: Request, **_: str) -> Response:
        """Set the maximum."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("max_token_days",))
        if "max_token_days" not in body:
            raise InvalidInput.field("max_token_days", "Say the number of days, or null for the portal's maximum.", code="type")
        value = body["max_token_days"]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise InvalidInput.field("max_token_days", "The number of days must be a whole number, or null.", code="type")
        set_max_token_days(access=self.access, days=value)
        return self._answer(days=value)

    def _answer(self, *, days: int | None) -> Response:
        tenant = self.access.tenant
        beyond = tokens_beyond(access=self.access, days=days)
        answer = {"max_token_days": tenant.max_token_days, "effective_days": longest_days(tenant=tenant), "tokens_beyond": beyond}
        return Response(PolicySerializer(answer).data)
