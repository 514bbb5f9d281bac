"""Authorities that come and go while a bay's is being replaced."""

import django.db.models.deletion
from django.db import migrations, models


def one_authority() -> "models.OneToOneField[object, object]":
    return models.OneToOneField(
        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="credentials.certificateauthority"
    )


class Migration(migrations.Migration):
    dependencies = [("bays", "0004_row_level_security"), ("credentials", "0002_row_level_security")]

    operations = [
        migrations.AddField(model_name="bay", name="next_authority", field=one_authority()),
        migrations.AddField(model_name="bay", name="former_authority", field=one_authority()),
    ]
