-- What else is counted and priced of a call (COST-1, COST-3), and the key by which a client says that
-- two requests are one (idempotency).
--
-- Every further count is a part of the tokens it is named after: of the prompt (cache writes, audio,
-- pictures) or of the answer (audio).

ALTER TABLE tenantry.usage_events
    ADD COLUMN cache_write_tokens bigint NOT NULL DEFAULT 0, -- the hour's included
    ADD COLUMN cache_write_1h_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN audio_input_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN audio_output_tokens bigint NOT NULL DEFAULT 0,
    ADD COLUMN image_tokens bigint NOT NULL DEFAULT 0,
    -- Of an intent: digests of the client's key and attempt, and of what it asked; empty is none.
    ADD COLUMN request_key text NOT NULL DEFAULT '',
    ADD COLUMN request_digest text NOT NULL DEFAULT '',
    ADD CHECK (kind = 'reconciled'
               OR least(cache_write_tokens, cache_write_1h_tokens, audio_input_tokens,
                        audio_output_tokens, image_tokens) >= 0),
    ADD CHECK (request_key = '' OR kind = 'intent');

-- A call that is in the ledger is never made twice: its intent does not go in again under its key.
CREATE UNIQUE INDEX usage_events_by_key ON tenantry.usage_events (tenant_id, request_key)
    WHERE request_key <> '';

ALTER TABLE tenantry.prices DROP CONSTRAINT prices_unit_check;
ALTER TABLE tenantry.prices ADD CONSTRAINT prices_unit_check CHECK (unit IN (
    'input_token', 'cached_token', 'cache_write_token', 'cache_write_1h_token',
    'audio_input_token', 'image_token', 'output_token', 'reasoning_token', 'audio_output_token',
    'millisecond', 'row', 'byte', 'call'));

-- As in 0022, with the new columns carried along.
CREATE OR REPLACE FUNCTION tenantry.sweep_usage(most integer)
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
        cost_picousd, price_version, priced, confirmed, upstream_id, account, payer,
        cache_write_tokens, cache_write_1h_tokens, audio_input_tokens, audio_output_tokens,
        image_tokens)
    SELECT i.tenant_id, i.call_id, 'swept', i.operation, i.actor, i.request_id, i.assistant_id,
           i.provider, i.model, coalesce(p.input_tokens, i.input_tokens),
           coalesce(p.cached_tokens, 0), coalesce(p.output_tokens, 0),
           coalesce(p.reasoning_tokens, 0), coalesce(p.duration_ms, 0), 1,
           -- Without progress the prompt left and nothing came back: its bound is the estimate.
           CASE WHEN i.payer = 'tenant' THEN 0 ELSE
           coalesce(p.cost_picousd,
                    tenantry.unit_price(i.price_version, i.provider, i.model, 'call')
                    + i.input_tokens
                      * tenantry.unit_price(i.price_version, i.provider, i.model, 'input_token'))
           END,
           i.price_version, i.priced, false, coalesce(p.upstream_id, ''), i.account, i.payer,
           coalesce(p.cache_write_tokens, 0), coalesce(p.cache_write_1h_tokens, 0),
           coalesce(p.audio_input_tokens, 0), coalesce(p.audio_output_tokens, 0),
           coalesce(p.image_tokens, 0)
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

CREATE OR REPLACE FUNCTION tenantry.append_usage(signing_key text, signed json) -- a list of [row, MAC]
    -- outcome of each row, by its place: added, present (the call has it, or is closed, or another
    -- call has its key), refused
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
               request_digest text)
         WHERE g.genuine
    ), added AS (
        INSERT INTO tenantry.usage_events AS u (
            tenant_id, call_id, kind, part, operation, actor, request_id, assistant_id, provider,
            model, input_tokens, cached_tokens, output_tokens, reasoning_tokens, duration_ms,
            calls, cost_picousd, price_version, priced, confirmed, expires_at, instance,
            upstream_id, account, payer, cache_write_tokens, cache_write_1h_tokens,
            audio_input_tokens, audio_output_tokens, image_tokens, request_key, request_digest)
        SELECT b.tenant_id, b.call_id, b.kind, b.part, b.operation, b.actor, b.request_id,
               b.assistant_id, b.provider, b.model, b.input_tokens, b.cached_tokens,
               b.output_tokens, b.reasoning_tokens, b.duration_ms, b.calls, b.cost_picousd,
               b.price_version, b.priced, b.confirmed,
               clock_timestamp() + make_interval(secs => b.lifetime_s), b.instance, b.upstream_id,
               b.account, b.payer, b.cache_write_tokens, b.cache_write_1h_tokens, b.audio_input_tokens,
               b.audio_output_tokens, b.image_tokens, b.request_key, b.request_digest
          FROM believed AS b
         -- In the order calls are opened, as the sweeper adds them: no two writers wait crosswise.
         ORDER BY b.call_id, b.place
        ON CONFLICT DO NOTHING
        RETURNING u.tenant_id, u.call_id, u.kind, u.part
    )
    SELECT g.place,
           CASE WHEN NOT g.genuine THEN 'refused'
                WHEN a.call_id IS NULL OR b.occurrence > 1 THEN 'present'
                ELSE 'added' END
      FROM given AS g
      LEFT JOIN believed AS b ON b.place = g.place
      LEFT JOIN added AS a ON a.tenant_id = b.tenant_id AND a.call_id = b.call_id
                          AND a.kind = b.kind AND a.part = b.part
     ORDER BY g.place;
END
$$;
