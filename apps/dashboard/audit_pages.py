"""The audit log as pages: of one organisation for its owners and admins, of the whole portal for operators; and as files."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from apps.audit.export import as_csv, as_json
from apps.audit.models import AuditEvent
from apps.audit.selectors import PARAMETERS, actions_in, after, all_events, events_of_tenant, matching, parse_wanted
from apps.common.api.problems import BadRequest
from apps.common.clock import now
from apps.common.scope import as_system, in_tenant
from apps.dashboard.gate import operator_page
from apps.dashboard.support import end_expired_support_views
from apps.tenants.context import Access
from apps.tenants.models import Tenant
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission

EVENTS_A_PAGE = 50
FORMATS = {"csv": (as_csv, "text/csv; charset=utf-8"), "json": (as_json, "application/json")}


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some events of a log, what was asked for, and how to go on. `problem` says what of it cannot be meant."""

    events: list[AuditEvent]
    asked: dict[str, str]
    query: str
    following: str
    later: bool
    actions: list[str]
    problem: str


@require_safe
@tenant_page
def tenant_audit(request: HttpRequest, access: Access) -> HttpResponse:
    """Show what was done in an organisation, newest first, narrowed by a filter."""
    access.require(Permission.AUDIT_READ)
    end_expired_support_views()
    shown = page_of(events=events_of_tenant(tenant_id=access.tenant.id), parameters=request.GET.dict())
    context = {"access": access, "tab": "settings", "page": shown}
    return render(request, "audit/tenant.html", context, status=400 if shown.problem else 200)


@require_safe
@tenant_page
def tenant_audit_file(request: HttpRequest, access: Access, kind: str) -> HttpResponse:
    """Return what the filter leaves as one file."""
    access.require(Permission.AUDIT_READ)
    events = events_of_tenant(tenant_id=access.tenant.id)
    return _file(request, events, kind=kind, name=access.tenant.slug, scope=partial(in_tenant, access.tenant.id))


@require_safe
@operator_page
def operator_audit(request: HttpRequest) -> HttpResponse:
    """Show what was done anywhere in the portal."""
    end_expired_support_views()
    shown = page_of(events=all_events(), parameters=request.GET.dict())
    ids = {event.tenant_id for event in shown.events if event.tenant_id}
    context = {"page": shown, "slugs": dict(Tenant.objects.filter(id__in=ids).values_list("id", "slug")), "tab": "audit"}
    return render(request, "audit/portal.html", context, status=400 if shown.problem else 200)


@require_safe
@operator_page
def operator_audit_file(request: HttpRequest, kind: str) -> HttpResponse:
    """Return what the filter leaves of the portal's log as one file."""
    return _file(request, all_events(), kind=kind, name="portal", scope=partial(as_system, "operator console"))


def page_of(*, events: QuerySet[AuditEvent], parameters: dict[str, str]) -> Page:
    """Return the page that the parameters of the address ask for."""
    asked = {name: parameters.get(name, "").strip() for name in PARAMETERS}
    narrowed = {name: value for name, value in asked.items() if value}
    problem, rows, last = "", [], None
    try:
        found = matching(events=events, wanted=parse_wanted(parameters=parameters))
    except BadRequest as error:
        problem = error.detail
    else:
        last = events.filter(id=before).first() if (before := _id(parameters.get("before", ""))) else None
        rows = list((after(events=found, last=last) if last else found)[: EVENTS_A_PAGE + 1])
    more = len(rows) > EVENTS_A_PAGE
    following = urlencode({**narrowed, "before": str(rows[EVENTS_A_PAGE - 1].id)}) if more else ""
    return Page(
        events=rows[:EVENTS_A_PAGE],
        asked=asked,
        query=urlencode(narrowed),
        following=following,
        later=last is not None,
        actions=actions_in(events=events),
        problem=problem,
    )


def _file(
    request: HttpRequest, events: QuerySet[AuditEvent], *, kind: str, name: str, scope: Callable[[], AbstractContextManager[Any]]
) -> HttpResponse:
    found = matching(events=events, wanted=parse_wanted(parameters=request.GET.dict()))
    write, content_type = FORMATS[kind]
    response = StreamingHttpResponse(write(events=found, scope=scope), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}-audit-{now():%Y-%m-%d}.{kind}"'
    return response  # type: ignore[return-value]  # Django's two kinds of answers have no common class that decorators know


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
