"""Changing a bay from its settings tab: resize with a look at what goes, rename, tag, heal, delete by typing the name."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.bays.estimates import estimate_resize
from apps.bays.forms import DeleteForm, RenameForm, ResizeForm, TagsForm
from apps.bays.models import Bay
from apps.bays.pages.show import bay_context
from apps.bays.presenters import leaving_hosts
from apps.bays.selectors import get_bay
from apps.bays.services import delete_bay, heal_bay, rename_bay, resize_bay, rotate_ca
from apps.bays.spec import parse_count
from apps.bays.tagging import tag_bay
from apps.common.errors import CarinaError
from apps.common.pages import refusals_as_messages, refusals_at
from apps.tenants.context import Access
from apps.tenants.pages import tenant_page
from apps.tenants.roles import Permission


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page
def bay_resize(request: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Show which hosts would come or go at which price; a POST does it."""
    access.require(Permission.BAY_CHANGE)
    found = get_bay(access=access, reference=bay)
    form = ResizeForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        return _settings(request, access, found, resize_form=form)
    count = form.cleaned_data["node_count"]
    try:
        if request.method == "POST":
            resize_bay(access=access, reference=str(found.id), node_count=count)
            return redirect("bays:overview", tenant=access.tenant.slug, bay=found.name)
        context = _consequences(access, found, parse_count(count))
    except CarinaError as error:
        form.blame(error)
        return _settings(request, access, found, resize_form=form)
    if context["estimate"].refusal:
        form.add_error("node_count", context["estimate"].refusal)
        return _settings(request, access, found, resize_form=form)
    return render(request, "bays/resize.html", context)


@require_safe
@tenant_page
def bay_resize_estimate(request: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Return the summary of a resize as it is typed."""
    found = get_bay(access=access, reference=bay)
    form = ResizeForm(request.GET)
    context: dict[str, Any] = {"access": access, "bay": found}
    try:
        if form.is_valid():
            context = _consequences(access, found, parse_count(form.cleaned_data["node_count"]))
    except CarinaError as error:
        form.blame(error)
    problem = next((str(sentence) for sentence in form.errors.get("node_count", [])), "")
    return render(request, "bays/_resize_summary.html", {**context, "problem": problem or context.get("problem", "")})


@require_POST
@tenant_page
def bay_rename(request: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Give the bay another name."""
    access.require(Permission.BAY_CHANGE)
    found = get_bay(access=access, reference=bay)
    form = RenameForm(request.POST)
    if form.is_valid():
        with refusals_at(form):
            renamed = rename_bay(access=access, reference=str(found.id), name=form.cleaned_data["name"])
            if renamed.name != found.name:
                messages.success(request, _("The bay is now called %s. Bundles downloaded before go on working.") % renamed.name)
            return redirect("bays:settings", tenant=access.tenant.slug, bay=renamed.name)
    return _settings(request, access, found, rename_form=form)


@require_POST
@tenant_page
def bay_tags(request: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Give the bay other tags."""
    access.require(Permission.BAY_CHANGE)
    found = get_bay(access=access, reference=bay)
    form = TagsForm(request.POST)
    tags = form.typed_tags()
    if tags is not None:
        with refusals_at(form):
            tagged = tag_bay(access=access, reference=str(found.id), tags=tags)
            if tagged.tags != found.tags:
                messages.success(request, _("The tags of %s are changed.") % tagged.name)
            return redirect("bays:settings", tenant=access.tenant.slug, bay=tagged.name)
    return _settings(request, access, found, tags_form=form)


@require_POST
@tenant_page
def bay_heal(request: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Make the bay as it shall be again."""
    access.require(Permission.BAY_CHANGE)
    found = get_bay(access=access, reference=bay)
    with refusals_as_messages(request):
        heal_bay(access=access, reference=str(found.id))
    return redirect("bays:overview", tenant=access.tenant.slug, bay=found.name)


@require_POST
@tenant_page
def bay_rotate_ca(request: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Replace the bay's certificate authority."""
    access.require(Permission.BAY_CHANGE)
    found = get_bay(access=access, reference=bay)
    with refusals_as_messages(request):
        rotate_ca(access=access, reference=str(found.id))
    return redirect("bays:overview", tenant=access.tenant.slug, bay=found.name)


@require_POST
@tenant_page
def bay_delete(request: HttpRequest, access: Access, bay: str) -> HttpResponse:
    """Delete the bay whose name was typed."""
    access.require(Permission.BAY_DELETE)
    found = get_bay(access=access, reference=bay)
    form = DeleteForm(request.POST, bay_name=found.name)
    if not form.is_valid():
        return _settings(request, access, found, delete_form=form)
    with refusals_as_messages(request):
        delete_bay(access=access, reference=str(found.id))
    return redirect("bays:overview", tenant=access.tenant.slug, bay=found.name)


def _consequences(access: Access, bay: Bay, count: int) -> dict[str, Any]:
    estimate = estimate_resize(access=access, bay=bay, count=count)
    return {
        "access": access,
        "bay": bay,
        "count": count,
        "more": count - bay.node_count,
        "leaving": leaving_hosts(bay=bay, node_count=count),
        "below_quorum": count < bay.manager_count,
        "estimate": estimate,
        "problem": estimate.refusal,
    }


def _settings(request: HttpRequest, access: Access, bay: Bay, **forms: object) -> HttpResponse:
    context = bay_context(access=access, bay=bay, tab="settings", request=request, **forms)
    return render(request, "bays/bay.html", context, status=422)
