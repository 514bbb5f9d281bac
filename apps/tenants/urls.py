from django.urls import path

from apps.common.pages import both
from apps.tenants.invitation_urls import urlpatterns as invitation_patterns
from apps.tenants.service_account_views import account, account_change, account_delete, account_token_revoke, accounts
from apps.tenants.token_views import everyone, maximum, token_revoke, tokens

app_name = "tenants"
TOKENS = "t/<str:tenant>/tokens/"
ACCOUNTS = "t/<str:tenant>/service-accounts/"
ACCOUNT = f"{ACCOUNTS}<uuid:account>/"

urlpatterns = [
    *invitation_patterns,
    *both(TOKENS, tokens, "tokens"),
    path(f"{TOKENS}<uuid:token>/revoke", token_revoke, name="token_revoke"),
    *both(f"{TOKENS}everyone/", everyone, "tokens_everyone"),
    path(f"{TOKENS}maximum", maximum, name="tokens_maximum"),
    *both(ACCOUNTS, accounts, "service_accounts"),
    *both(ACCOUNT, account, "service_account"),
    path(f"{ACCOUNT}change", account_change, name="service_account_change"),
    path(f"{ACCOUNT}delete", account_delete, name="service_account_delete"),
    path(f"{ACCOUNT}tokens/<uuid:token>/revoke", account_token_revoke, name="service_account_token_revoke"),
]
