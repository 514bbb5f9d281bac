from django.contrib import admin
from django.urls import include, path

from apps.dashboard.health import healthz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("account/", include("allauth.urls")),
    path("", include("apps.bays.api.urls")),
    path("", include("apps.dashboard.urls")),
    path("", include("apps.bays.urls")),
]
