from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.bays.pricing import total_of
from apps.bays.selectors import bays_with_operations
from apps.bays.usage import usage_after
from apps.tenants.context import Access
from apps.tenants.pages import is_fragment, tenant_page

SEARCH_FROM = 8
"""Below so many bays a search box is only in the way."""


@require_safe
@tenant_page
def bay_list(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the tenant's bays; htmx asks for the list alone while anything in it moves."""
    query = request.GET.get("q", "").strip().lower()
    every = bays_with_operations(access=access)
    context = {
        "access": access,
        "bays": [bay for bay in every if query in bay.name],
        "query": query,
        "searchable": len(every) >= SEARCH_FROM,
        "any_busy": any(bay.busy for bay in every),
        "any_at_all": bool(every),
        "total": total_of(costs=[bay.price for bay in every]),
        "usage": usage_after(tenant=access.tenant),
    }
    return render(request, "bays/_list.html" if is_fragment(request) else "bays/list.html", context)
