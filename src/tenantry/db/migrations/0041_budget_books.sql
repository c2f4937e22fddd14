-- Counters, leases and alerts of budgets are written by what grants them, and by nobody else.
--
-- They are written inside a tenant's own transaction, where SQL that a tenant smuggled in would run
-- with the same rights: it could set its counters to nothing, and pass the operator's plan. So
-- tenants may only read them. What is to be written is a text with a MAC that the server makes with
-- a verified context (`isolation.signing.ContextSigner.budgets`); it names the transaction it was
-- made in, and is worth nothing in another.
--
-- Text: 'budgets|' tenant, hex | '|' transaction | '|' JSON. MAC = HMAC-SHA256 over it, in hex.

REVOKE UPDATE (epoch) ON tenantry.budget_plans FROM tenantry_tenant;
REVOKE INSERT, UPDATE, DELETE ON tenantry.budget_counters, tenantry.budget_leases,
    tenantry.budget_alerts FROM tenantry_tenant;
CREATE POLICY keeper ON tenantry.budget_counters TO tenantry_owner USING (true) WITH CHECK (true);
CREATE POLICY keeper ON tenantry.budget_alerts TO tenantry_owner USING (true) WITH CHECK (true);

-- Whoever holds a plan is alone with the tenant's counters and leases.
CREATE FUNCTION tenantry.hold_budgets()
    RETURNS SETOF bigint -- the epoch; nothing when the tenant has no budgets
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.epoch FROM tenantry.budget_plans AS p
     WHERE p.tenant_id = tenantry.current_tenant() FOR NO KEY UPDATE
$$;
REVOKE ALL ON FUNCTION tenantry.hold_budgets() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.hold_budgets() TO tenantry_tenant;

CREATE FUNCTION tenantry.hold_lease(lease uuid, overdue_s double precision)
    RETURNS SETOF uuid -- the lease, when it is so long over; intents under it are waited for
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT l.lease_id FROM tenantry.budget_leases AS l
     WHERE l.tenant_id = tenantry.current_tenant() AND l.lease_id = lease
       AND l.expires_at < clock_timestamp() - make_interval(secs => overdue_s)
       FOR UPDATE
$$;
REVOKE ALL ON FUNCTION tenantry.hold_lease(uuid, double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.hold_lease(uuid, double precision) TO tenantry_tenant;

CREATE FUNCTION tenantry.write_budgets(signing_key text, body text, mac text)
    RETURNS TABLE (budget_id uuid, subject text, mark text, scope text, unit text, period text,
                   amount bigint, limit_amount bigint) -- alerts that were not there yet
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    of_tenant uuid := tenantry.current_tenant();
    start text := 'budgets|' || replace(of_tenant::text, '-', '') || '|' || pg_current_xact_id()
                  || '|';
    inner_block bytea;
    outer_block bytea;
    given json;
BEGIN
    SELECT k.inner_block, k.outer_block INTO inner_block, outer_block
      FROM tenantry_private.signing_keys AS k
     WHERE k.key_id = signing_key AND k.retired_at IS NULL;
    IF inner_block IS NULL OR mac IS DISTINCT FROM encode(
           sha256(outer_block || sha256(inner_block || convert_to(body, 'UTF8'))), 'hex')
       OR NOT starts_with(body, start)
    THEN
        RAISE EXCEPTION 'what is to be written of budgets is not signed' USING ERRCODE = 'TC002';
    END IF;
    given := substr(body, length(start) + 1)::json;
    INSERT INTO tenantry.budget_counters AS c (
        tenant_id, budget_id, subject, window_start, window_end, used, tat_us)
    SELECT of_tenant, r.budget_id, r.subject, r.window_start, r.window_end, r.used, r.tat_us
      FROM json_to_recordset(given -> 'counters') AS r (
           budget_id uuid, subject text, window_start timestamptz, window_end timestamptz,
           used bigint, tat_us bigint)
    ON CONFLICT (tenant_id, budget_id, subject, window_start)
        DO UPDATE SET used = EXCLUDED.used, tat_us = EXCLUDED.tat_us;
    INSERT INTO tenantry.budget_leases AS l (
        tenant_id, lease_id, replica, epoch, expires_at, parts)
    SELECT of_tenant, r.lease_id, r.replica, r.epoch, r.expires_at, r.parts
      FROM json_to_recordset(given -> 'leases') AS r (
           lease_id uuid, replica uuid, epoch bigint, expires_at timestamptz, parts jsonb)
    ON CONFLICT (tenant_id, lease_id)
        DO UPDATE SET expires_at = EXCLUDED.expires_at, parts = EXCLUDED.parts;
    -- Waits for intents that are being written under them.
    DELETE FROM tenantry.budget_leases AS l
     USING json_array_elements_text(given -> 'ended') AS e (lease_id)
     WHERE l.tenant_id = of_tenant AND l.lease_id = e.lease_id::uuid;
    IF (given ->> 'tidies')::boolean THEN
        DELETE FROM tenantry.budget_counters AS c
         WHERE c.tenant_id = of_tenant AND c.window_end < clock_timestamp() - interval '40 days';
    END IF;
    RETURN QUERY
    INSERT INTO tenantry.budget_alerts AS a (
        tenant_id, budget_id, subject, window_start, mark, amount, scope, unit, period,
        limit_amount)
    SELECT of_tenant, r.budget_id, r.subject, r.window_start, r.mark, r.amount, r.scope, r.unit,
           r.period, r.limit_amount
      FROM json_to_recordset(given -> 'alerts') AS r (
           budget_id uuid, subject text, window_start timestamptz, mark text, amount bigint,
           scope text, unit text, period text, limit_amount bigint)
    ON CONFLICT DO NOTHING
    RETURNING a.budget_id, a.subject, a.mark, a.scope, a.unit, a.period, a.amount, a.limit_amount;
END
$$;
REVOKE ALL ON FUNCTION tenantry.write_budgets(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.write_budgets(text, text, text) TO tenantry_tenant;
