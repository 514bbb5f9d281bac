"""Node groups say whose they are themselves, so that row-level security needs no look at the bay."""

import django.db.models.deletion
from django.db import migrations, models

FILL = "UPDATE bays_nodegroup SET tenant_id = bays_bay.tenant_id FROM bays_bay WHERE bays_bay.id = bays_nodegroup.bay_id"


class Migration(migrations.Migration):
    dependencies = [("bays", "0002_openstack"), ("tenants", "0002_organisations")]

    operations = [
        migrations.AddField(
            model_name="nodegroup",
            name="tenant",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="node_groups", to="tenants.tenant"
            ),
        ),
        migrations.RunSQL(sql=FILL, reverse_sql=migrations.RunSQL.noop),
        migrations.RunSQL(sql="SET CONSTRAINTS ALL IMMEDIATE", reverse_sql=migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="nodegroup",
            name="tenant",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="node_groups", to="tenants.tenant"),
        ),
    ]
