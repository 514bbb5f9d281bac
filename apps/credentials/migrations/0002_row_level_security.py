from django.db import migrations

from apps.common.rls import protect


class Migration(migrations.Migration):
    dependencies = [("credentials", "0001_initial")]
    operations = [
        protect(table="credentials_certificateauthority"),
        protect(table="credentials_certificate"),
    ]
