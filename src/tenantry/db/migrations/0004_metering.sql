-- The usage ledger and the price book (COST-1, COST-2, COST-3).
--
-- Append-only: nobody is granted UPDATE or DELETE. Kinds of one call:
--   intent      before the call leaves, with the most it may cost; bills nothing itself
--   progress    while it streams (part 1, 2, …): all that was surely used so far; bills nothing
--   settled     its end, with the provider's figures
--   swept       written for an intent whose process died: what progress shows, unconfirmed
--   recorded    use that needs no intent: tools, embeddings, searches, storage
--   reconciled  what moves an entry to the provider's figures (part 1, 2, …), as in double-entry
--               books: an unconfirmed entry is taken back whole (confirmed = false, calls = -1,
--               negative figures) and entered anew (confirmed = true, calls = 1); a confirmed one
--               gets the difference (calls = 0)
-- Billed = settled + swept + recorded + reconciled, and every total is a plain sum of rows: of
-- `calls`, of tokens, of cost, each also by `confirmed`. A call is closed exactly once, by the
-- index usage_events_closed, and the sum of its `calls` is then 1.
-- Money in pico-dollars (1e-12 USD): tokens x price per million in micro-dollars is exact, with
-- nothing to round.

CREATE TABLE tenantry.usage_events (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    call_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('intent', 'progress', 'settled', 'swept', 'reconciled', 'recorded')),
    part integer NOT NULL DEFAULT 0 CHECK (part >= 0),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    operation text NOT NULL CHECK (operation IN ('chat', 'embedding', 'tool', 'vector_search', 'storage')),
    actor text NOT NULL,
    request_id text NOT NULL DEFAULT '',
    assistant_id uuid,
    provider text NOT NULL,
    model text NOT NULL,
    input_tokens bigint NOT NULL DEFAULT 0,
    cached_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    reasoning_tokens bigint NOT NULL DEFAULT 0,
    duration_ms bigint NOT NULL DEFAULT 0,
    row_count bigint NOT NULL DEFAULT 0,
    size_bytes bigint NOT NULL DEFAULT 0,
    calls smallint NOT NULL DEFAULT 0,
    cost_picousd bigint NOT NULL DEFAULT 0,
    price_version integer NOT NULL,
    priced boolean NOT NULL DEFAULT true, -- false: the price book had no price, so the cost is 0
    confirmed boolean NOT NULL DEFAULT true,
    expires_at timestamptz, -- of an intent: when it may be swept whoever holds it
    instance bigint NOT NULL DEFAULT 0, -- of an intent: advisory lock its process holds; 0 is none
    upstream_id text NOT NULL DEFAULT '', -- the provider's own id of the call
    PRIMARY KEY (tenant_id, call_id, kind, part),
    CHECK (kind = 'reconciled'
           OR least(input_tokens, cached_tokens, output_tokens, reasoning_tokens, duration_ms,
                    row_count, size_bytes, cost_picousd) >= 0),
    CHECK (CASE WHEN kind IN ('settled', 'swept', 'recorded') THEN calls = 1 AND part = 0
                WHEN kind = 'reconciled' THEN calls BETWEEN -1 AND 1 AND part >= 1
                ELSE calls = 0 END),
    CHECK ((kind = 'intent') = (expires_at IS NOT NULL))
);
CREATE UNIQUE INDEX usage_events_closed ON tenantry.usage_events (tenant_id, call_id)
    WHERE kind IN ('settled', 'swept', 'recorded');
CREATE INDEX usage_events_by_time ON tenantry.usage_events (tenant_id, at);
CREATE INDEX usage_events_open ON tenantry.usage_events (expires_at, tenant_id) WHERE kind = 'intent';
CREATE INDEX usage_events_by_call ON tenantry.usage_events (call_id) WHERE kind = 'intent';
CREATE INDEX usage_events_by_upstream ON tenantry.usage_events (upstream_id) WHERE upstream_id <> '';
ALTER TABLE tenantry.usage_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.usage_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.usage_events TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY totals ON tenantry.usage_events FOR SELECT TO tenantry_operator USING (true);
GRANT SELECT, INSERT ON tenantry.usage_events TO tenantry_tenant;
GRANT SELECT ON tenantry.usage_events TO tenantry_operator;

CREATE TABLE tenantry.price_versions (
    price_version integer PRIMARY KEY,
    effective_at timestamptz NOT NULL,
    note text NOT NULL
);
CREATE TABLE tenantry.prices (
    price_version integer NOT NULL REFERENCES tenantry.price_versions (price_version),
    provider text NOT NULL,
    model text NOT NULL, -- '*' is every model of the provider that has no row of its own
    unit text NOT NULL CHECK (unit IN ('input_token', 'cached_token', 'output_token', 'millisecond', 'row', 'byte', 'call')),
    -- The ceiling of 4,000 USD keeps a billion tokens of each kind inside a bigint of pico-dollars.
    microusd_per_million bigint NOT NULL CHECK (microusd_per_million BETWEEN 0 AND 4000000000),
    PRIMARY KEY (price_version, provider, model, unit)
);
GRANT SELECT ON tenantry.price_versions, tenantry.prices TO tenantry_tenant, tenantry_operator;
GRANT INSERT ON tenantry.price_versions, tenantry.prices TO tenantry_operator;

-- A model's price of one unit, 0 where there is none; '*' counts for models without any row.
CREATE FUNCTION tenantry.unit_price(version integer, of_provider text, of_model text, of_unit text)
    RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((
        SELECT p.microusd_per_million FROM tenantry.prices AS p
         WHERE p.price_version = version AND p.provider = of_provider AND p.unit = of_unit
           AND p.model = CASE WHEN EXISTS (SELECT FROM tenantry.prices AS q
                                            WHERE q.price_version = version
                                              AND q.provider = of_provider AND q.model = of_model)
                              THEN of_model ELSE '*' END), 0)
$$;

-- The sweeper: an actor of its own, since it closes calls of every tenant. It can do one thing:
-- add a 'swept', unconfirmed row to a call that has an intent and no end, with figures copied from
-- that call's own rows. It takes no tenant, no call and no figure from its caller.
-- A call is swept when it passed its expiry, or when the process that opened it is gone: a process
-- holds the advisory lock `instance` on a session of its own, which PostgreSQL frees with it.
CREATE TABLE tenantry_private.usage_sweep (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    closed_until timestamptz NOT NULL -- every intent that expired before it is closed
);
INSERT INTO tenantry_private.usage_sweep VALUES (true, '-infinity');
CREATE POLICY sweeper_reads ON tenantry.usage_events FOR SELECT TO tenantry_owner USING (true);
CREATE POLICY sweeper_adds ON tenantry.usage_events FOR INSERT TO tenantry_owner
    WITH CHECK (kind = 'swept' AND NOT confirmed);

CREATE FUNCTION tenantry.sweep_usage(most integer)
    RETURNS TABLE (swept_tenant uuid, swept_call uuid, swept_request text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    began timestamptz;
    since timestamptz;
    gone bigint[];
BEGIN
    -- One sweeper at a time; the next one then sees what this one wrote.
    SELECT closed_until INTO since FROM tenantry_private.usage_sweep FOR UPDATE;
    began := clock_timestamp();
    WITH open_calls AS MATERIALIZED (
        SELECT DISTINCT i.instance
          FROM tenantry.usage_events AS i
         WHERE i.kind = 'intent' AND i.expires_at >= since AND i.instance <> 0
           AND NOT EXISTS (SELECT FROM tenantry.usage_events AS c
                            WHERE c.tenant_id = i.tenant_id AND c.call_id = i.call_id
                              AND c.kind IN ('settled', 'swept', 'recorded'))
    )
    SELECT coalesce(array_agg(o.instance), '{}') INTO gone
      FROM open_calls AS o WHERE pg_try_advisory_xact_lock(o.instance);
    RETURN QUERY
    INSERT INTO tenantry.usage_events AS e (
        tenant_id, call_id, kind, operation, actor, request_id, assistant_id, provider, model,
        input_tokens, cached_tokens, output_tokens, reasoning_tokens, duration_ms, calls,
        cost_picousd, price_version, priced, confirmed, upstream_id)
    SELECT i.tenant_id, i.call_id, 'swept', i.operation, i.actor, i.request_id, i.assistant_id,
           i.provider, i.model, coalesce(p.input_tokens, i.input_tokens),
           coalesce(p.cached_tokens, 0), coalesce(p.output_tokens, 0),
           coalesce(p.reasoning_tokens, 0), coalesce(p.duration_ms, 0), 1,
           -- Without progress the prompt left and nothing came back: its bound is the estimate.
           coalesce(p.cost_picousd,
                    tenantry.unit_price(i.price_version, i.provider, i.model, 'call')
                    + i.input_tokens
                      * tenantry.unit_price(i.price_version, i.provider, i.model, 'input_token')),
           i.price_version, i.priced, false, coalesce(p.upstream_id, '')
      FROM tenantry.usage_events AS i
      LEFT JOIN LATERAL (
          SELECT * FROM tenantry.usage_events AS x
           WHERE x.tenant_id = i.tenant_id AND x.call_id = i.call_id AND x.kind = 'progress'
           ORDER BY x.part DESC LIMIT 1) AS p ON true
     WHERE i.kind = 'intent' AND i.expires_at >= since
       AND (i.expires_at < began OR i.instance = ANY (gone))
       AND NOT EXISTS (SELECT FROM tenantry.usage_events AS c
                        WHERE c.tenant_id = i.tenant_id AND c.call_id = i.call_id
                          AND c.kind IN ('settled', 'swept', 'recorded'))
     -- In the order calls are opened and so settled: two writers never wait for each other.
     ORDER BY i.call_id LIMIT most
    ON CONFLICT DO NOTHING
    RETURNING e.tenant_id, e.call_id, e.request_id;
    IF NOT EXISTS (SELECT FROM tenantry.usage_events AS i
                    WHERE i.kind = 'intent' AND i.expires_at >= since AND i.expires_at < began
                      AND NOT EXISTS (SELECT FROM tenantry.usage_events AS c
                                       WHERE c.tenant_id = i.tenant_id AND c.call_id = i.call_id
                                         AND c.kind IN ('settled', 'swept', 'recorded')))
    THEN
        -- An hour's margin for an intent whose transaction commits long after its expiry was set.
        UPDATE tenantry_private.usage_sweep
           SET closed_until = greatest(since, began - interval '1 hour');
    END IF;
END
$$;

REVOKE ALL ON FUNCTION tenantry.unit_price(integer, text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.sweep_usage(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.sweep_usage(integer) TO tenantry_operator;

-- What a tenant keeps, by kind: run in the tenant's own transaction, so that row-level security
-- decides whose rows are counted. The one place that knows which tables hold content; late-bound,
-- since those tables come with later migrations.
CREATE FUNCTION tenantry.stored_sizes()
    RETURNS TABLE (what text, size_bytes bigint, row_count bigint)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, extensions, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT 'conversations', coalesce(sum(octet_length(m.content) + pg_column_size(m.citations)), 0)::bigint,
           count(*) FROM tenantry.messages AS m
    UNION ALL
    SELECT 'tool_calls', coalesce(sum(pg_column_size(t.arguments)), 0)::bigint, count(*)
      FROM tenantry.tool_calls AS t
    UNION ALL
    SELECT 'documents', coalesce(sum(octet_length(c.content) + octet_length(c.heading)
                                     + pg_column_size(c.terms)), 0)::bigint, count(*)
      FROM tenantry.chunks AS c
    UNION ALL
    SELECT 'vectors', coalesce(sum(pg_column_size(c.embedding)), 0)::bigint, count(*)
      FROM tenantry.chunks AS c
    UNION ALL
    SELECT 'files', coalesce(sum(f.size_bytes), 0)::bigint, count(*) FROM tenantry.data_files AS f
    UNION ALL
    SELECT 'patterns', coalesce(sum(octet_length(p.question) + octet_length(p.sql)
                                    + pg_column_size(p.embedding)), 0)::bigint, count(*)
      FROM tenantry.pattern_versions AS p;
END
$$;
REVOKE ALL ON FUNCTION tenantry.stored_sizes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.stored_sizes() TO tenantry_tenant;
