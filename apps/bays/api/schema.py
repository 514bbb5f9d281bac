"""How views describe themselves in OpenAPI: what all operations have in common is added here, once."""

from typing import Any, Literal

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from apps.common.api.problems import CONTENT_TYPE

IDEMPOTENCY_KEY = OpenApiParameter(
    name="Idempotency-Key", location=OpenApiParameter.HEADER, type=OpenApiTypes.STR, required=False,
    description="A random text of your choice: the same request, sent again with it within a day, acts once and gets the first answer.",
)  # fmt: skip
IF_MATCH = OpenApiParameter(
    name="If-Match", location=OpenApiParameter.HEADER, type=OpenApiTypes.STR, required=False,
    description="The ETag of the bay as you read it: if somebody changed it since, nothing happens and the answer is 412.",
)  # fmt: skip
PAGING = [
    OpenApiParameter(name="limit", type=OpenApiTypes.INT, description="Rows of a page, 1 to 200; 50 unless asked otherwise."),
    OpenApiParameter(name="cursor", type=OpenApiTypes.STR, description="Where the page starts, from the “next” of an answer."),
]
IN_PATH = [
    OpenApiParameter(name="tenant", location=OpenApiParameter.PATH, description="The slug of a tenant you are a member of."),
    OpenApiParameter(name="bay", location=OpenApiParameter.PATH, description="The name or the id of a bay."),
]
PROBLEMS: dict[str, str] = {
    "400": "The request cannot be understood: broken JSON, a wrong header or query parameter.",
    "401": "No API token, or one that is not valid.",
    "403": "Your role, or the token's scopes, do not cover this.",
    "404": "It does not exist, or not for you.",
    "409": "Right in itself, but not in the present state of things.",
    "412": "If-Match named an older state.",
    "413": "The body is larger than 64 KiB.",
    "415": "The body is not JSON.",
    "422": "A value is not allowed; “errors” names the fields.",
    "429": "Too many requests; the header Retry-After says when the next one is possible.",
}
_OPEN = ("429",)
_READ = ("401", "429")
_WRITE = ("400", "401", "403", "409", "413", "415", "422", "429")


class ProblemSerializer(serializers.Serializer[Any]):
    """An error as RFC 9457 describes it."""

    type = serializers.CharField(help_text="Address that says what the code means.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="One sentence: what is wrong and what is allowed.")
    code = serializers.CharField(help_text="Stable, for programs.")
    errors = serializers.DictField(  # type: ignore[assignment]  # a field of this name hides nothing: declared fields are taken off the class
        child=serializers.CharField(), help_text="Field to sentence; empty where no field is at fault."
    )
    request_id = serializers.CharField(help_text="Name this to the operator: the log has it too.")


class ApiSchema(AutoSchema):
    """Adds the view's tag, the Idempotency-Key of every POST, and the errors each operation can answer with."""

    def get_tags(self) -> list[str]:
        """Return the chapter the operation stands in."""
        return [getattr(self.view, "tag", "Portal")]

    def get_override_parameters(self) -> list[Any]:
        """Return what all operations of this method and address understand."""
        named = [parameter for parameter in IN_PATH if f"{{{parameter.name}}}" in self.path]
        return [*named, IDEMPOTENCY_KEY] if self.method == "POST" else named

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for code in self._problem_codes():
            if code not in bodies:
                described = OpenApiResponse(ProblemSerializer, PROBLEMS[code])
                bodies[code] = self._get_response_for_code(described, code, [CONTENT_TYPE], direction)  # type: ignore[no-untyped-call]
        return dict(sorted(bodies.items()))

    def _problem_codes(self) -> list[str]:
        if {} in self.get_auth():
            return [*_OPEN, *(["404"] if "{" in self.path else [])]
        codes = list(_READ if self.method == "GET" else _WRITE)
        if "{" in self.path:
            codes += ["403", "404"]
        if IF_MATCH in self.get_override_parameters():
            codes.append("412")
        if any(parameter.location == OpenApiParameter.QUERY for parameter in self.get_override_parameters()):
            codes.append("400")
        return [*codes, *getattr(self.view, "also_answers", ())]


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """API tokens, in either of the two headers."""

    target_class = "apps.bays.api.authentication.TokenAuthentication"
    name = ["bearer", "x-auth-token"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        """Return that either header is enough."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:
        """Return the descriptions of both headers."""
        return [
            {"type": "http", "scheme": "bearer", "description": "An API token: `Authorization: Bearer <token>`."},
            {"type": "apiKey", "in": "header", "name": "X-Auth-Token", "description": "The same token, as OpenStack's clients send it."},
        ]


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The portal's own pages."""

    target_class = "apps.bays.api.authentication.BrowserSession"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Return the description of the cookie."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "A browser's session; changes need X-CSRFToken.",
        }
