"""Errors people can do something about. Services raise them; pages and the REST API translate them once.

Every error has a stable `code` for machines and one sentence that says what is wrong and what is allowed.
"""

from collections.abc import Mapping


class CarinaError(Exception):
    """An anticipated refusal. `errors` names the field at fault, where there is one."""

    status = 400
    code = "bad_request"
    title = "Bad request"

    def __init__(self, detail: str, *, code: str | None = None, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.errors = dict(errors or {})


class InvalidInput(CarinaError):
    """A value is not allowed; `errors` maps field to sentence."""

    status = 422
    code = "invalid"
    title = "Invalid input"

    @classmethod
    def field(cls, name: str, sentence: str, *, code: str = "invalid") -> "InvalidInput":
        """Return the error for one field."""
        return cls(sentence, code=code, errors={name: sentence})


class NotFound(CarinaError):
    """It does not exist, or not for the one who asks: the same answer, so that nobody learns which."""

    status = 404
    code = "not_found"
    title = "Not found"


class Forbidden(CarinaError):
    """Known to the asker, but the role or the token's scopes do not cover it."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class Conflict(CarinaError):
    """Right in itself, but not in the present state of things."""

    status = 409
    code = "conflict"
    title = "Conflict"


class LimitReached(CarinaError):
    """The tenant's limits do not allow it."""

    status = 409
    code = "limit_reached"
    title = "Limit reached"


class NoRoom(CarinaError):
    """No cloud has room for it now."""

    status = 409
    code = "no_capacity"
    title = "No room"


class CloudSilent(NoRoom):
    """The clouds that could have room for it do not answer now; `retry_after` is in seconds."""

    status = 503
    code = "cloud_unreachable"
    title = "The cloud does not answer"
    retry_after = 30


class PreconditionFailed(CarinaError):
    """If-Match named an older state."""

    status = 412
    code = "precondition_failed"
    title = "Changed meanwhile"
