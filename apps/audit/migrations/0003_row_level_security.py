from django.db import migrations

from apps.common.rls import protect


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]
    operations = [protect(table="audit_auditevent")]
