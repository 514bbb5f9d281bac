from django.db import migrations, models


class Migration(migrations.Migration):
    """Prices of flavors have moved to billing's price book; its migration 0002, which copies them, says itself that it comes first.

    Going back, every flavor costs 0 until somebody says otherwise: the default is what fills the column then.
    """

    dependencies = [("hosts", "0002_openstack")]
    operations = [
        migrations.RemoveConstraint(model_name="flavor", name="flavors_cost_nothing_or_more"),
        migrations.AlterField(
            model_name="flavor", name="price_per_hour", field=models.DecimalField(decimal_places=5, default=0, max_digits=10)
        ),
        migrations.RemoveField(model_name="flavor", name="price_per_hour"),
    ]
