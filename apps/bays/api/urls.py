from django.urls import path, re_path

from apps.bays.api import (
    application_credentials,
    audit,
    bays,
    catalogue,
    credentials,
    documentation,
    invitations,
    members,
    quota,
    service_accounts,
    tenants,
    tokens,
)
from apps.common.api.slashes import both

ROOT = "api/v1"
TENANT = f"{ROOT}/tenants/<str:tenant>"
BAY = f"{TENANT}/bays/<str:bay>"

urlpatterns = [
    *both(route=ROOT, view=catalogue.Index, name="api-index"),
    *both(route=f"{ROOT}/schema", view=documentation.Schema, name="api-schema"),
    *both(route=f"{ROOT}/docs", view=documentation.Docs, name="api-docs"),
    *both(route=f"{ROOT}/problems", view=documentation.ProblemList, name="api-problems"),
    *both(route=f"{ROOT}/problems/<str:code>", view=documentation.ProblemDetail, name="api-problem"),
    *both(route=f"{ROOT}/clouds", view=catalogue.CloudList, name="api-clouds"),
    *both(route=f"{ROOT}/flavors", view=catalogue.FlavorList, name="api-flavors"),
    *both(route=f"{ROOT}/coes", view=catalogue.CoeList, name="api-coes"),
    *both(route=f"{ROOT}/tenants", view=tenants.TenantList, name="api-tenants"),
    *both(route=TENANT, view=tenants.TenantDetail, name="api-tenant"),
    *both(route=f"{ROOT}/invitations/accept", view=invitations.InvitationAccept, name="api-accept-invitation"),
    *both(route=f"{TENANT}/leave", view=tenants.TenantLeave, name="api-leave"),
    *both(route=f"{TENANT}/members", view=members.MemberList, name="api-members"),
    *both(route=f"{TENANT}/members/<uuid:member_id>", view=members.MemberDetail, name="api-member"),
    *both(route=f"{TENANT}/invitations", view=invitations.InvitationList, name="api-invitations"),
    *both(route=f"{TENANT}/invitations/<uuid:invitation_id>", view=invitations.InvitationDetail, name="api-invitation"),
    *both(route=f"{TENANT}/invitations/<uuid:invitation_id>/resend", view=invitations.InvitationResend, name="api-resend-invitation"),
    *both(route=f"{TENANT}/quota", view=quota.TenantQuota, name="api-quota"),
    *both(route=f"{TENANT}/quota/requests", view=quota.QuotaRequestList, name="api-quota-requests"),
    *both(route=f"{TENANT}/quota/requests/<uuid:request_id>", view=quota.QuotaRequestDetail, name="api-quota-request"),
    *both(route=f"{TENANT}/audit", view=audit.TenantAudit, name="api-audit"),
    *both(route=f"{TENANT}/tokens", view=tokens.TokenList, name="api-tokens"),
    *both(route=f"{TENANT}/tokens/<uuid:token_id>", view=tokens.TokenDetail, name="api-token"),
    *both(route=f"{TENANT}/token-policy", view=tokens.TokenPolicy, name="api-token-policy"),
    *both(route=f"{TENANT}/application-credentials", view=application_credentials.CredentialList, name="api-application-credentials"),
    *both(route=f"{TENANT}/service-accounts", view=service_accounts.ServiceAccountList, name="api-service-accounts"),
    *both(route=f"{TENANT}/service-accounts/<uuid:account_id>", view=service_accounts.ServiceAccountDetail, name="api-service-account"),
    *both(
        route=f"{TENANT}/service-accounts/<uuid:account_id>/tokens",
        view=service_accounts.ServiceAccountTokens,
        name="api-service-account-tokens",
    ),
    *both(route=f"{TENANT}/bays", view=bays.BayList, name="api-bays"),
    *both(route=f"{TENANT}/bays/estimate", view=bays.BayEstimate, name="api-estimate"),
    *both(route=BAY, view=bays.BayDetail, name="api-bay"),
    *both(route=f"{BAY}/heal", view=bays.BayHeal, name="api-heal"),
    *both(route=f"{BAY}/hosts", view=bays.BayHosts, name="api-hosts"),
    *both(route=f"{BAY}/operations", view=bays.BayOperations, name="api-operations"),
    *both(route=f"{BAY}/operations/<uuid:operation>", view=bays.BayOperation, name="api-operation"),
    *both(route=f"{BAY}/events", view=bays.BayEvents, name="api-events"),
    *both(route=f"{BAY}/bundle", view=credentials.BayBundle, name="api-bundle"),
    *both(route=f"{BAY}/certificates", view=credentials.BayCertificates, name="api-certificates"),
    *both(route=f"{BAY}/ca.pem", view=credentials.BayAuthority, name="api-ca"),
    path("api", documentation.nowhere),
    re_path(r"^api/(?P<rest>.*)", documentation.nowhere),
]
