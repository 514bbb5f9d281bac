from django.db import migrations

# Of no grant can more be used than it has, whoever writes it: uses of one grant come one after the other, and each counts those before it.
USES = """
CREATE FUNCTION billing_check_use() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    granted numeric;
    owner uuid;
    used numeric;
BEGIN
    SELECT amount, tenant_id INTO STRICT granted, owner FROM billing_creditgrant WHERE id = NEW.grant_id FOR UPDATE;
    SELECT COALESCE(SUM(amount), 0) INTO used FROM billing_credituse WHERE grant_id = NEW.grant_id;
    IF owner <> NEW.tenant_id THEN
        RAISE EXCEPTION 'credit of another tenant cannot be used' USING ERRCODE = 'check_violation';
    END IF;
    IF used + NEW.amount > granted THEN
        RAISE EXCEPTION 'only % of the credit of % is left', granted - used, granted USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_uses_credit_once BEFORE INSERT ON billing_credituse FOR EACH ROW EXECUTE FUNCTION billing_check_use();
"""
NO_USES = "DROP TRIGGER billing_uses_credit_once ON billing_credituse; DROP FUNCTION billing_check_use();"


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_rules_of_the_database")]
    operations = [migrations.RunSQL(USES, NO_USES)]
