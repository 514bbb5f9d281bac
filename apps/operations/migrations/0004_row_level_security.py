from django.db import migrations

from apps.common.rls import protect


class Migration(migrations.Migration):
    dependencies = [("operations", "0003_troubles_in_a_row")]
    operations = [
        protect(table="operations_operation"),
        protect(table="operations_event"),
    ]
