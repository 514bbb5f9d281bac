"""What every view of the API does before its own part: who asks, how often, in which tenant, and whether they may."""

from typing import Any, ClassVar

from django.http import HttpResponseBase
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.models import User
from apps.bays.api.schema import ApiSchema
from apps.common.api.parsing import StrictJson
from apps.common.api.throttling import AnonymousRate, UserRate
from apps.common.errors import NotFound
from apps.common.scope import enter_tenant, enter_user
from apps.tenants.context import Access, access_of
from apps.tenants.models import ApiToken
from apps.tenants.roles import Permission

LONGEST_SLUG = 40


class ApiView(APIView):
    """A view for whoever is signed in."""

    parser_classes = [StrictJson]
    throttle_classes = [AnonymousRate, UserRate]
    schema = ApiSchema()
    tag: ClassVar[str] = "Portal"

    def perform_authentication(self, request: Request) -> None:
        """Find out who asks, and see from here on what is theirs."""
        super().perform_authentication(request)
        if isinstance(request.user, User):
            enter_user(request.user.id)

    @property
    def user(self) -> User:
        """Whoever is signed in; raises NotAuthenticated where nobody is."""
        if not isinstance(self.request.user, User):
            raise NotAuthenticated
        return self.request.user

    @property
    def token(self) -> ApiToken | None:
        """The API token of the request; None for a browser's session."""
        return self.request.auth if isinstance(self.request.auth, ApiToken) else None

    def require_of_token(self, permission: Permission) -> None:
        """Raise Forbidden for a token without the scope `permission`, for views inside no tenant; people in a browser have no scopes."""
        if self.token is not None:
            access_of(user=self.user, slug=self.token.tenant.slug, token=self.token).require(permission)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Answer with the header Allow alone."""
        del request, args, kwargs
        return Response(status=204)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Forbid caches to keep any answer: it is for one user, and may be old a second later."""
        final = super().finalize_response(request, response, *args, **kwargs)
        final.headers.setdefault("Cache-Control", "no-store")
        return final


class OpenView(ApiView):
    """A view for everybody."""

    permission_classes = [AllowAny]


class TenantView(ApiView):
    """A view inside a tenant: a stranger gets 404, a member without the method's permission 403, before anything else happens."""

    needs: ClassVar[dict[str, Permission]]
    access: Access

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check user, throttles and access, in this order."""
        super().initial(request, *args, **kwargs)
        self.access = self._access(slug=kwargs["tenant"])
        enter_tenant(self.access.tenant.id)
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method not in self.allowed_methods:
            raise MethodNotAllowed(method)
        if method != "OPTIONS":
            self.access.require(self.needs[method])

    def _access(self, *, slug: str) -> Access:
        if len(slug) > LONGEST_SLUG or not slug.isprintable():
            raise NotFound("There is no organisation of that name that you belong to.", code="tenant_not_found")
        return access_of(user=self.user, slug=slug, token=self.token)


class AnyType(BaseContentNegotiation):
    """For answers that are files: they have one type, whatever the client says it accepts; errors are problem+json all the same."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the only parser if the body is of its type."""
        return next((parser for parser in parsers if (request.content_type or "").split(";")[0].strip() == parser.media_type), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[BaseRenderer, str]:
        """Return the JSON renderer, which only errors use."""
        return renderers[0], renderers[0].media_type


def as_file(*, response: HttpResponseBase, name: str) -> HttpResponseBase:
    """Return the response as a download named `name` (plain ASCII, as names of bays are) that no cache may keep."""
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response
