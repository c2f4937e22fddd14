-- The ledger's writer (COST-1, COST-3): rows of many tenants in one commit, by an actor of its own.
--
-- A group crosses tenants, so it cannot run in one tenant's context. The role tenantry_ledger may
-- call one function and nothing else, and no row is believed for being in the group: each is a
-- text with a MAC that was made with a verified context of the row's own tenant
-- (`isolation.signing.ContextSigner.row`). A row whose MAC does not fit is left out and told.
--
-- Row: 'usage|' tenant, hex | '|' JSON of the row. MAC = HMAC-SHA256 over it, in hex.

CREATE POLICY writer_adds ON tenantry.usage_events FOR INSERT TO tenantry_owner
    WITH CHECK (kind IN ('intent', 'progress', 'settled'));

CREATE FUNCTION tenantry.append_usage(signing_key text, signed json) -- a list of [row, MAC]
    -- outcome of each row, by its place: added, present (the call has it, or is closed), refused
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
               upstream_id text)
         WHERE g.genuine
    ), added AS (
        INSERT INTO tenantry.usage_events AS u (
            tenant_id, call_id, kind, part, operation, actor, request_id, assistant_id, provider,
            model, input_tokens, cached_tokens, output_tokens, reasoning_tokens, duration_ms,
            calls, cost_picousd, price_version, priced, confirmed, expires_at, instance,
            upstream_id)
        SELECT b.tenant_id, b.call_id, b.kind, b.part, b.operation, b.actor, b.request_id,
               b.assistant_id, b.provider, b.model, b.input_tokens, b.cached_tokens,
               b.output_tokens, b.reasoning_tokens, b.duration_ms, b.calls, b.cost_picousd,
               b.price_version, b.priced, b.confirmed,
               clock_timestamp() + make_interval(secs => b.lifetime_s), b.instance, b.upstream_id
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

-- Events of many tenants in one commit; each chain is linked as append_audit() links it. In one
-- order of tenants, so that two writers never wait for each other crosswise.
CREATE FUNCTION tenantry.append_audits(events json) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM tenantry.append_audit(e.tenant, e.actor, e.action, e.outcome, e.layer, e.target_digest,
                                  e.detail, e.request_id)
       FROM (SELECT r.*
               FROM json_array_elements(events) WITH ORDINALITY AS g (event, place)
              CROSS JOIN LATERAL json_to_record(g.event) AS r (
                    tenant uuid, actor text, action text, outcome text, layer text,
                    target_digest text, detail jsonb, request_id text)
              ORDER BY r.tenant, g.place) AS e;
END
$$;

REVOKE ALL ON FUNCTION tenantry.append_usage(text, json) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.append_audits(json) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.append_audit(uuid, text, text, text, text, text, jsonb, text)
    FROM tenantry_audit; -- it goes by groups now
GRANT USAGE ON SCHEMA tenantry TO tenantry_ledger;
GRANT EXECUTE ON FUNCTION tenantry.append_usage(text, json) TO tenantry_ledger;
GRANT EXECUTE ON FUNCTION tenantry.append_audits(json) TO tenantry_audit;
