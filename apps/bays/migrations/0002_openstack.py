from typing import ClassVar

from django.db import migrations, models

WRITE_DOWN_ADDRESSES = """
    UPDATE bays_host SET published_address = cloud.public_address
    FROM hosts_cloud cloud WHERE cloud.id = bays_host.cloud_id AND bays_host.published_port IS NOT NULL
"""


class Migration(migrations.Migration):
    """A published host has a public address of its own, which until now was always its cloud's; addresses may be chosen by the cloud."""

    dependencies: ClassVar = [
        ("bays", "0001_initial"),
        ("hosts", "0002_openstack"),
        ("tenants", "0001_initial"),
    ]

    operations: ClassVar = [
        migrations.RemoveConstraint(model_name="host", name="one_host_per_public_port"),
        migrations.AddField(model_name="host", name="published_address", field=models.CharField(blank=True, max_length=253)),
        migrations.AlterField(model_name="host", name="address", field=models.GenericIPAddressField(null=True)),
        migrations.RunSQL(sql=WRITE_DOWN_ADDRESSES, reverse_sql=migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="host",
            constraint=models.UniqueConstraint(
                condition=models.Q(models.Q(("state", "removed"), _negated=True), models.Q(("published_address", ""), _negated=True)),
                fields=("cloud", "published_address", "published_port"),
                name="one_host_per_public_port",
            ),
        ),
    ]
