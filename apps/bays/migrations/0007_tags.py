from django.db import migrations, models
from django.db.models.lookups import Exact


class Migration(migrations.Migration):
    dependencies = [("bays", "0006_leaving_hosts")]
    operations = [
        migrations.AddField(model_name="bay", name="tags", field=models.JSONField(default=dict)),
        migrations.AddConstraint(
            model_name="bay",
            constraint=models.CheckConstraint(
                condition=Exact(
                    models.Func(models.F("tags"), function="jsonb_typeof", output_field=models.TextField()), models.Value("object")
                ),
                name="tags_are_an_object",
            ),
        ),
    ]
