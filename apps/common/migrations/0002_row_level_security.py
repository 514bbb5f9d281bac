from django.db import migrations

from apps.common.rls import protect


class Migration(migrations.Migration):
    dependencies = [("common", "0001_initial")]
    operations = [
        protect(table="common_idempotencykey", tenant="", user="user_id"),
    ]
