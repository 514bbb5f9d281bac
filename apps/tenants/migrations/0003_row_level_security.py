from django.db import migrations

from apps.common.rls import USER, protect


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_organisations")]
    operations = [
        protect(table="tenants_membership", also=f"user_id = {USER}"),
        protect(
            table="tenants_tenant",
            tenant="id",
            also=f"id IN (SELECT tenant_id FROM tenants_membership WHERE user_id = {USER})",
        ),
        protect(table="tenants_invitation"),
        protect(table="tenants_serviceaccount"),
        protect(table="tenants_quotarequest"),
        protect(table="tenants_apitoken"),
    ]
