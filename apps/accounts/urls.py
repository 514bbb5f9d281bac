from django.urls import include, path, re_path
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView

urlpatterns = [
    path("account/", include("allauth.urls")),
    # allauth knows its pages with a slash at the end only
    re_path(r"^account/(?P<rest>.*[^/])$", require_safe(RedirectView.as_view(url="/account/%(rest)s/", query_string=True))),
]
