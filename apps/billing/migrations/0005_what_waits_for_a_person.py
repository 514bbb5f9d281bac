from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0004_billed_periods"),
    ]

    operations = [
        migrations.AddField(
            model_name="stripeevent",
            name="settled_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="stripeevent",
            name="settled_by",
            field=models.CharField(blank=True, max_length=254),
        ),
        migrations.AddField(
            model_name="stripeevent",
            name="settled_note",
            field=models.CharField(blank=True, max_length=500),
        ),
    ]
