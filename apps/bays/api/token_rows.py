"""Tokens and application credentials in JSON, and what a request for a new one may say."""

from datetime import datetime
from typing import Any, ClassVar

from django.utils.dateparse import parse_datetime
from rest_framework import serializers
from rest_framework.request import Request

from apps.bays.api.pages import page_of
from apps.bays.spec import parse_text, refuse_unknown
from apps.common.api.parsing import body_of
from apps.common.errors import InvalidInput
from apps.tenants.models import ApiToken

FIELDS = ("name", "scopes", "expires_at")


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token without its text."""

    hint = serializers.CharField(help_text="The last four characters of its text.")
    user = serializers.EmailField(source="user.email", help_text="For whom it acts.")
    scopes = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = ApiToken
        fields: ClassVar[tuple[str, ...]] = (
            "id", "kind", "name", "hint", "user", "scopes", "created_at", "expires_at", "last_used_at", "last_used_address"
        )  # fmt: skip


TOKEN_PAGE = page_of(TokenSerializer)
"""The description of a page of tokens: one for all lists of them."""


class NewTokenSerializer(TokenSerializer):
    """A token at the only moment its text is shown."""

    token = serializers.SerializerMethodField(help_text="Keep it now: it is not shown again.")

    class Meta(TokenSerializer.Meta):
        fields: ClassVar[tuple[str, ...]] = (*TokenSerializer.Meta.fields, "token")

    def get_token(self, row: ApiToken) -> str:
        """Return the text."""
        text: str = self.context["text"]
        return text


class NewCredentialSerializer(TokenSerializer):
    """An application credential at the only moment its secret is shown."""

    secret = serializers.SerializerMethodField(help_text="Keep it now: it is not shown again.")

    class Meta(TokenSerializer.Meta):
        fields: ClassVar[tuple[str, ...]] = (*TokenSerializer.Meta.fields, "secret")

    def get_secret(self, row: ApiToken) -> str:
        """Return the secret."""
        text: str = self.context["text"]
        return text


class CreateTokenSerializer(serializers.Serializer[Any]):
    """A token, or an application credential, to be made."""

    name = serializers.CharField(required=False, max_length=80, help_text="What the list of tokens shows.")
    scopes = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="What it may do; all that is possible unless given."
    )
    expires_at = serializers.DateTimeField(required=False, help_text="With time zone; in 90 days, or the longest allowed, unless given.")


def wish_of(*, request: Request) -> dict[str, Any]:
    """Return name, scopes and expiry that the body asks for, as `create_token` takes them. Raises BadRequest or InvalidInput."""
    body = body_of(request=request)
    refuse_unknown(data=body, allowed=FIELDS)
    return {
        "name": parse_text("name", body.get("name", "")),
        "scopes": _scopes(body.get("scopes")),
        "expires_at": _moment(body.get("expires_at")),
    }


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
