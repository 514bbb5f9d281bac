from django.db import migrations

# The application itself may be wrong; the history of a bay must not depend on it.
FORWARD = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: its rows are history', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER events_are_immutable BEFORE UPDATE OR DELETE ON operations_event FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_is_immutable BEFORE UPDATE OR DELETE ON audit_auditevent FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""
BACKWARD = """
DROP TRIGGER events_are_immutable ON operations_event;
DROP TRIGGER audit_is_immutable ON audit_auditevent;
DROP FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("operations", "0001_initial"), ("audit", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
