"""`Idempotency-Key`: a POST sent twice acts once (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).

The claim of a key, the change and the stored answer are one transaction. A crash before its end leaves neither key nor change;
a second request with the same key waits for the first one's end at the unique constraint and then gives the same answer.
A refusal rolls all back, so that the key may be used again with a corrected request.
"""

import hashlib
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import IntegrityError, OperationalError, connection, transaction
from django.http import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from apps.common.api.parsing import body_of
from apps.common.api.problems import BadRequest
from apps.common.clock import now
from apps.common.errors import CarinaError, Conflict, NotFound
from apps.common.models import IdempotencyKey

HEADER = "Idempotency-Key"
PATIENCE = "2s"
"""How long a second request waits for the first one with the same key before it is told to come back."""

LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's SQLSTATE for a lock_timeout that ran out."""

MARK = "honours_idempotency_key"
"""Attribute of a decorated method; a test looks for it on every `post`."""

Post = Callable[..., HttpResponseBase]
_ACCEPTED = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_LONGEST_PATH = 500


class KeyReused(CarinaError):
    """The key was used with another body."""

    status = 422
    code = "idempotency_key_reused"
    title = "Idempotency-Key reused"


class InProgress(Conflict):
    """The first request with this key is not done yet."""

    code = "idempotency_in_progress"
    title = "Still in progress"
    retry_after = 1


def idempotent(*, keeps_answer: bool = True) -> Callable[[Post], Post]:
    """Decorate a view's `post` so that it honours the header. `keeps_answer=False`: the answer holds a secret and is never stored.

    The view has checked who asks, and whether they may, before: an answer is repeated only to those who could have asked.
    """

    def decorate(post: Post) -> Post:
        @wraps(post)
        def wrapper(view: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if HEADER not in request.headers:
                return post(view, request, *args, **kwargs)
            identity = _identity(request)
            with transaction.atomic():
                row, claimed = _claim(identity=identity, request=request)
                if not claimed:
                    return _repeat(row, keeps_answer=keeps_answer)
                response = post(view, request, *args, **kwargs)
                _keep(row, response, keeps_answer=keeps_answer)
            return response

        setattr(wrapper, MARK, True)
        return wrapper

    return decorate


def _identity(request: Request) -> dict[str, Any]:
    key = request.headers[HEADER]
    if not _ACCEPTED.fullmatch(key):
        raise BadRequest(
            "The Idempotency-Key must have 1 to 255 printable ASCII characters; a random UUID is a good one.",
            code="idempotency_key_invalid",
        )
    path = request.path.rstrip("/")
    if len(path) > _LONGEST_PATH:
        raise NotFound("There is nothing at this address.")
    return {"user_id": request.user.pk, "path": path, "key": key}


def _claim(*, identity: dict[str, Any], request: Request) -> tuple[IdempotencyKey, bool]:
    """Insert the row of this key, or return the one that is there; raises KeyReused or InProgress."""
    fingerprint = hashlib.sha256(json.dumps(body_of(request=request), sort_keys=True).encode()).hexdigest()
    try:
        with transaction.atomic():
            _lock_timeout(PATIENCE)
            row = IdempotencyKey.objects.create(**identity, fingerprint=fingerprint, created_at=now())
            _lock_timeout("DEFAULT")
            return row, True
    except IntegrityError:
        row = IdempotencyKey.objects.get(**identity)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != LOCK_NOT_AVAILABLE:
            raise
        raise InProgress("A request with this Idempotency-Key is still being carried out; send it again in a second.") from error
    if row.fingerprint != fingerprint:
        raise KeyReused("This Idempotency-Key was used here with another body; take a new key for a new request.")
    return row, False


def _lock_timeout(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {value if value == 'DEFAULT' else repr(value)}")


def _keep(row: IdempotencyKey, response: HttpResponseBase, *, keeps_answer: bool) -> None:
    row.status = response.status_code
    row.location = response.headers.get("Location", "")
    if keeps_answer and isinstance(response, Response):
        row.body = json.loads(json.dumps(response.data, cls=JSONEncoder))
    row.save(update_fields=["status", "location", "body"])


def _repeat(row: IdempotencyKey, *, keeps_answer: bool) -> Response:
    if not keeps_answer:
        raise Conflict(
            "This request was carried out already, and its answer held a secret, which is not kept; "
            "take a new Idempotency-Key to get another one.",
            code="idempotency_answer_secret",
        )
    headers = {"Idempotency-Replayed": "true", **({"Location": row.location} if row.location else {})}
    return Response(row.body, status=row.status, headers=headers)
