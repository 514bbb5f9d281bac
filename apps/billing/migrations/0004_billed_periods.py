import django.db.models.deletion
from django.db import migrations, models

from apps.common.rls import protect

KEPT = """
CREATE TRIGGER billing_keeps_periods BEFORE UPDATE OR DELETE ON billing_billedperiod FOR EACH ROW EXECUTE FUNCTION billing_refuse();
"""
NOT_KEPT = "DROP TRIGGER billing_keeps_periods ON billing_billedperiod;"


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_credit_is_used_once"), ("tenants", "0004_holds")]
    operations = [
        migrations.CreateModel(
            name="BilledPeriod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("start", models.DateTimeField()),
                ("end", models.DateTimeField()),
                ("time_zone", models.CharField(max_length=64)),
                ("currency", models.CharField(max_length=3)),
                ("closed_at", models.DateTimeField()),
                (
                    "invoice",
                    models.OneToOneField(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="billed_period", to="billing.invoice"
                    ),
                ),
                ("plan", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.plan")),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="billed_periods",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "start"), name="one_closing_per_period"),
                    models.CheckConstraint(condition=models.Q(("end__gt", models.F("start"))), name="billed_periods_have_a_length"),
                ],
            },
        ),
        migrations.RunSQL(KEPT, NOT_KEPT),
        protect(table="billing_billedperiod"),
    ]
