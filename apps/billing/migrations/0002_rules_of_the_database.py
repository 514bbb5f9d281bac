from django.conf import settings
from django.db import migrations

from apps.common.rls import protect

# One clock for what the database decides by itself; tests set it (`carina.now`), everybody else leaves it alone. Whole seconds.
CLOCK = """
CREATE FUNCTION billing_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT date_trunc('second', COALESCE(NULLIF(current_setting('carina.now', true), '')::timestamptz, clock_timestamp()))
$$;
"""
NO_CLOCK = "DROP FUNCTION billing_now();"

# A host's times side by side on one line of numbers, so that a plain range type can tell whether two of one host overlap (no extension needed).
OVERLAPS = """
CREATE FUNCTION billing_span(host bigint, started timestamptz, ended timestamptz) RETURNS int8range LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT int8range(
        (host << 34) + EXTRACT(EPOCH FROM started)::bigint,
        (host << 34) + COALESCE(EXTRACT(EPOCH FROM ended)::bigint, (1::bigint << 34) - 1)
    )
$$;
ALTER TABLE billing_interval ADD CONSTRAINT intervals_of_a_host_never_overlap
    EXCLUDE USING gist (billing_span(host_id, started_at, ended_at) WITH &&);
ALTER TABLE billing_interval ADD CONSTRAINT intervals_are_whole_seconds
    CHECK (date_trunc('second', started_at, 'UTC') = started_at AND date_trunc('second', ended_at, 'UTC') = ended_at);
"""
NO_OVERLAPS = """
ALTER TABLE billing_interval DROP CONSTRAINT intervals_are_whole_seconds;
ALTER TABLE billing_interval DROP CONSTRAINT intervals_of_a_host_never_overlap;
DROP FUNCTION billing_span(bigint, timestamptz, timestamptz);
"""

# A host is billed while it is ready and nobody has asked for its deletion. Whoever writes its row, by whatever path, is metered by this.
METER = """
CREATE FUNCTION billing_meter() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted boolean := false;
    counts boolean := NEW.state = 'ready' AND NEW.delete_requested_at IS NULL;
    moment timestamptz;
    metered bigint;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        counted := OLD.state = 'ready' AND OLD.delete_requested_at IS NULL;
    END IF;
    IF counted = counts THEN
        RETURN NULL;
    END IF;
    moment := billing_now();
    IF counts THEN
        INSERT INTO billing_meteredhost (tenant_id, host, bay_id, cloud_id, flavor_id)
            SELECT NEW.tenant_id, NEW.id, NEW.bay_id, NEW.cloud_id, flavor_id FROM bays_nodegroup WHERE id = NEW.group_id
            ON CONFLICT (host) DO NOTHING;
        SELECT id INTO STRICT metered FROM billing_meteredhost WHERE host = NEW.id;
        -- a clock that went back must not bill a second twice
        INSERT INTO billing_interval (tenant_id, host_id, started_at, ended_by)
            SELECT NEW.tenant_id, metered, GREATEST(moment, max(ended_at)), '' FROM billing_interval WHERE host_id = metered;
    ELSE
        SELECT id INTO STRICT metered FROM billing_meteredhost WHERE host = NEW.id;
        -- what lasted less than a second was nothing
        DELETE FROM billing_interval WHERE host_id = metered AND ended_at IS NULL AND started_at >= moment;
        UPDATE billing_interval
            SET ended_at = moment, ended_by = CASE WHEN NEW.delete_requested_at IS NOT NULL THEN 'deleted' ELSE NEW.state END
            WHERE host_id = metered AND ended_at IS NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER billing_meters_hosts AFTER INSERT OR UPDATE OF state, delete_requested_at ON bays_host
    FOR EACH ROW EXECUTE FUNCTION billing_meter();
"""
NO_METER = "DROP TRIGGER billing_meters_hosts ON bays_host; DROP FUNCTION billing_meter();"

# Usage that changes where sums were made already, or an invoice was written: sums begin anew from there, and the next invoice looks again.
# Late usage and the making of sums or invoices may meet: whoever writes usage of more than an hour ago waits for the account's row, and then sees
# how far sums and invoices go. What has never been summed stays so: LEAST of no value and a moment would be the moment.
LATE = """
CREATE FUNCTION billing_note_late() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER billing_notes_late_usage AFTER INSERT OR UPDATE OR DELETE ON billing_interval
    FOR EACH ROW EXECUTE FUNCTION billing_note_late();
"""
NO_LATE = "DROP TRIGGER billing_notes_late_usage ON billing_interval; DROP FUNCTION billing_note_late();"

# Nothing is ever priced anew: a price that has begun stays, and none begins in the past where something may have been used already.
PRICES = """
CREATE FUNCTION billing_keep_prices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.starts_at <= billing_now() THEN
        RAISE EXCEPTION 'a price that has begun is never changed: add one that begins later' USING ERRCODE = 'restrict_violation';
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.starts_at < billing_now() - interval '1 minute'
        AND EXISTS (SELECT FROM billing_meteredhost WHERE flavor_id = NEW.flavor_id) THEN
        RAISE EXCEPTION 'a price cannot begin in the past of a flavor that is in use' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER billing_keeps_prices BEFORE INSERT OR UPDATE OR DELETE ON billing_price FOR EACH ROW EXECUTE FUNCTION billing_keep_prices();
"""
NO_PRICES = "DROP TRIGGER billing_keeps_prices ON billing_price; DROP FUNCTION billing_keep_prices();"

# What flavors cost until now is what they have always cost.
FIRST_PRICES = f"""
INSERT INTO billing_price (flavor_id, currency, per_hour, tiers, starts_at, created_by, created_at)
    SELECT id, '{settings.CURRENCY}', price_per_hour, '[]'::jsonb, '2000-01-01 00:00:00+00', 'Carina (first prices)', clock_timestamp()
    FROM hosts_flavor;
"""
# Hosts that run already are billed from now on.
FIRST_INTERVALS = """
INSERT INTO billing_meteredhost (tenant_id, host, bay_id, cloud_id, flavor_id)
    SELECT h.tenant_id, h.id, h.bay_id, h.cloud_id, g.flavor_id FROM bays_host h JOIN bays_nodegroup g ON g.id = h.group_id
    WHERE h.state = 'ready' AND h.delete_requested_at IS NULL;
INSERT INTO billing_interval (tenant_id, host_id, started_at, ended_by) SELECT tenant_id, id, billing_now(), '' FROM billing_meteredhost;
-- what these rows refer to is checked now: PostgreSQL alters no table of which something is still to be checked
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""

# What was issued, received or used stays as it was written down.
FROZEN = """
CREATE FUNCTION billing_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: it was issued and never changes', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER billing_keeps_lines BEFORE UPDATE OR DELETE ON billing_invoiceline FOR EACH ROW EXECUTE FUNCTION billing_refuse();
CREATE TRIGGER billing_keeps_payments BEFORE UPDATE OR DELETE ON billing_payment FOR EACH ROW EXECUTE FUNCTION billing_refuse();
CREATE TRIGGER billing_keeps_credit BEFORE UPDATE OR DELETE ON billing_creditgrant FOR EACH ROW EXECUTE FUNCTION billing_refuse();
CREATE TRIGGER billing_keeps_uses BEFORE UPDATE OR DELETE ON billing_credituse FOR EACH ROW EXECUTE FUNCTION billing_refuse();
CREATE FUNCTION billing_keep_invoices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.pdf IS NOT NULL AND OLD.pdf IS DISTINCT FROM NEW.pdf
        OR to_jsonb(OLD) - '{state,paid,pdf,mailed_at}'::text[] <> to_jsonb(NEW) - '{state,paid,pdf,mailed_at}'::text[] THEN
        RAISE EXCEPTION '% of invoice % is refused: it was issued and never changes', TG_OP, OLD.number USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER billing_keeps_invoices BEFORE UPDATE OR DELETE ON billing_invoice FOR EACH ROW EXECUTE FUNCTION billing_keep_invoices();
"""
NO_FROZEN = """
DROP TRIGGER billing_keeps_invoices ON billing_invoice;
DROP FUNCTION billing_keep_invoices();
DROP TRIGGER billing_keeps_uses ON billing_credituse;
DROP TRIGGER billing_keeps_credit ON billing_creditgrant;
DROP TRIGGER billing_keeps_payments ON billing_payment;
DROP TRIGGER billing_keeps_lines ON billing_invoiceline;
DROP FUNCTION billing_refuse();
"""
TABLES = (
    "account", "subscription", "meteredhost", "interval", "dailyusage", "invoice", "invoiceline", "payment", "reminder", "creditgrant",
    "credituse", "budget", "budgetcrossing",
)  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("bays", "0006_leaving_hosts")]
    run_before = [("hosts", "0003_prices_in_the_price_book")]  # which removes the prices that are copied here
    operations = [
        migrations.RunSQL(CLOCK, NO_CLOCK),
        migrations.RunSQL(OVERLAPS, NO_OVERLAPS),
        migrations.RunSQL(FIRST_PRICES, migrations.RunSQL.noop),
        migrations.RunSQL(FIRST_INTERVALS, migrations.RunSQL.noop),
        migrations.RunSQL(METER, NO_METER),
        migrations.RunSQL(LATE, NO_LATE),
        migrations.RunSQL(PRICES, NO_PRICES),
        migrations.RunSQL(FROZEN, NO_FROZEN),
        *[protect(table=f"billing_{table}") for table in TABLES],
    ]
