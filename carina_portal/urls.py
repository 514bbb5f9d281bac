from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from apps.dashboard.health import healthz
from apps.dashboard.views import home

# Operators sign in like everybody: verified address, rate limits, and later a second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign,no-untyped-call]
admin.site.site_header = admin.site.site_title = "Carina, for operators"

urlpatterns = [
    path("", home, name="home"),
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("", include("apps.accounts.urls")),
    path("", include("apps.billing.api.urls")),
    path("", include("apps.bays.api.urls")),
    path("", include("apps.dashboard.urls")),
    path("", include("apps.billing.urls")),
    path("", include("apps.tenants.urls")),
    path("", include("apps.bays.urls")),
]
handler400 = "apps.dashboard.errors.bad_request"
handler403 = "apps.dashboard.errors.forbidden"
handler404 = "apps.dashboard.errors.not_found"
handler500 = "apps.dashboard.errors.server_error"
