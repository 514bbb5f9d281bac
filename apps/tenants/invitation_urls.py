"""Addresses of invitations and of the list of one's organisations; part of the tenants' (`tenants:invitation` …)."""

from django.urls import path

from apps.common.pages import both
from apps.tenants.invitation_views import invitation, invitation_accept, invitation_link, invitation_switch
from apps.tenants.views import organisations

urlpatterns = [
    *both("organisations/", organisations, "organisations"),
    *both("invitations/", invitation, "invitation"),
    path("invitations/accept", invitation_accept, name="invitation_accept"),
    path("invitations/switch", invitation_switch, name="invitation_switch"),
    *both("invitations/<str:secret>/", invitation_link, "invitation_link"),
]
