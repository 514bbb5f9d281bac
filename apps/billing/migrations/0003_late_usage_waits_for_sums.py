from django.db import migrations

# Late usage and the making of sums or invoices may meet: whoever writes usage of more than an hour ago waits for the account's row, and then sees
# how far sums and invoices go. What has never been summed stays so: LEAST of no value and a moment would be the moment.
LATE = """
CREATE OR REPLACE FUNCTION billing_note_late() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    since timestamptz;
    whose uuid := COALESCE(NEW.tenant_id, OLD.tenant_id);
BEGIN
    IF TG_OP = 'INSERT' THEN
        since := NEW.started_at;
    ELSIF TG_OP = 'DELETE' THEN
        since := OLD.started_at;
    ELSIF OLD.started_at <> NEW.started_at THEN
        since := LEAST(OLD.started_at, NEW.started_at);
    ELSE
        since := LEAST(OLD.ended_at, NEW.ended_at);
    END IF;
    IF since < billing_now() - interval '1 hour' THEN
        PERFORM FROM billing_account WHERE tenant_id = whose FOR NO KEY UPDATE;
    END IF;
    UPDATE billing_account SET
        rolled_until = CASE WHEN rolled_until > since THEN since ELSE rolled_until END,
        late_from = CASE WHEN billed_until > since THEN LEAST(late_from, since) ELSE late_from END
        WHERE tenant_id = whose AND (rolled_until > since OR billed_until > since AND (late_from > since OR late_from IS NULL));
    RETURN NULL;
END $$;
"""
BEFORE = """
CREATE OR REPLACE FUNCTION billing_note_late() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    since timestamptz;
BEGIN
    IF TG_OP = 'INSERT' THEN
        since := NEW.started_at;
    ELSIF TG_OP = 'DELETE' THEN
        since := OLD.started_at;
    ELSIF OLD.started_at <> NEW.started_at THEN
        since := LEAST(OLD.started_at, NEW.started_at);
    ELSE
        since := LEAST(OLD.ended_at, NEW.ended_at);
    END IF;
    UPDATE billing_account SET
        rolled_until = LEAST(rolled_until, since),
        late_from = CASE WHEN billed_until > since THEN LEAST(late_from, since) ELSE late_from END
        WHERE tenant_id = COALESCE(NEW.tenant_id, OLD.tenant_id) AND (rolled_until > since OR billed_until > since);
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_rules_of_the_database")]
    operations = [migrations.RunSQL(LATE, BEFORE)]
