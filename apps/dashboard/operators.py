"""Operators' pages of the clouds hosts come from."""

from datetime import datetime, timedelta

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.common.clock import now
from apps.common.dispatch import send
from apps.dashboard.capacity import all_clouds, bays_by_cloud, look_of_cloud, view_of
from apps.dashboard.gate import operator_page
from apps.hosts.models import Cloud
from apps.hosts.tasks import last_look_at
from apps.tenants.pages import is_fragment

LONGEST_WAIT = timedelta(minutes=2)
"""After so long a page stops waiting for a look it has asked for, and says that no worker took it up."""
STRAYS_A_PAGE = 100


@require_safe
@operator_page
def clouds(request: HttpRequest) -> HttpResponse:
    """List all clouds with their health, age and what is on them."""
    counts = bays_by_cloud()
    rows = [{"cloud": each, "look": look_of_cloud(cloud=each), "bays": counts.get(each.id, (0, 0))[0]} for each in all_clouds()]
    return render(request, "operators/clouds.html", {"rows": rows, "tab": "clouds"})


@require_safe
@operator_page
def cloud(request: HttpRequest, name: str) -> HttpResponse:
    """Show a cloud: aggregates with their flavors, servers and what is free; and what is wrong. Moves by itself until a look is through."""
    row = _get(name)
    asked_at = _asked_at(request)
    waiting = asked_at is not None and not _looked_since(row, asked_at)
    late = waiting and asked_at is not None and now() - asked_at > LONGEST_WAIT
    strays = Paginator(row.strays, STRAYS_A_PAGE).get_page(request.GET.get("strays"))
    context = {
        "view": view_of(cloud=row),
        "waiting": waiting and not late,
        "late": late,
        "asked": request.GET.get("asked", ""),
        "strays": strays,
        "tab": "clouds",
    }
    part = "operators/_cloud.html" if is_fragment(request) else "operators/cloud.html"
    return render(request, part, context)


@require_POST
@operator_page
def look(request: HttpRequest, name: str) -> HttpResponse:
    """Have a worker look at the cloud now, and show its page, which waits for that."""
    row = _get(name)
    if not row.enabled:
        messages.warning(request, _("%(cloud)s is switched off: switch it on in the operator's desk first.") % {"cloud": row.title})
        return redirect("dashboard:operator-cloud", name=row.name)
    asked_at = now()
    send(task="hosts.sync_one", cloud_id=str(row.id), at_once="yes")
    address = reverse("dashboard:operator-cloud", args=[row.name])
    return redirect(f"{address}?{urlencode({'asked': asked_at.isoformat()})}")


def _get(name: str) -> Cloud:
    found = all_clouds().filter(name=name).first()
    if found is None:
        raise Http404(_("There is no such cloud."))
    return found


def _asked_at(request: HttpRequest) -> datetime | None:
    try:
        at = parse_datetime(request.GET.get("asked", ""))
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _looked_since(row: Cloud, asked_at: datetime) -> bool:
    looked_at = last_look_at(cloud_id=row.id)
    return looked_at is not None and looked_at >= asked_at
