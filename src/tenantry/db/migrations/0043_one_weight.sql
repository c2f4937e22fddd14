-- One weight a tenant (FAIR-1, FAIR-3): what it weighs before models it weighs before the workers as
-- well. Operators set that of the tenant; a share of its own for jobs could only disagree with it.
-- (100 units of a share were 1; a job's cost counts a hundredfold, as it did.)

ALTER TABLE tenantry.job_shares DROP COLUMN weight;

CREATE POLICY release ON tenantry.tenants FOR SELECT TO tenantry_owner
    USING (tenant_id = (SELECT tenantry.current_tenant()));

CREATE OR REPLACE FUNCTION tenantry.release_jobs(of_pool text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tenant CONSTANT uuid := tenantry.current_tenant();
    -- The key that the tenant's context was signed with; the context was verified just now.
    signing CONSTANT text := left(current_setting('tenantry.context'), 2);
    share tenantry.job_shares;
    weight double precision;
    clock tenantry_queue.virtual_time;
    key tenantry_private.signing_keys;
    job record;
    body text;
    tag bigint;
    free integer;
    released integer := 0;
BEGIN
    SELECT * INTO share FROM tenantry.job_shares AS s
     WHERE s.tenant_id = tenant AND s.pool = of_pool FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO tenantry.job_shares (tenant_id, pool) VALUES (tenant, of_pool)
        ON CONFLICT DO NOTHING;
        SELECT * INTO share FROM tenantry.job_shares AS s
         WHERE s.tenant_id = tenant AND s.pool = of_pool FOR UPDATE;
    END IF;
    SELECT t.weight INTO STRICT weight FROM tenantry.tenants AS t WHERE t.tenant_id = tenant;
    SELECT share.most_at_once - count(*) INTO free FROM tenantry.jobs AS j
     WHERE j.tenant_id = tenant AND j.pool = of_pool AND j.state IN ('queued', 'running');
    IF free <= 0 THEN
        RETURN 0;
    END IF;
    LOCK TABLE tenantry_queue.pgqueuer IN ROW EXCLUSIVE MODE; -- so that no rebasing comes between
    SELECT * INTO STRICT clock FROM tenantry_queue.virtual_time AS v WHERE v.pool = of_pool;
    SELECT * INTO STRICT key FROM tenantry_private.signing_keys AS k WHERE k.key_id = signing;
    FOR job IN
        SELECT j.job_id, j.kind, j.subject, j.cost, j.turn + 1 AS turn FROM tenantry.jobs AS j
         WHERE j.tenant_id = tenant AND j.pool = of_pool AND j.state = 'waiting'
         ORDER BY j.job_id LIMIT free FOR UPDATE SKIP LOCKED
    LOOP
        tag := greatest(clock.reached, share.finish);
        share.finish := tag + ceil(job.cost * 100.0 / weight);
        UPDATE tenantry.jobs AS j SET state = 'queued', turn = job.turn
         WHERE j.tenant_id = tenant AND j.job_id = job.job_id;
        body := concat_ws('|', 'job', signing, replace(tenant::text, '-', ''),
                          replace(job.job_id::text, '-', ''), job.turn, of_pool, job.kind, job.subject);
        INSERT INTO tenantry_queue.pgqueuer (priority, status, entrypoint, dedupe_key, payload)
        VALUES (greatest(clock.origin - tag, -2147483648), 'queued', of_pool, job.job_id || ':' || job.turn,
                convert_to(encode(sha256(key.outer_block || sha256(key.inner_block
                           || convert_to(body, 'UTF8'))), 'hex') || body, 'UTF8'));
        released := released + 1;
    END LOOP;
    UPDATE tenantry.job_shares AS s SET finish = share.finish
     WHERE s.tenant_id = tenant AND s.pool = of_pool;
    RETURN released;
END
$$;
