"""Bodies of requests: JSON objects, read strictly, with one sentence for each way they can be wrong."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from apps.common.api.problems import BadRequest, LengthRequired, TooLarge

LIMIT = 64 * 1024
"""Bytes of a body; the largest request that makes sense, a signing request for a long RSA key, has a fifth of that."""


class StrictJson(BaseParser):
    """Parses `application/json` as RFC 8259 has it: no NaN, no name twice in an object, nothing that is not Unicode text."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return the parsed body; raises BadRequest or TooLarge."""
        if int((parser_context or {})["request"].META.get("CONTENT_LENGTH") or 0) > LIMIT:
            raise TooLarge(f"The body is larger than {LIMIT // 1024} KiB, which no request of this API needs.")
        return loads(raw=stream.read(LIMIT))


def loads(*, raw: bytes) -> Any:
    """Return what the JSON text `raw` says. Raises BadRequest with the reason and, for broken syntax, the place."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not UTF-8 text; JSON must be.", code="body_not_utf8") from error
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).", code="broken_json"
        ) from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply.", code="broken_json") from error
    except ValueError as error:  # Python refuses to convert numbers of thousands of digits
        raise BadRequest("The body has a number with too many digits.", code="broken_json") from error
    _refuse_bad_text(value)
    return value


def body_of(*, request: Request) -> Mapping[str, Any]:
    """Return the request's JSON object; an absent body is an empty one. Raises BadRequest for any other kind of value."""
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower() and not request.META.get("CONTENT_LENGTH"):
        raise LengthRequired("Send the body with a Content-Length; a chunked body is not read here.")
    try:
        data = request.data
    except UnsupportedMediaType:
        if not request.META.get("CONTENT_TYPE"):
            raise BadRequest("The body has no Content-Type; send “Content-Type: application/json”.", code="content_type_missing") from None
        raise
    if not isinstance(data, Mapping):
        raise BadRequest(f'The body must be a JSON object such as {{"name": "web"}}, not {_kind(data)}.', code="body_not_an_object")
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name, value in pairs:
        if name in known:
            shown = name[:40].encode(errors="replace").decode()
            raise BadRequest(f"The name “{shown}” stands twice in one JSON object, which leaves open what is meant.", code="broken_json")
        known[name] = value
    return known


def _constant(name: str) -> Any:
    raise BadRequest(f"The body is not valid JSON: {name} is not a number of JSON.", code="broken_json")


def _refuse_bad_text(value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and any(sign == "\x00" or "\ud800" <= sign <= "\udfff" for sign in item):
            raise BadRequest("Text may hold neither the character NUL nor half of a surrogate pair.", code="text_not_unicode")


def _kind(data: Any) -> str:
    match data:
        case list():
            return "a list"
        case str():
            return "text"
        case bool():
            return "true or false"
        case None:
            return "null"
    return "a number"
