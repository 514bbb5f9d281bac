from django.db import migrations

from apps.common.rls import protect


class Migration(migrations.Migration):
    dependencies = [("bays", "0003_tenant_of_groups")]
    operations = [
        protect(table="bays_bay"),
        protect(table="bays_nodegroup"),
        protect(table="bays_host"),
    ]
