"""Bays over REST: list, create, estimate, read, change, delete, heal; their hosts, operations and events."""

from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.bays.api.base import TenantView
from apps.bays.api.pages import page_of
from apps.bays.api.schema import IF_MATCH, PAGING
from apps.bays.api.serializers import (
    BaySerializer,
    ChangeBaySerializer,
    CreateBaySerializer,
    EstimateSerializer,
    EventSerializer,
    HostSerializer,
    OperationSerializer,
    ResizeSerializer,
)
from apps.bays.estimates import estimate_create, estimate_resize
from apps.bays.models import Bay
from apps.bays.selectors import bays_named, bays_of, events_of, get_bay, having_status, operations_of
from apps.bays.services import create_bay, delete_bay, heal_bay, rename_bay, resize_bay, rotate_ca
from apps.bays.spec import parse_count, parse_spec, refuse_unknown
from apps.bays.tagging import tag_bay
from apps.bays.writes import etag_of
from apps.common.api.idempotency import idempotent
from apps.common.api.pagination import NewestFirst, whole
from apps.common.api.parsing import body_of
from apps.common.errors import InvalidInput, NotFound
from apps.tenants.roles import Permission

CHANGEABLE = ("name", "node_count", "tags")
EXAMPLE = OpenApiExample("Three hosts", value={"name": "web", "coe": "swarm", "flavor": "c1.small", "node_count": 3}, request_only=True)


def bay_answer(*, bay: Bay, status: int = 200) -> Response:
    """Return the answer that shows a bay, with its ETag; one of 201 says where it is from now on."""
    response = Response(BaySerializer(bay).data, status=status, headers={"ETag": etag_of(bay=bay)})
    if status == 201:  # noqa: PLR2004 - created
        response.headers["Location"] = f"/api/v1/tenants/{bay.tenant.slug}/bays/{bay.id}"
    return response


class BayView(TenantView):
    """A view of bays."""

    tag: ClassVar[str] = "Bays"


class BayList(BayView):
    """The tenant's bays."""

    needs: ClassVar = {"GET": Permission.BAY_READ, "POST": Permission.BAY_CREATE}

    @extend_schema(
        operation_id="list_bays", summary="List the bays of a tenant", responses={200: page_of(BaySerializer)},
        parameters=[
            *PAGING,
            OpenApiParameter(name="name", description="Only the bay of this name."),
            OpenApiParameter(name="status", description="Only bays of this status."),
        ],
    )  # fmt: skip
    def get(self, request: Request, **_: str) -> Response:
        """Newest first, without those that are deleted."""
        bays = bays_of(access=self.access)
        if (name := request.query_params.get("name")) is not None:
            bays = bays.filter(name=name) if "\x00" not in name else bays.none()
        if (status := request.query_params.get("status")) is not None:
            bays = having_status(bays=bays, status=status)
        pages = NewestFirst()
        page = pages.paginate_queryset(bays.select_related(None).prefetch_related(None), request)
        shown = bays_named(access=self.access, ids=[bay.id for bay in page])
        return pages.get_paginated_response(BaySerializer(shown, many=True).data)

    @extend_schema(
        operation_id="create_bay", summary="Create a bay", request=CreateBaySerializer, responses={201: BaySerializer}, examples=[EXAMPLE],
        description="The answer comes at once, with the status “creating”; read the bay again until it is “active”.",
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Accept a new bay."""
        bay = create_bay(access=self.access, spec=parse_spec(data=body_of(request=request)))
        return bay_answer(bay=bay, status=201)


class BayEstimate(BayView):
    """What a bay would cost and use."""

    needs: ClassVar = {"POST": Permission.BAY_READ}

    @extend_schema(
        operation_id="estimate_bay", summary="Estimate a bay", examples=[EXAMPLE],
        request=CreateBaySerializer, responses={200: EstimateSerializer},
        description="The same body as for creating one (the name may be left out). Changes nothing.",
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, **_: str) -> HttpResponseBase:
        """Return price, use of the limits, and whether it would be accepted."""
        spec = parse_spec(data={"name": "unnamed", **body_of(request=request)})
        return Response(EstimateSerializer(estimate_create(access=self.access, spec=spec)).data)


class BayDetail(BayView):
    """One bay."""

    needs: ClassVar = {"GET": Permission.BAY_READ, "PATCH": Permission.BAY_CHANGE, "DELETE": Permission.BAY_DELETE}

    @extend_schema(operation_id="read_bay", summary="Read a bay", responses={200: BaySerializer})
    def get(self, request: Request, *, bay: str, **_: str) -> Response:
        """Return the bay, by name or id."""
        return bay_answer(bay=get_bay(access=self.access, reference=bay))

    @extend_schema(
        operation_id="change_bay", summary="Resize, rename or tag a bay", request=ChangeBaySerializer, parameters=[IF_MATCH],
        responses={200: OpenApiResponse(BaySerializer, "Done, or already so."), 202: OpenApiResponse(BaySerializer, "Accepted.")},
        examples=[
            OpenApiExample("Resize", value={"node_count": 5}, request_only=True),
            OpenApiExample("Rename", value={"name": "shop"}, request_only=True),
            OpenApiExample("Tag", value={"tags": {"team": "web", "env": "prod"}}, request_only=True),
        ],
    )  # fmt: skip
    def patch(self, request: Request, *, bay: str, **_: str) -> Response:
        """Change the number of hosts, the name, or all tags."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=CHANGEABLE)
        if len(body) != 1:
            raise InvalidInput(
                'Send exactly one change: {"node_count": 3}, {"name": "shop"} or {"tags": {"team": "web"}}.', code="one_change"
            )
        if_match = request.headers.get("If-Match")
        if "name" in body:
            changed = rename_bay(access=self.access, reference=bay, name=body["name"], if_match=if_match)
        elif "tags" in body:
            changed = tag_bay(access=self.access, reference=bay, tags=body["tags"], if_match=if_match)
        else:
            changed = resize_bay(access=self.access, reference=bay, node_count=body["node_count"], if_match=if_match)
        return bay_answer(bay=changed, status=202 if changed.busy and "node_count" in body else 200)

    @extend_schema(
        operation_id="delete_bay", summary="Delete a bay", parameters=[IF_MATCH],
        responses={202: OpenApiResponse(BaySerializer, "Accepted.")},
        description="Possible at any time; whatever else is done to the bay gives way. It shows “deleting” and then is gone (404).",
    )  # fmt: skip
    def delete(self, request: Request, *, bay: str, **_: str) -> Response:
        """Accept the deletion of the bay with all its hosts."""
        return bay_answer(bay=delete_bay(access=self.access, reference=bay, if_match=request.headers.get("If-Match")), status=202)


class BayResizeEstimate(BayView):
    """What a bay would cost and use with another number of hosts."""

    needs: ClassVar = {"POST": Permission.BAY_READ}

    @extend_schema(
        operation_id="estimate_resize", summary="Estimate a resize", request=ResizeSerializer, responses={200: EstimateSerializer},
        examples=[OpenApiExample("Resize", value={"node_count": 5}, request_only=True)], description="Changes nothing.",
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, *, bay: str, **_: str) -> HttpResponseBase:
        """Return price, what changes, use of the limits, and whether it would be accepted."""
        body = body_of(request=request)
        refuse_unknown(data=body, allowed=("node_count",))
        found = get_bay(access=self.access, reference=bay)
        estimate = estimate_resize(access=self.access, bay=found, count=parse_count(body.get("node_count")))
        return Response(EstimateSerializer(estimate).data)


class BayHeal(BayView):
    """The order to make a bay as it shall be."""

    needs: ClassVar = {"POST": Permission.BAY_CHANGE}

    @extend_schema(
        operation_id="heal_bay", summary="Heal a bay", request=None, responses={202: OpenApiResponse(BaySerializer, "Accepted.")},
        description="Replaces lost hosts at the same addresses, and tries again what failed.",
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, *, bay: str, **_: str) -> HttpResponseBase:
        """Accept the order."""
        refuse_unknown(data=body_of(request=request), allowed=())
        return bay_answer(bay=heal_bay(access=self.access, reference=bay), status=202)


class BayRotateCa(BayView):
    """The order to replace a bay's certificate authority."""

    needs: ClassVar = {"POST": Permission.BAY_CHANGE}

    @extend_schema(
        operation_id="rotate_bay_ca", summary="Replace a bay's certificate authority", request=None,
        responses={202: OpenApiResponse(BaySerializer, "Accepted.")},
        description="Every host gets a certificate of a new authority; afterwards no certificate issued before opens the bay, and "
        "connections opened by one are ended. What runs in the bay is not touched. Everybody needs a new bundle.",
    )  # fmt: skip
    @idempotent()
    def post(self, request: Request, *, bay: str, **_: str) -> HttpResponseBase:
        """Accept the order."""
        refuse_unknown(data=body_of(request=request), allowed=())
        return bay_answer(bay=rotate_ca(access=self.access, reference=bay), status=202)


class BayHosts(BayView):
    """The hosts of a bay."""

    needs: ClassVar = {"GET": Permission.BAY_READ}

    @extend_schema(operation_id="list_hosts", summary="List the hosts of a bay", responses={200: page_of(HostSerializer)})
    def get(self, request: Request, *, bay: str, **_: str) -> Response:
        """By number; removed ones are not shown."""
        found = get_bay(access=self.access, reference=bay)
        return whole(data=HostSerializer(found.live_hosts, many=True, context={"bay": found}).data)


class BayOperations(BayView):
    """The operations of a bay."""

    needs: ClassVar = {"GET": Permission.BAY_READ}

    @extend_schema(
        operation_id="list_operations",
        summary="List the operations of a bay",
        parameters=PAGING,
        responses={200: page_of(OperationSerializer)},
    )
    def get(self, request: Request, *, bay: str, **_: str) -> Response:
        """Newest first."""
        pages = NewestFirst()
        page = pages.paginate_queryset(operations_of(bay=get_bay(access=self.access, reference=bay)), request)
        return pages.get_paginated_response(OperationSerializer(page, many=True).data)


class BayOperation(BayView):
    """One operation of a bay."""

    needs: ClassVar = {"GET": Permission.BAY_READ}

    @extend_schema(operation_id="read_operation", summary="Read an operation", responses={200: OperationSerializer})
    def get(self, request: Request, *, bay: str, operation: UUID, **_: str) -> Response:
        """Return state, progress and phases."""
        found = operations_of(bay=get_bay(access=self.access, reference=bay)).filter(id=operation).first()
        if found is None:
            raise NotFound("The bay has no such operation.", code="operation_not_found")
        return Response(OperationSerializer(found).data)


class BayEvents(BayView):
    """What happened to a bay."""

    needs: ClassVar = {"GET": Permission.BAY_READ}

    @extend_schema(
        operation_id="list_events", summary="List the events of a bay", parameters=PAGING, responses={200: page_of(EventSerializer)}
    )
    def get(self, request: Request, *, bay: str, **_: str) -> Response:
        """Newest first."""
        pages = NewestFirst(moment="at")
        page: Any = pages.paginate_queryset(events_of(bay=get_bay(access=self.access, reference=bay)), request)
        return pages.get_paginated_response(EventSerializer(page, many=True).data)
