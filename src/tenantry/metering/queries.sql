-- The ledger and the price book: tenantry.usage_events, tenantry.price_versions, tenantry.prices.
-- Costs are in pico-USD (1e-12 USD); times in UTC.

-- name: append_event
-- Rows: none. Touches 0 rows when the call has this row already, or is closed already.
-- An intent's expiry is counted by the database's clock alone, which the sweeper reads too.
INSERT INTO tenantry.usage_events (
    tenant_id, call_id, kind, part, operation, actor, request_id, assistant_id, provider, model,
    input_tokens, cached_tokens, output_tokens, reasoning_tokens, duration_ms, row_count,
    size_bytes, calls, cost_picousd, price_version, priced, confirmed, expires_at, instance,
    upstream_id)
VALUES (
    %(tenant)s, %(call_id)s, %(kind)s, %(part)s, %(operation)s, %(actor)s, %(request_id)s,
    %(assistant_id)s, %(provider)s, %(model)s, %(input_tokens)s, %(cached_tokens)s,
    %(output_tokens)s, %(reasoning_tokens)s, %(duration_ms)s, %(row_count)s, %(size_bytes)s,
    %(calls)s, %(cost_picousd)s, %(price_version)s, %(priced)s, %(confirmed)s,
    clock_timestamp() + make_interval(secs => %(lifetime_s)s::double precision), %(instance)s,
    %(upstream_id)s)
ON CONFLICT DO NOTHING

-- name: closed_call
-- Rows: at most one, the sums of a closed call; `unconfirmed` is 1 while no provider confirmed it.
SELECT c.operation, c.actor, c.request_id, c.assistant_id, c.provider, c.model, c.price_version,
       c.priced, c.upstream_id, s.*
  FROM tenantry.usage_events AS c
 CROSS JOIN LATERAL (
     SELECT sum(r.input_tokens) AS input_tokens, sum(r.cached_tokens) AS cached_tokens,
            sum(r.output_tokens) AS output_tokens, sum(r.reasoning_tokens) AS reasoning_tokens,
            sum(r.duration_ms) AS duration_ms, sum(r.row_count) AS row_count,
            sum(r.size_bytes) AS size_bytes, sum(r.cost_picousd) AS cost_picousd,
            coalesce(sum(r.calls) FILTER (WHERE NOT r.confirmed), 0) AS unconfirmed,
            coalesce(max(r.part) FILTER (WHERE r.kind = 'reconciled'), 0) + 1 AS next_part
       FROM tenantry.usage_events AS r
      WHERE r.tenant_id = c.tenant_id AND r.call_id = c.call_id
        AND r.kind IN ('settled', 'swept', 'recorded', 'reconciled')) AS s
 WHERE c.call_id = %(call_id)s AND c.kind IN ('settled', 'swept', 'recorded')

-- name: new_prices
-- Rows: price_version, effective_at, and a price of it; a version without prices has one row
-- with NULLs.
SELECT v.price_version, v.effective_at, p.provider, p.model, p.unit, p.microusd_per_million
  FROM tenantry.price_versions AS v
  LEFT JOIN tenantry.prices AS p ON p.price_version = v.price_version
 WHERE v.price_version <> ALL (%(known)s::integer[])
 ORDER BY v.price_version
