-- Durable work (FAIR-3): what a tenant sees of it, and the queue that the workers take it from.
--
-- A tenant's jobs are rows of its own. The queue crosses tenants, so it is an actor of its own: its
-- tables (PgQueuer 1.6, see docs/adr/0018-jobs-on-pgqueuer.md) lie in a schema that no tenant can
-- reach, the role tenantry_queue may take from it and add nothing, and one function puts in: it
-- runs in the tenant's verified context, and signs what it puts in for that tenant.

CREATE TABLE tenantry.jobs (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    job_id uuid NOT NULL,
    pool text NOT NULL CHECK (pool IN ('tools', 'ingest', 'analysis', 'maintenance')),
    kind text NOT NULL CHECK (kind ~ '^[a-z][a-z_]{0,39}$'),
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 200), -- the same work is enqueued once
    subject text NOT NULL DEFAULT '' CHECK (length(subject) <= 200), -- what it is about
    arguments jsonb NOT NULL DEFAULT '{}',
    cost integer NOT NULL DEFAULT 1 CHECK (cost BETWEEN 1 AND 100000),
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'queued', 'running', 'paused', 'done', 'failed', 'cancelled')),
    turn integer NOT NULL DEFAULT 0, -- how often it was put into the queue
    attempt integer NOT NULL DEFAULT 0, -- the fence: only the newest attempt may write
    tries integer NOT NULL DEFAULT 0, -- attempts since it was enqueued or retried
    steps_done integer NOT NULL DEFAULT 0,
    steps_total integer NOT NULL DEFAULT 0,
    error_code text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    actor_kind text NOT NULL CHECK (actor_kind IN ('member', 'operator', 'worker')),
    actor_id uuid NOT NULL,
    actor_role text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, job_id),
    UNIQUE (tenant_id, kind, key)
);
CREATE INDEX jobs_by_state ON tenantry.jobs (tenant_id, pool, state, job_id);
ALTER TABLE tenantry.jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.jobs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.jobs TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
-- release_jobs() runs with the owner's rights, and still sees the verified tenant's jobs only.
CREATE POLICY release ON tenantry.jobs TO tenantry_owner
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.jobs TO tenantry_tenant;

-- The bytes that a job works on, until it is done.
CREATE TABLE tenantry.job_inputs (
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (tenant_id, job_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES tenantry.jobs (tenant_id, job_id) ON DELETE CASCADE
);
ALTER TABLE tenantry.job_inputs ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE tenantry.job_inputs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.job_inputs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.job_inputs TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
GRANT SELECT, INSERT, DELETE ON tenantry.job_inputs TO tenantry_tenant;

-- A tenant's place among the others: `finish` is where its work so far ends in virtual time.
CREATE TABLE tenantry.job_shares (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    pool text NOT NULL,
    finish bigint NOT NULL DEFAULT 0,
    weight integer NOT NULL DEFAULT 100 CHECK (weight BETWEEN 1 AND 10000), -- 100 is one share
    most_at_once integer NOT NULL DEFAULT 4 CHECK (most_at_once BETWEEN 1 AND 1000),
    PRIMARY KEY (tenant_id, pool)
);
ALTER TABLE tenantry.job_shares ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.job_shares FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.job_shares TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY release ON tenantry.job_shares TO tenantry_owner
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY shares ON tenantry.job_shares TO tenantry_operator USING (true) WITH CHECK (true);
GRANT SELECT ON tenantry.job_shares TO tenantry_tenant;
GRANT SELECT, INSERT, UPDATE (weight, most_at_once) ON tenantry.job_shares TO tenantry_operator;

-- PgQueuer's own tables, as version 1.6 installs them; a test compares them with the library.
CREATE TYPE tenantry_queue.pgqueuer_status AS ENUM
    ('queued', 'picked', 'successful', 'exception', 'canceled', 'deleted', 'failed');
CREATE TABLE tenantry_queue.pgqueuer (
    id bigserial NOT NULL PRIMARY KEY,
    priority integer NOT NULL,
    queue_manager_id uuid,
    created timestamp with time zone NOT NULL DEFAULT now(),
    updated timestamp with time zone NOT NULL DEFAULT now(),
    heartbeat timestamp with time zone NOT NULL DEFAULT now(),
    execute_after timestamp with time zone NOT NULL DEFAULT now(),
    status tenantry_queue.pgqueuer_status NOT NULL,
    entrypoint text NOT NULL,
    dedupe_key text,
    payload bytea,
    headers jsonb,
    attempts integer NOT NULL DEFAULT 0,
    slot bigint
);
CREATE TABLE tenantry_queue.pgqueuer_log (
    id bigint GENERATED BY DEFAULT AS IDENTITY NOT NULL PRIMARY KEY,
    created timestamp with time zone NOT NULL DEFAULT now(),
    job_id bigint NOT NULL,
    status tenantry_queue.pgqueuer_status NOT NULL,
    priority integer NOT NULL,
    entrypoint text NOT NULL,
    traceback jsonb,
    aggregated boolean DEFAULT false
);
CREATE TABLE tenantry_queue.pgqueuer_schedules (
    id bigserial NOT NULL PRIMARY KEY,
    expression text NOT NULL,
    entrypoint text NOT NULL,
    heartbeat timestamp with time zone NOT NULL DEFAULT now(),
    created timestamp with time zone NOT NULL DEFAULT now(),
    updated timestamp with time zone NOT NULL DEFAULT now(),
    next_run timestamp with time zone NOT NULL DEFAULT now(),
    last_run timestamp with time zone,
    status tenantry_queue.pgqueuer_status DEFAULT 'queued'::tenantry_queue.pgqueuer_status,
    UNIQUE (expression, entrypoint)
);
CREATE TABLE tenantry_queue.pgqueuer_statistics (
    id bigserial NOT NULL PRIMARY KEY,
    created timestamp with time zone NOT NULL DEFAULT date_trunc('sec'::text, now()),
    count bigint NOT NULL,
    priority integer NOT NULL,
    status tenantry_queue.pgqueuer_status NOT NULL,
    entrypoint text NOT NULL
);
CREATE INDEX pgqueuer_ep_ea_idx ON tenantry_queue.pgqueuer
    USING btree (entrypoint, execute_after) WHERE (status = 'queued'::tenantry_queue.pgqueuer_status);
CREATE INDEX pgqueuer_ep_prio_id_idx ON tenantry_queue.pgqueuer
    USING btree (entrypoint, priority DESC, id) WHERE (status = 'queued'::tenantry_queue.pgqueuer_status);
CREATE INDEX pgqueuer_log_created ON tenantry_queue.pgqueuer_log USING btree (created);
CREATE INDEX pgqueuer_log_job_id_status ON tenantry_queue.pgqueuer_log USING btree (job_id, created DESC);
CREATE INDEX pgqueuer_log_not_aggregated ON tenantry_queue.pgqueuer_log USING btree ((1)) WHERE (NOT aggregated);
CREATE INDEX pgqueuer_log_status ON tenantry_queue.pgqueuer_log USING btree (status);
CREATE INDEX pgqueuer_picked_heartbeat_idx ON tenantry_queue.pgqueuer
    USING btree (heartbeat) WHERE (status = 'picked'::tenantry_queue.pgqueuer_status);
CREATE UNIQUE INDEX pgqueuer_picked_slot_idx ON tenantry_queue.pgqueuer
    USING btree (entrypoint, slot)
    WHERE ((status = 'picked'::tenantry_queue.pgqueuer_status) AND (slot IS NOT NULL));
CREATE INDEX pgqueuer_priority_id_id1_idx ON tenantry_queue.pgqueuer
    USING btree (priority, id DESC) INCLUDE (id) WHERE (status = 'queued'::tenantry_queue.pgqueuer_status);
CREATE INDEX pgqueuer_queue_manager_id_idx ON tenantry_queue.pgqueuer
    USING btree (queue_manager_id) WHERE (queue_manager_id IS NOT NULL);
CREATE UNIQUE INDEX pgqueuer_statistics_unique_count ON tenantry_queue.pgqueuer_statistics
    USING btree (priority, date_trunc('sec'::text, timezone('UTC'::text, created)), status, entrypoint);
CREATE UNIQUE INDEX pgqueuer_unique_dedupe_key ON tenantry_queue.pgqueuer USING btree (dedupe_key)
    WHERE ((status = ANY (ARRAY['queued'::tenantry_queue.pgqueuer_status,
                                'picked'::tenantry_queue.pgqueuer_status])) AND (dedupe_key IS NOT NULL));
CREATE INDEX pgqueuer_updated_id_id1_idx ON tenantry_queue.pgqueuer
    USING btree (updated, id DESC) INCLUDE (id) WHERE (status = 'picked'::tenantry_queue.pgqueuer_status);
CREATE FUNCTION tenantry_queue.fn_pgqueuer_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- As the library's, for the two events that its workers wait for.
    PERFORM pg_notify('ch_pgqueuer', json_build_object(
        'channel', 'ch_pgqueuer', 'operation', lower(TG_OP), 'sent_at', now(),
        'table', TG_TABLE_NAME, 'type', 'table_changed_event')::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tg_pgqueuer_changed AFTER INSERT OR DELETE ON tenantry_queue.pgqueuer
    EXECUTE FUNCTION tenantry_queue.fn_pgqueuer_changed();

-- How far each pool has come in virtual time: the tag that was picked last. Read by release_jobs(),
-- moved by the workers; never locked by a tenant's transaction.
CREATE TABLE tenantry_queue.virtual_time (
    pool text PRIMARY KEY,
    reached bigint NOT NULL DEFAULT 0,
    origin bigint NOT NULL DEFAULT 0 -- what is subtracted, so that tags fit the queue's integers
);
INSERT INTO tenantry_queue.virtual_time (pool)
VALUES ('tools'), ('ingest'), ('analysis'), ('maintenance');

GRANT USAGE ON SCHEMA tenantry_queue TO tenantry_queue;
GRANT SELECT, UPDATE, DELETE ON tenantry_queue.pgqueuer TO tenantry_queue; -- it adds no job
GRANT SELECT, INSERT, DELETE ON tenantry_queue.pgqueuer_log TO tenantry_queue;
GRANT SELECT ON tenantry_queue.pgqueuer_statistics TO tenantry_queue; -- its columns are looked for
GRANT SELECT, UPDATE ON tenantry_queue.virtual_time TO tenantry_queue;

-- Puts this tenant's oldest waiting jobs of a pool into the queue, as many as its share allows at
-- once; the others wait here, where they cost the queue nothing. So the cap holds whatever workers
-- there are, and a tenant's backlog never stands in another's way.
--
-- Order among tenants is by virtual time (start-time fair queuing): tag = max(V, finish),
-- finish = tag + cost / weight, and the smallest tag is picked first.
CREATE FUNCTION tenantry.release_jobs(of_pool text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tenant CONSTANT uuid := tenantry.current_tenant();
    -- The key that the tenant's context was signed with; the context was verified just now.
    signing CONSTANT text := left(current_setting('tenantry.context'), 2);
    share tenantry.job_shares;
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
        share.finish := tag + ceil(job.cost * 100.0 / share.weight);
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

-- Jobs of this tenant that the queue knows no more (its row was removed or altered by hand, or by a
-- worker that woke up late): they wait again. How many there were.
CREATE FUNCTION tenantry.recover_jobs() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found integer;
BEGIN
    UPDATE tenantry.jobs AS j SET state = 'waiting'
     WHERE j.tenant_id = tenantry.current_tenant() AND j.state IN ('queued', 'running')
       AND NOT EXISTS (SELECT FROM tenantry_queue.pgqueuer AS q
                        WHERE q.dedupe_key = j.job_id || ':' || j.turn
                          AND q.status IN ('queued', 'picked'));
    GET DIAGNOSTICS found = ROW_COUNT;
    RETURN found;
END
$$;

-- Whether this tenant's jobs may run: those of a suspended one wait.
CREATE FUNCTION tenantry.may_work() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(bool_and(t.status = 'active'), false) FROM tenantry.tenants AS t
     WHERE t.tenant_id = tenantry.current_tenant()
$$;

-- Moves a pool's origin to where it has come, before its tags leave the integers of the queue.
CREATE FUNCTION tenantry.rebase_jobs(of_pool text, beyond bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    clock tenantry_queue.virtual_time;
BEGIN
    SELECT * INTO STRICT clock FROM tenantry_queue.virtual_time AS v WHERE v.pool = of_pool FOR UPDATE;
    IF clock.reached - clock.origin <= beyond THEN
        RETURN false;
    END IF;
    LOCK TABLE tenantry_queue.pgqueuer IN SHARE ROW EXCLUSIVE MODE; -- nobody puts in by the old origin
    UPDATE tenantry_queue.pgqueuer
       SET priority = least(priority::bigint + clock.reached - clock.origin, 2147483647)
     WHERE entrypoint = of_pool;
    UPDATE tenantry_queue.virtual_time SET origin = clock.reached WHERE pool = of_pool;
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION tenantry.release_jobs(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.recover_jobs() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.may_work() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.rebase_jobs(text, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry_queue.fn_pgqueuer_changed() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.release_jobs(text) TO tenantry_tenant;
GRANT EXECUTE ON FUNCTION tenantry.recover_jobs() TO tenantry_tenant;
GRANT EXECUTE ON FUNCTION tenantry.may_work() TO tenantry_tenant;
GRANT USAGE ON SCHEMA tenantry TO tenantry_queue;
GRANT EXECUTE ON FUNCTION tenantry.rebase_jobs(text, bigint) TO tenantry_queue;
