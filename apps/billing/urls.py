"""Addresses of billing: an organisation's own pages, then the operators'."""

from django.urls import URLPattern

app_name = "billing"
BILLING = "t/<str:tenant>/billing/"
CONSOLE = "operators/billing/"

urlpatterns: list[URLPattern] = []
