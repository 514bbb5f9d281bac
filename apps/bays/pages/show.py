"""A bay's page: its head and progress, which move by themselves, and one of its tabs below."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.messages.storage.base import BaseStorage
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRedirect

from apps.bays.access import client_certificates, notices_of
from apps.bays.connecting import shell_lines
from apps.bays.forms import CertificateForm, DeleteForm, RenameForm, ResizeForm, TagsForm
from apps.bays.models import Bay
from apps.bays.presenters import EVENTS_PER_PAGE, last_change_of, progress_of, trouble_of
from apps.bays.selectors import events_of, get_bay
from apps.bays.tags import text_of_tags
from apps.common.errors import NotFound
from apps.tenants.context import Access
from apps.tenants.pages import is_fragment, tenant_page

LIVE_TABS = frozenset({"overview", "hosts", "events"})
"""Tabs that only show, so they may be drawn anew while somebody looks; the others hold what somebody types."""


@require_safe
@tenant_page
def bay_tab(request: HttpRequest, access: Access, bay: str, tab: str) -> HttpResponse:
    """Show one tab of a bay; htmx asks for what moves alone, by the bay's id, until nothing moves any more."""
    try:
        found = get_bay(access=access, reference=bay)
    except NotFound:
        name = _deleted_bay(access, bay) if is_fragment(request) else ""
        if not name:
            raise
        _say_once(request, _("%s is deleted. Nothing of it is left.") % name)
        return HttpResponseClientRedirect(reverse("bays:list", args=[access.tenant.slug]))
    context = bay_context(access=access, bay=found, tab=tab, request=request)
    return render(request, "bays/_live.html" if is_fragment(request) else "bays/bay.html", context)


def _say_once(request: HttpRequest, sentence: str) -> None:
    """Say it on the next page; a page that is slow to come lets the old one ask again, and would have it said twice."""
    waiting = messages.get_messages(request)
    said = any(str(message) == sentence for message in waiting)
    if isinstance(waiting, BaseStorage):
        waiting.used = False  # looking must not count as having shown them
    if not said:
        messages.success(request, sentence)


def bay_context(*, access: Access, bay: Bay, tab: str, request: HttpRequest, **extra: Any) -> dict[str, Any]:
    """Return what the page of a bay needs for one of its tabs; `extra` takes the place of what it would build itself."""
    context = {
        "access": access,
        "bay": bay,
        "tab": tab,
        "live": tab in LIVE_TABS,
        "progress": progress_of(bay=bay),
        "last_change": last_change_of(bay=bay),
        "trouble": trouble_of(bay=bay),
        "notices": notices_of(bay=bay),
        "fragment": is_fragment(request),
    }
    return {**context, **_of_tab(access=access, bay=bay, tab=tab, request=request), **extra}


def _of_tab(*, access: Access, bay: Bay, tab: str, request: HttpRequest) -> dict[str, Any]:
    if tab == "events":
        return _events(bay=bay, before=request.GET.get("before", ""))
    if tab == "access":
        return {
            "certificates": client_certificates(access=access, reference=str(bay.id))[:EVENTS_PER_PAGE],
            "shells": shell_lines(bay=bay) if bay.endpoint else [],
            "csr_form": CertificateForm(),
        }
    if tab == "settings":
        return {
            "resize_form": ResizeForm(initial={"node_count": bay.node_count}),
            "rename_form": RenameForm(initial={"name": bay.name}),
            "tags_form": TagsForm(initial={"tags": text_of_tags(tags=bay.tags)}),
            "delete_form": DeleteForm(bay_name=bay.name),
        }
    return {}


def _events(*, bay: Bay, before: str) -> dict[str, Any]:
    events = events_of(bay=bay).select_related("operation")
    if before.isascii() and before.isdigit() and len(before) < 19:  # noqa: PLR2004 - more digits than a bigint has
        events = events.filter(id__lt=int(before))
    page = list(events[: EVENTS_PER_PAGE + 1])
    return {
        "events": page[:EVENTS_PER_PAGE],
        "older": page[EVENTS_PER_PAGE - 1].id if len(page) > EVENTS_PER_PAGE else None,
        "before": before,
    }


def _deleted_bay(access: Access, reference: str) -> str:
    try:
        bay_id = UUID(reference)
    except ValueError:
        return ""
    return access.tenant.bays.filter(id=bay_id, deleted_at__isnull=False).values_list("name", flat=True).first() or ""
