import django.db.models.deletion
from django.db import migrations, models

from apps.common.rls import protect


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_what_waits_for_a_person"),
        ("tenants", "0004_holds"),
    ]

    operations = [
        migrations.CreateModel(
            name="CreditNotice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("left", models.DecimalField(decimal_places=3, max_digits=14)),
                ("at", models.DateTimeField()),
                (
                    "grant",
                    models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name="notice", to="billing.creditgrant"),
                ),
                (
                    "tenant",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="credit_notices", to="tenants.tenant"),
                ),
            ],
        ),
        protect(table="billing_creditnotice"),
    ]
