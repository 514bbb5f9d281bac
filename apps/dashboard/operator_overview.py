"""Where operators arrive: what waits for them, and the aggregates of all clouds with what is free."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.models import User
from apps.bays.models import ALIVE, Bay, Condition
from apps.billing.payments.attention import waiting_events
from apps.dashboard.announcements import current_announcements
from apps.dashboard.capacity import all_clouds, bars_of, look_of_cloud
from apps.dashboard.gate import operator_page
from apps.dashboard.support import end_expired_support_views, running_views
from apps.hosts.models import Flavor
from apps.tenants.models import Tenant
from apps.tenants.quota_requests import open_quota_requests


@require_safe
@operator_page
def overview(request: HttpRequest) -> HttpResponse:
    """Show what waits for an operator, and how much there is of everything."""
    end_expired_support_views()
    live = Bay.objects.filter(ALIVE)
    context = {
        "clouds": [{"cloud": cloud, "look": look_of_cloud(cloud=cloud)} for cloud in all_clouds()],
        "requests": open_quota_requests().count(),
        "payments": waiting_events().count(),
        "tenants": Tenant.objects.filter(deleted_at=None).count(),
        "users": User.objects.filter(is_service=False).count(),
        "disabled": User.objects.filter(is_service=False, is_active=False).count(),
        "bays": live.count(),
        "broken": live.filter(condition=Condition.ERROR).count(),
        "flavors": Flavor.objects.filter(enabled=True).count(),
        "announced": len(current_announcements(dismissed=[])),
        "views": running_views(),
        "tab": "overview",
    }
    return render(request, "operators/overview.html", context)


@require_safe
@operator_page
def aggregates(request: HttpRequest) -> HttpResponse:
    """List the aggregates of all clouds with servers and what is free."""
    rows = [
        {"aggregate": each, "cloud": cloud, "look": look_of_cloud(cloud=cloud), "bars": bars_of(aggregate=each)}
        for cloud in all_clouds()
        for each in cloud.aggregates.all()
    ]
    return render(request, "operators/aggregates.html", {"rows": rows, "tab": "aggregates"})
