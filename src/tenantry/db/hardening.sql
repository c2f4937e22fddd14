-- Run as tenantry_owner after the migrations, each time: idempotent.
--
-- ANALYZE samples all tenants' rows at once, and the planner estimates by those samples inside each
-- tenant's transaction: EXPLAIN … WHERE content = 'guess' would tell whether 'guess' is frequent
-- with anybody. So columns of free text and bytes are not sampled; our queries never need it, since
-- they find their rows by tenant and key. Columns of a few fixed words stay: they tell nothing.
DO $unsampled$
DECLARE
    field record;
BEGIN
    FOR field IN
        SELECT c.oid::regclass AS tab, a.attname
          FROM pg_catalog.pg_class AS c
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind IN ('r', 'p')
           AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(a.attstattarget, -1) <> 0
           AND a.atttypid IN ('text'::regtype, 'bytea'::regtype, 'jsonb'::regtype, 'text[]'::regtype)
           AND EXISTS (SELECT FROM pg_catalog.pg_attribute AS t
                        WHERE t.attrelid = c.oid AND t.attname = 'tenant_id')
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k
                            WHERE k.conrelid = c.oid AND k.contype = 'c'
                              AND k.conkey = ARRAY[a.attnum]
                              AND pg_catalog.pg_get_constraintdef(k.oid) LIKE '%ANY (ARRAY[%')
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', field.tab, field.attname);
    END LOOP;
END
$unsampled$;
