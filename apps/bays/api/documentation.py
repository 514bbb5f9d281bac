"""The API's description of itself: OpenAPI, a page to read it on, what each problem means, and what addresses that are none answer."""

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import serializers
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import OpenView
from apps.bays.api.pages import page_of
from apps.bays.api.problem_codes import PROBLEMS
from apps.common.api.pagination import whole
from apps.common.api.problems import answer
from apps.common.api.throttling import AnonymousRate, UserRate
from apps.common.errors import NotFound


class ProblemCodeSerializer(serializers.Serializer[Any]):
    """What a code of a problem means."""

    code = serializers.CharField()
    status = serializers.IntegerField()
    meaning = serializers.CharField()


class ProblemList(OpenView):
    """The codes of problems."""

    @extend_schema(operation_id="list_problems", summary="List the codes of problems", responses={200: page_of(ProblemCodeSerializer)})
    def get(self, request: Request) -> Response:
        """Return every code an error of this API can have."""
        return whole(data=ProblemCodeSerializer(list(PROBLEMS.values()), many=True).data)


class ProblemDetail(OpenView):
    """One code of a problem: what the `type` of an error leads to."""

    @extend_schema(operation_id="read_problem", summary="Read what a problem's code means", responses={200: ProblemCodeSerializer})
    def get(self, request: Request, code: str) -> Response:
        """Return the code's meaning."""
        problem = PROBLEMS.get(code)
        if problem is None:
            raise NotFound(f"There is no problem “{code[:40]}”; /api/v1/problems lists them.", code="problem_not_found")
        return Response(ProblemCodeSerializer(problem).data)


class CachedGenerator(SchemaGenerator):
    """Builds the schema once a process: it takes most of a second, and changes only with the code."""

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - the library's signature
        """Return the public schema."""
        del request, public
        return _schema()


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return schema


class Schema(SpectacularAPIView):
    """The OpenAPI 3.1 description, as YAML, or as JSON for those who accept only that (also with ?format=json)."""

    generator_class = CachedGenerator
    throttle_classes = [AnonymousRate, UserRate]


class Docs(SpectacularSwaggerSplitView):
    """A page to read and try the API, from this server alone and under the same strict content policy as every page."""

    template_name = "bays/api/docs.html"
    url_name = "api-schema"
    throttle_classes = [AnonymousRate, UserRate]
    renderer_classes = [TemplateHTMLRenderer]


@csrf_exempt
def nowhere(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    """Answer for every address below /api/ that is none, whatever the method."""
    del rest
    response: JsonResponse = answer(error=NotFound("There is nothing at this address; /api/v1/ says what is here."), request=request)
    return response
