from django.db import migrations, models
from django.db.models import Q

# The application itself may be wrong, or in wrong hands; what it has said about itself must not depend on it.
FORWARD = """
CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of the audit log is refused: it is only ever added to', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit_auditevent FOR EACH ROW EXECUTE FUNCTION audit_refuses();
CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON audit_auditevent FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses();
"""
BACKWARD = """
DROP TRIGGER audit_is_append_only ON audit_auditevent;
DROP TRIGGER audit_is_never_emptied ON audit_auditevent;
DROP FUNCTION audit_refuses();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [
        migrations.AddField("auditevent", "address", models.GenericIPAddressField(null=True)),
        migrations.AddIndex("auditevent", models.Index(fields=["-at", "-id"], name="audit_newest")),
        migrations.AddConstraint(
            "auditevent",
            models.CheckConstraint(condition=~Q(actor_id="") & ~Q(actor_label="") & ~Q(action=""), name="every_action_has_an_actor"),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
