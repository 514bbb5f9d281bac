"""Addresses of an organisation's own pages; part of the dashboard's (`dashboard:settings` …)."""

from django.urls import path

from apps.common.pages import both
from apps.dashboard import member_pages, organisation_pages

SETTINGS = "t/<str:tenant>/settings/"
MEMBERS = "t/<str:tenant>/members/"

urlpatterns = [
    *both("t/<str:tenant>/", organisation_pages.tenant_start, "tenant"),
    *both(SETTINGS, organisation_pages.tenant_settings, "settings"),
    path(f"{SETTINGS}rename", organisation_pages.tenant_rename, name="settings-rename"),
    path(f"{SETTINGS}second-factor", organisation_pages.tenant_second_factor, name="settings-second-factor"),
    path(f"{SETTINGS}leave", organisation_pages.tenant_leave, name="settings-leave"),
    path(f"{SETTINGS}delete", organisation_pages.tenant_delete, name="settings-delete"),
    *both(MEMBERS, member_pages.members, "members"),
    path(f"{MEMBERS}<uuid:member>/role", member_pages.member_role, name="member-role"),
    *both(f"{MEMBERS}<uuid:member>/remove", member_pages.member_remove, "member-remove"),
    path(f"{MEMBERS}invitations/<uuid:invitation>/resend", member_pages.invitation_resend, name="invitation-resend"),
    path(f"{MEMBERS}invitations/<uuid:invitation>/revoke", member_pages.invitation_revoke, name="invitation-revoke"),
]
