from django.urls import URLPattern

TENANT = "api/v1/tenants/<str:tenant>"

urlpatterns: list[URLPattern] = []
