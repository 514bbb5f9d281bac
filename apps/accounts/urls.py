from django.urls import include, path, re_path
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView

from apps.accounts import views

urlpatterns = [
    path("account/", views.your_account, name="your_account"),
    path("account/sessions/<int:pk>/end", views.end_session, name="end_session"),
    # allauth's addresses of the same names, by way of our views
    path("account/oidc/<str:provider_id>/login/", views.single_sign_on),
    path("account/oidc/<str:provider_id>/login/callback/", views.single_sign_on_return),
    path("account/", include("allauth.urls")),
    # allauth knows its pages with a slash at the end only
    re_path(r"^account(?P<rest>(?:/.*[^/])?)$", require_safe(RedirectView.as_view(url="/account%(rest)s/", query_string=True))),
]
