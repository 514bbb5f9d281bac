from django.urls import path

from apps.common.pages import both
from apps.tenants.token_views import token_revoke, tokens

app_name = "tenants"
TOKENS = "t/<str:tenant>/tokens/"

urlpatterns = [
    *both(TOKENS, tokens, "tokens"),
    path(f"{TOKENS}<uuid:token>/revoke", token_revoke, name="token_revoke"),
]
