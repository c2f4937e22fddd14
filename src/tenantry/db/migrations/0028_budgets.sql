-- Budgets (LIM-1, LIM-2, COST-5): what a tenant may use, and who may spend how much of it just now.
--
-- A replica spends from a lease: a part of each budget, for some seconds. Leases are granted in a
-- transaction that holds the tenant's plan (`limits/granting.py` is the arithmetic), so that what
-- is used and what is leased never pass a limit together. An intent enters the ledger only under a
-- lease that is live and was made by today's budgets: whoever slept past it sends nothing.
-- Amounts: thousandths of a weighted token, pico-USD, calls.

CREATE TABLE tenantry.budget_plans (
    tenant_id uuid PRIMARY KEY REFERENCES tenantry.tenants (tenant_id),
    time_zone text NOT NULL DEFAULT 'UTC' CHECK (length(time_zone) BETWEEN 1 AND 64),
    epoch bigint NOT NULL DEFAULT 1 -- changes with every change of the budgets
);
ALTER TABLE tenantry.budget_plans ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.budget_plans FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.budget_plans TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY plans ON tenantry.budget_plans TO tenantry_operator USING (true) WITH CHECK (true);
CREATE POLICY keeper ON tenantry.budget_plans TO tenantry_owner USING (true) WITH CHECK (true);

CREATE TABLE tenantry.budgets (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    budget_id uuid NOT NULL,
    set_by text NOT NULL CHECK (set_by IN ('operator', 'tenant')),
    scope text NOT NULL CHECK (scope IN ('tenant', 'member', 'key', 'assistant', 'model')),
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 300), -- '*' is each for itself
    unit text NOT NULL CHECK (unit IN ('tokens', 'cost', 'requests')),
    period text NOT NULL CHECK (period IN ('second', 'minute', 'hour', 'day', 'month')),
    hard_limit bigint CHECK (hard_limit >= 0),
    soft_limit bigint CHECK (soft_limit > 0),
    grace bigint NOT NULL DEFAULT 0 CHECK (grace >= 0),
    alerts integer[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, budget_id),
    UNIQUE (tenant_id, set_by, scope, subject, unit, period),
    CHECK (scope <> 'tenant' OR subject = '*'),
    CHECK (coalesce(hard_limit, soft_limit) IS NOT NULL)
);
ALTER TABLE tenantry.budgets ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.budgets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.budgets TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY plan ON tenantry.budgets TO tenantry_operator
    USING (set_by = 'operator') WITH CHECK (set_by = 'operator');

-- A tenant sees the operator's plan and cannot touch it: row-level security knows one policy for
-- a tenant, so a trigger says it.
CREATE FUNCTION tenantry.guard_plan() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_user = 'tenantry_tenant'
       AND ((TG_OP <> 'INSERT' AND OLD.set_by = 'operator')
            OR (TG_OP <> 'DELETE' AND NEW.set_by = 'operator'))
    THEN
        RAISE EXCEPTION 'the plan is the operator''s' USING ERRCODE = '42501';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
REVOKE ALL ON FUNCTION tenantry.guard_plan() FROM PUBLIC;
CREATE TRIGGER plan BEFORE INSERT OR UPDATE OR DELETE ON tenantry.budgets
    FOR EACH ROW EXECUTE FUNCTION tenantry.guard_plan();

CREATE TABLE tenantry.budget_counters (
    tenant_id uuid NOT NULL,
    budget_id uuid NOT NULL,
    subject text NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    used bigint NOT NULL,
    tat_us bigint NOT NULL, -- of a rate: when all that was used will have drained
    PRIMARY KEY (tenant_id, budget_id, subject, window_start),
    FOREIGN KEY (tenant_id, budget_id) REFERENCES tenantry.budgets (tenant_id, budget_id)
        ON DELETE CASCADE
);
ALTER TABLE tenantry.budget_counters ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.budget_counters FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.budget_counters TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));

CREATE TABLE tenantry.budget_leases (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    lease_id uuid NOT NULL,
    replica uuid NOT NULL,
    epoch bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    parts jsonb NOT NULL, -- a list of [budget, subject, window start, granted, told]
    PRIMARY KEY (tenant_id, lease_id)
);
CREATE INDEX budget_leases_by_expiry ON tenantry.budget_leases (expires_at);
ALTER TABLE tenantry.budget_leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.budget_leases FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.budget_leases TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY overdue ON tenantry.budget_leases FOR SELECT TO tenantry_operator USING (true);
CREATE POLICY keeper ON tenantry.budget_leases TO tenantry_owner USING (true) WITH CHECK (true);

CREATE TABLE tenantry.budget_alerts (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    budget_id uuid NOT NULL, -- may be gone by now
    subject text NOT NULL,
    window_start timestamptz NOT NULL,
    mark text NOT NULL, -- 'soft', or a percentage of the limit
    reached_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    amount bigint NOT NULL,
    scope text NOT NULL,
    unit text NOT NULL,
    period text NOT NULL,
    limit_amount bigint NOT NULL,
    PRIMARY KEY (tenant_id, budget_id, subject, window_start, mark)
);
CREATE INDEX budget_alerts_by_time ON tenantry.budget_alerts (tenant_id, reached_at);
ALTER TABLE tenantry.budget_alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.budget_alerts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.budget_alerts TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));

CREATE TABLE tenantry.complexity_weights (
    provider text NOT NULL,
    model text NOT NULL, -- '*' is every model of the provider that has no row of its own
    input integer NOT NULL CHECK (input BETWEEN 0 AND 1000000), -- in thousandths, as all of them
    cached integer NOT NULL CHECK (cached BETWEEN 0 AND 1000000),
    output integer NOT NULL CHECK (output BETWEEN 0 AND 1000000),
    tool_call integer NOT NULL CHECK (tool_call BETWEEN 0 AND 1000000000),
    tool_second integer NOT NULL CHECK (tool_second BETWEEN 0 AND 1000000000),
    PRIMARY KEY (provider, model)
);

GRANT SELECT, UPDATE (epoch) ON tenantry.budget_plans TO tenantry_tenant; -- to lock the row
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.budgets TO tenantry_tenant, tenantry_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.budget_counters, tenantry.budget_leases
    TO tenantry_tenant;
GRANT SELECT, INSERT ON tenantry.budget_alerts TO tenantry_tenant;
GRANT SELECT, INSERT, UPDATE ON tenantry.budget_plans TO tenantry_operator;
GRANT SELECT ON tenantry.budget_leases TO tenantry_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.complexity_weights TO tenantry_operator;

-- Whatever changes a budget ends every lease that was made by the old ones, and tells every
-- process. What those leases hold stays counted until their holders tell what became of it.
CREATE FUNCTION tenantry.tell_budgets() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_tenant uuid := CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
BEGIN
    INSERT INTO tenantry.budget_plans AS p (tenant_id) VALUES (of_tenant)
        ON CONFLICT (tenant_id) DO UPDATE SET epoch = p.epoch + 1;
    UPDATE tenantry.budget_leases AS l SET expires_at = least(l.expires_at, clock_timestamp())
     WHERE l.tenant_id = of_tenant;
    PERFORM pg_notify('tenantry_budgets', of_tenant::text);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION tenantry.tell_budgets() FROM PUBLIC;
CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON tenantry.budgets
    FOR EACH ROW EXECUTE FUNCTION tenantry.tell_budgets();
CREATE FUNCTION tenantry.tell_calendar() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.epoch := OLD.epoch + 1;
    UPDATE tenantry.budget_leases AS l SET expires_at = least(l.expires_at, clock_timestamp())
     WHERE l.tenant_id = NEW.tenant_id;
    PERFORM pg_notify('tenantry_budgets', NEW.tenant_id::text);
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION tenantry.tell_calendar() FROM PUBLIC;
CREATE TRIGGER calendar BEFORE UPDATE OF time_zone ON tenantry.budget_plans
    FOR EACH ROW EXECUTE FUNCTION tenantry.tell_calendar();

-- An intent names the lease it is made under, and the key it is made with.
ALTER TABLE tenantry.usage_events ADD COLUMN lease_id uuid, ADD COLUMN key_id uuid;
CREATE INDEX usage_events_by_lease ON tenantry.usage_events (tenant_id, lease_id)
    WHERE lease_id IS NOT NULL;

-- As in 0026, and the fence: an intent of a tenant with budgets needs a live lease of theirs.
CREATE OR REPLACE FUNCTION tenantry.append_usage(signing_key text, signed json) -- a list of [row, MAC]
    -- outcome of each row, by its place: added, present (the call has it, or is closed, or another
    -- call has its key), refused, fenced (an intent without a live lease of today's budgets)
    RETURNS TABLE (place bigint, outcome text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    inner_block bytea;
    outer_block bytea;
BEGIN
    SELECT k.inner_block, k.outer_block INTO inner_block, outer_block
      FROM tenantry_private.signing_keys AS k
     WHERE k.key_id = signing_key AND k.retired_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'ledger key unknown' USING ERRCODE = 'TC002';
    END IF;
    RETURN QUERY
    WITH given AS MATERIALIZED (
        SELECT g.place, g.body,
               encode(sha256(outer_block || sha256(inner_block || convert_to(g.body, 'UTF8'))), 'hex')
               = g.mac AND left(g.body, 6) = 'usage|' AS genuine
          FROM (SELECT r.pair ->> 0 AS body, r.pair ->> 1 AS mac, r.place
                  FROM json_array_elements(signed) WITH ORDINALITY AS r (pair, place)) AS g
    ), believed AS MATERIALIZED (
        SELECT g.place, substr(g.body, 7, 32)::uuid AS tenant_id, e.*,
               -- Of the same row twice in one group, the first is the one that is added.
               row_number() OVER (PARTITION BY substr(g.body, 7, 32), e.call_id, e.kind, e.part
                                  ORDER BY g.place) AS occurrence
          FROM given AS g
         CROSS JOIN LATERAL json_to_record(substr(g.body, 40)::json) AS e (
               call_id uuid, kind text, part integer, operation text, actor text, request_id text,
               assistant_id uuid, provider text, model text, input_tokens bigint,
               cached_tokens bigint, output_tokens bigint, reasoning_tokens bigint,
               duration_ms bigint, calls smallint, cost_picousd bigint, price_version integer,
               priced boolean, confirmed boolean, lifetime_s double precision, instance bigint,
               upstream_id text, account text, payer text, cache_write_tokens bigint,
               cache_write_1h_tokens bigint, audio_input_tokens bigint,
               audio_output_tokens bigint, image_tokens bigint, request_key text,
               request_digest text, lease_id uuid, key_id uuid)
         WHERE g.genuine
    ), live AS MATERIALIZED (
        -- Held until this commits, so that who reads the ledger for a lease that is over finds
        -- these calls. A lease that somebody is ending is over; waiting for it could lock crosswise.
        SELECT l.tenant_id, l.lease_id, l.epoch
          FROM tenantry.budget_leases AS l
         WHERE (l.tenant_id, l.lease_id) IN (SELECT b.tenant_id, b.lease_id FROM believed AS b
                                              WHERE b.kind = 'intent' AND b.lease_id IS NOT NULL)
           AND l.expires_at > clock_timestamp()
           FOR KEY SHARE SKIP LOCKED
    ), fenced AS MATERIALIZED (
        SELECT b.place
          FROM believed AS b
          JOIN tenantry.budget_plans AS p ON p.tenant_id = b.tenant_id
          LEFT JOIN live AS l ON l.tenant_id = b.tenant_id AND l.lease_id = b.lease_id
                             AND l.epoch = p.epoch
         WHERE b.kind = 'intent' AND l.lease_id IS NULL
    ), added AS (
        INSERT INTO tenantry.usage_events AS u (
            tenant_id, call_id, kind, part, operation, actor, request_id, assistant_id, provider,
            model, input_tokens, cached_tokens, output_tokens, reasoning_tokens, duration_ms,
            calls, cost_picousd, price_version, priced, confirmed, expires_at, instance,
            upstream_id, account, payer, cache_write_tokens, cache_write_1h_tokens,
            audio_input_tokens, audio_output_tokens, image_tokens, request_key, request_digest,
            lease_id, key_id)
        SELECT b.tenant_id, b.call_id, b.kind, b.part, b.operation, b.actor, b.request_id,
               b.assistant_id, b.provider, b.model, b.input_tokens, b.cached_tokens,
               b.output_tokens, b.reasoning_tokens, b.duration_ms, b.calls, b.cost_picousd,
               b.price_version, b.priced, b.confirmed,
               clock_timestamp() + make_interval(secs => b.lifetime_s), b.instance, b.upstream_id,
               b.account, b.payer, b.cache_write_tokens, b.cache_write_1h_tokens, b.audio_input_tokens,
               b.audio_output_tokens, b.image_tokens, b.request_key, b.request_digest,
               b.lease_id, b.key_id
          FROM believed AS b
         WHERE b.place NOT IN (SELECT f.place FROM fenced AS f)
         -- In the order calls are opened, as the sweeper adds them: no two writers wait crosswise.
         ORDER BY b.call_id, b.place
        ON CONFLICT DO NOTHING
        RETURNING u.tenant_id, u.call_id, u.kind, u.part
    )
    SELECT g.place,
           CASE WHEN NOT g.genuine THEN 'refused'
                WHEN f.place IS NOT NULL THEN 'fenced'
                WHEN a.call_id IS NULL OR b.occurrence > 1 THEN 'present'
                ELSE 'added' END
      FROM given AS g
      LEFT JOIN believed AS b ON b.place = g.place
      LEFT JOIN fenced AS f ON f.place = g.place
      LEFT JOIN added AS a ON a.tenant_id = b.tenant_id AND a.call_id = b.call_id
                          AND a.kind = b.kind AND a.part = b.part
     ORDER BY g.place;
END
$$;
