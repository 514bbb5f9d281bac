from django.urls import path

from apps.common.pages import both
from apps.dashboard import (
    announcement_pages,
    audit_pages,
    operator_flavors,
    operator_limits,
    operator_overview,
    operator_tenants,
    operator_users,
    operators,
)
from apps.dashboard import billing_urls as billing
from apps.dashboard import organisation_urls as organisation
from apps.dashboard.views import mail, mails

app_name = "dashboard"
CONSOLE = "operators/"
TENANT = f"{CONSOLE}tenants/<uuid:tenant_id>/"
USER = f"{CONSOLE}users/<uuid:user_id>/"

urlpatterns = [
    *organisation.urlpatterns,
    *billing.urlpatterns,
    *both("t/<str:tenant>/audit/", audit_pages.tenant_audit, "audit"),
    path("t/<str:tenant>/audit/audit.csv", audit_pages.tenant_audit_file, {"kind": "csv"}, name="audit-csv"),
    path("t/<str:tenant>/audit/audit.json", audit_pages.tenant_audit_file, {"kind": "json"}, name="audit-json"),
    path("announcements/<uuid:announcement_id>/dismiss", announcement_pages.announcement_dismiss, name="announcement-dismiss"),
    *both(CONSOLE, operator_overview.overview, "operators"),
    *both(f"{CONSOLE}clouds/", operators.clouds, "operator-clouds"),
    *both(f"{CONSOLE}clouds/<str:name>/", operators.cloud, "operator-cloud"),
    *both(f"{CONSOLE}clouds/<str:name>/look", operators.look, "operator-look"),
    *both(f"{CONSOLE}aggregates/", operator_overview.aggregates, "operator-aggregates"),
    *both(f"{CONSOLE}flavors/", operator_flavors.flavors, "operator-flavors"),
    path(f"{CONSOLE}flavors/<uuid:flavor_id>", operator_flavors.flavor_change, name="operator-flavor"),
    *both(f"{CONSOLE}tenants/", operator_tenants.tenants, "operator-tenants"),
    *both(TENANT, operator_tenants.tenant, "operator-tenant"),
    path(f"{CONSOLE}limits/<uuid:request_id>", operator_limits.decide, name="operator-request"),
    path(f"{TENANT}limits", operator_tenants.limits, name="operator-limits"),
    path(f"{TENANT}support", operator_tenants.support_start, name="operator-support"),
    path(f"{CONSOLE}support/end", operator_tenants.support_end, name="operator-support-end"),
    *both(f"{CONSOLE}limits/", operator_limits.requests, "operator-requests"),
    *both(f"{CONSOLE}users/", operator_users.users, "operator-users"),
    *both(USER, operator_users.user, "operator-user"),
    path(f"{USER}disable", operator_users.user_disable, name="operator-user-disable"),
    path(f"{USER}enable", operator_users.user_enable, name="operator-user-enable"),
    *both(f"{CONSOLE}announcements/", announcement_pages.announcements, "operator-announcements"),
    path(f"{CONSOLE}announcements/<uuid:announcement_id>/withdraw", announcement_pages.announcement_withdraw, name="operator-withdraw"),
    *both(f"{CONSOLE}audit/", audit_pages.operator_audit, "operator-audit"),
    path(f"{CONSOLE}audit/audit.csv", audit_pages.operator_audit_file, {"kind": "csv"}, name="operator-audit-csv"),
    path(f"{CONSOLE}audit/audit.json", audit_pages.operator_audit_file, {"kind": "json"}, name="operator-audit-json"),
    *both("mail/", mails, "mails"),
    *both("mail/<str:mail_id>", mail, "mail"),
]
