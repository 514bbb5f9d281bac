"""Lists in pages, newest first. A cursor names the last row that was seen, so that rows added meanwhile neither repeat nor hide any."""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from apps.common.api.problems import BadRequest

DEFAULT_LIMIT, MOST = 50, 200
Row = TypeVar("Row", bound=Model)


class NewestFirst(BasePagination):
    """Pages of a queryset by a moment (`created_at` unless told otherwise) and, where moments are equal, by id."""

    def __init__(self, *, moment: str = "created_at") -> None:
        self.moment = moment
        self.next: str | None = None

    def paginate_queryset(self, queryset: QuerySet[Row], request: Request, view: APIView | None = None) -> list[Row]:  # type: ignore[override]
        """Return one page. Raises BadRequest for a limit or cursor that is none."""
        limit = _limit(request.query_params.get("limit"))
        position = request.query_params.get("cursor")
        if position is not None:
            moment, key = _decode(position, integer=queryset.model._meta.pk.get_internal_type() != "UUIDField")  # noqa: SLF001 - _meta is public API
            queryset = queryset.filter(Q(**{f"{self.moment}__lt": moment}) | Q(**{self.moment: moment, "id__lt": key}))
        rows = list(queryset.order_by(f"-{self.moment}", "-id")[: limit + 1])
        if len(rows) > limit:
            last = rows[limit - 1]
            self.next = replace_query_param(request.build_absolute_uri(), "cursor", _encode(getattr(last, self.moment), last.pk))
        return rows[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        """Return the page as an answer."""
        return Response({"results": data, "next": self.next})

    def get_paginated_response_schema(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the OpenAPI schema of a page of `schema`."""
        link = {"type": ["string", "null"], "format": "uri", "description": "Address of the next page; null on the last one."}
        return {"type": "object", "required": ["results", "next"], "properties": {"results": schema, "next": link}}


def whole(*, data: Any) -> Response:
    """Return a list that is never long as its only page."""
    return Response({"results": data, "next": None})


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MOST):  # noqa: PLR2004 - digits of MOST
        raise BadRequest(f"The limit must be a whole number from 1 to {MOST}.", code="limit_range", errors={"limit": f"1 to {MOST}."})
    return int(text)


def _encode(moment: datetime, key: object) -> str:
    return base64.urlsafe_b64encode(json.dumps([moment.isoformat(), str(key)]).encode()).decode().rstrip("=")


def _decode(text: str, *, integer: bool) -> tuple[datetime, UUID | int]:
    try:
        moment_text, key_text = json.loads(base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True))
        moment = datetime.fromisoformat(moment_text).astimezone(UTC)
        key = int(key_text) if integer else UUID(key_text)
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError, binascii.Error) as error:
        raise _no_cursor() from error
    if isinstance(key, int) and not 0 <= key < 2**63:
        raise _no_cursor()
    return moment, key


def _no_cursor() -> BadRequest:
    sentence = "The cursor is not one of this list; follow the “next” of an answer."
    return BadRequest(sentence, code="cursor_invalid", errors={"cursor": "Not one of this list."})
