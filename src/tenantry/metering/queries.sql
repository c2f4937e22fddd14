-- The ledger and the price book: tenantry.usage_events, tenantry.price_versions, tenantry.prices.
-- Costs are in pico-USD (1e-12 USD); times in UTC.

-- name: append_event
-- Rows: none. Touches 0 rows when the call has this row already, or is closed already.
-- An intent's expiry is counted by the database's clock alone, which the sweeper reads too.
INSERT INTO tenantry.usage_events (
    tenant_id, call_id, kind, part, operation, actor, request_id, assistant_id, provider, model,
    input_tokens, cached_tokens, output_tokens, reasoning_tokens, duration_ms, row_count,
    size_bytes, calls, cost_picousd, price_version, priced, confirmed, expires_at, instance,
    upstream_id, connector_id, account, payer, cache_write_tokens, cache_write_1h_tokens,
    audio_input_tokens, audio_output_tokens, image_tokens)
VALUES (
    %(tenant)s, %(call_id)s, %(kind)s, %(part)s, %(operation)s, %(actor)s, %(request_id)s,
    %(assistant_id)s, %(provider)s, %(model)s, %(input_tokens)s, %(cached_tokens)s,
    %(output_tokens)s, %(reasoning_tokens)s, %(duration_ms)s, %(row_count)s, %(size_bytes)s,
    %(calls)s, %(cost_picousd)s, %(price_version)s, %(priced)s, %(confirmed)s,
    clock_timestamp() + make_interval(secs => %(lifetime_s)s::double precision), %(instance)s,
    %(upstream_id)s, %(connector_id)s, %(account)s, %(payer)s,
    %(cache_write_tokens)s, %(cache_write_1h_tokens)s, %(audio_input_tokens)s,
    %(audio_output_tokens)s, %(image_tokens)s)
ON CONFLICT DO NOTHING

-- name: append_usage
-- Rows: outcome of each signed row, in their order. Role: tenantry_ledger.
SELECT outcome FROM tenantry.append_usage(%(key)s, %(rows)s::json) ORDER BY place

-- name: call_by_key
-- In one tenant. Rows: at most one, the call with this key; `ended` is how it was closed, NULL while
-- it is open, and `unused` whether it is settled with nothing used.
SELECT i.call_id, i.request_digest, c.kind AS ended,
       coalesce(c.kind = 'settled' AND c.confirmed AND c.input_tokens + c.output_tokens = 0, false)
           AS unused
  FROM tenantry.usage_events AS i
  LEFT JOIN tenantry.usage_events AS c
         ON c.tenant_id = i.tenant_id AND c.call_id = i.call_id
        AND c.kind IN ('settled', 'swept', 'recorded')
 WHERE i.request_key = %(request_key)s AND i.kind = 'intent'

-- name: closed_call
-- Rows: at most one, the sums of a closed call; `unconfirmed` is 1 while no provider confirmed it.
SELECT c.operation, c.actor, c.request_id, c.assistant_id, c.provider, c.model, c.price_version,
       c.priced, c.upstream_id, c.account, c.payer, s.*
  FROM tenantry.usage_events AS c
 CROSS JOIN LATERAL (
     SELECT sum(r.input_tokens) AS input_tokens, sum(r.cached_tokens) AS cached_tokens,
            sum(r.output_tokens) AS output_tokens, sum(r.reasoning_tokens) AS reasoning_tokens,
            sum(r.cache_write_tokens) AS cache_write_tokens,
            sum(r.cache_write_1h_tokens) AS cache_write_1h_tokens,
            sum(r.audio_input_tokens) AS audio_input_tokens,
            sum(r.audio_output_tokens) AS audio_output_tokens,
            sum(r.image_tokens) AS image_tokens,
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

-- name: lock_price_book
-- Rows: none of use. Held until the transaction ends: versions are numbered one by one.
SELECT pg_advisory_xact_lock(7223410004)

-- name: price_versions
-- Rows: price_version, effective_at, note; oldest first.
SELECT price_version, effective_at, note FROM tenantry.price_versions ORDER BY price_version

-- name: add_price_version
-- Rows: the number of the new version.
INSERT INTO tenantry.price_versions (price_version, effective_at, note)
SELECT coalesce(max(price_version), 0) + 1, %(effective_at)s, %(note)s FROM tenantry.price_versions
RETURNING price_version

-- name: add_price
INSERT INTO tenantry.prices (price_version, provider, model, unit, microusd_per_million)
VALUES (%(price_version)s, %(provider)s, %(model)s, %(unit)s, %(microusd_per_million)s)

-- name: hold_instance
-- Rows: true when the lock is held, for as long as this session lives.
SELECT pg_try_advisory_lock(%(instance)s)

-- name: probe
SELECT 1

-- name: sweep_usage
-- Rows: swept_tenant, swept_call, swept_request; fewer than `most` when nothing is left.
SELECT swept_tenant, swept_call, swept_request FROM tenantry.sweep_usage(%(most)s)

-- name: stored_sizes
-- Rows: what, size_bytes, row_count; one of each kind of content, of this tenant.
SELECT what, size_bytes, row_count FROM tenantry.stored_sizes()

-- name: usage_by
-- Rows: key, operation, payer and sums, in no order. Billed rows only: intents and progress announce.
-- By tool and connector it is the tools alone; by anything else every row is in one of the sums.
-- By tenant it serves the operator's role, which sees usage and no content.
SELECT CASE %(dimension)s::text
            WHEN 'day' THEN to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
            WHEN 'model' THEN e.provider || '/' || e.model
            WHEN 'tool' THEN e.model
            WHEN 'connector' THEN e.connector_id::text
            WHEN 'assistant' THEN coalesce(e.assistant_id::text, '')
            WHEN 'member' THEN e.actor
            WHEN 'account' THEN e.account
            WHEN 'tenant' THEN e.tenant_id::text
       END AS key,
       e.operation, e.payer,
       sum(e.calls) AS calls, sum(e.input_tokens) AS input_tokens,
       sum(e.cached_tokens) AS cached_tokens, sum(e.output_tokens) AS output_tokens,
       sum(e.reasoning_tokens) AS reasoning_tokens, sum(e.duration_ms) AS duration_ms,
       sum(e.row_count) AS row_count, sum(e.size_bytes) AS size_bytes,
       sum(e.cost_picousd) AS cost_picousd,
       coalesce(sum(e.calls) FILTER (WHERE NOT e.confirmed), 0) AS unconfirmed_calls,
       coalesce(sum(e.cost_picousd) FILTER (WHERE NOT e.confirmed), 0) AS unconfirmed_picousd,
       coalesce(sum(e.calls) FILTER (WHERE NOT e.priced), 0) AS unpriced_calls,
       coalesce(sum(e.calls) FILTER (WHERE e.payer = 'tenant'), 0) AS tenant_paid_calls
  FROM tenantry.usage_events AS e
 WHERE e.at >= %(since)s AND e.at < %(until)s
   AND e.kind IN ('settled', 'swept', 'recorded', 'reconciled')
   AND CASE %(dimension)s::text
            WHEN 'tool' THEN e.operation = 'tool'
            WHEN 'connector' THEN e.connector_id IS NOT NULL
            ELSE true END
 GROUP BY 1, 2, 3

-- name: usage_reserved
-- Rows: exactly one: calls under way and the most they may cost. The hour is the sweeper's margin;
-- now() rather than clock_timestamp(), which no index could serve.
SELECT count(*) AS calls, coalesce(sum(i.cost_picousd), 0) AS cost_picousd
  FROM tenantry.usage_events AS i
 WHERE i.kind = 'intent' AND i.expires_at > now() - interval '1 hour'
   AND NOT EXISTS (SELECT FROM tenantry.usage_events AS c
                    WHERE c.tenant_id = i.tenant_id AND c.call_id = i.call_id
                      AND c.kind IN ('settled', 'swept', 'recorded'))

-- name: usage_events
-- Rows: ledger rows of every kind, newest first, from after the given key.
SELECT e.call_id, e.kind, e.part, e.at, e.operation, e.actor, e.request_id, e.assistant_id,
       e.provider, e.model, e.input_tokens, e.cached_tokens, e.output_tokens, e.reasoning_tokens,
       e.duration_ms, e.row_count, e.size_bytes, e.calls, e.cost_picousd, e.price_version,
       e.priced, e.confirmed, e.upstream_id, e.connector_id, e.account, e.payer,
       e.cache_write_tokens, e.cache_write_1h_tokens, e.audio_input_tokens, e.audio_output_tokens,
       e.image_tokens
  FROM tenantry.usage_events AS e
 WHERE e.at >= %(since)s AND e.at < %(until)s
   AND (%(at)s::timestamptz IS NULL
        OR (e.at, e.call_id, e.kind, e.part)
           < (%(at)s::timestamptz, %(call_id)s::uuid, %(kind)s::text, %(part)s::integer))
   AND (%(at)s::timestamptz IS NULL OR e.at <= %(at)s::timestamptz)
 ORDER BY e.at DESC, e.call_id DESC, e.kind DESC, e.part DESC
 LIMIT %(most)s

-- name: find_calls
-- In one tenant. Rows: given (the id asked for) and call_id; several when an id is ambiguous.
SELECT DISTINCT e.call_id::text AS given, e.call_id
  FROM tenantry.usage_events AS e WHERE e.call_id = ANY (%(ids)s::uuid[]) AND e.kind <> 'recorded'
UNION
SELECT DISTINCT e.upstream_id, e.call_id
  FROM tenantry.usage_events AS e WHERE e.upstream_id = ANY (%(upstream)s::text[]) AND e.upstream_id <> ''

-- name: locate_calls
-- For the operator's role. Rows: given, tenant_id and call_id; several when an id is ambiguous.
SELECT DISTINCT e.call_id::text AS given, e.tenant_id, e.call_id
  FROM tenantry.usage_events AS e WHERE e.call_id = ANY (%(ids)s::uuid[]) AND e.kind = 'intent'
UNION
SELECT DISTINCT e.upstream_id, e.tenant_id, e.call_id
  FROM tenantry.usage_events AS e WHERE e.upstream_id = ANY (%(upstream)s::text[]) AND e.upstream_id <> ''

-- name: unseen_calls
-- For the operator's role. Rows: closed calls of the platform's account in a period that none of
-- the given ids is of; `confirmed` when a provider's own figures stand, and are not nothing.
SELECT i.tenant_id, i.call_id, c.upstream_id, s.unconfirmed = 0 AS confirmed
  FROM tenantry.usage_events AS i
  JOIN tenantry.usage_events AS c
    ON c.tenant_id = i.tenant_id AND c.call_id = i.call_id AND c.kind IN ('settled', 'swept')
 CROSS JOIN LATERAL (
     SELECT coalesce(sum(r.calls) FILTER (WHERE NOT r.confirmed), 0) AS unconfirmed,
            sum(r.input_tokens + r.output_tokens) AS tokens
       FROM tenantry.usage_events AS r
      WHERE r.tenant_id = i.tenant_id AND r.call_id = i.call_id
        AND r.kind IN ('settled', 'swept', 'reconciled')) AS s
 WHERE i.kind = 'intent' AND i.at >= %(since)s AND i.at < %(until)s
   AND i.account = %(account)s AND i.payer = 'platform'
   AND i.call_id <> ALL (%(ids)s::uuid[])
   AND (c.upstream_id = '' OR c.upstream_id <> ALL (%(upstream)s::text[]))
   AND (s.unconfirmed > 0 OR s.tokens > 0)
 ORDER BY i.call_id

-- name: calls_of_lease
-- Rows: what the calls of a lease used, by who asked whom; `open` counts those that have not ended.
-- A settled call counts as it is settled; one that was swept as the most it could use.
SELECT i.actor, i.key_id, i.assistant_id, i.provider, i.model,
       count(*) FILTER (WHERE c.call_id IS NULL) AS open, count(*) AS calls,
       sum(CASE c.kind WHEN 'settled' THEN c.input_tokens ELSE i.input_tokens END)
           AS input_tokens,
       sum(CASE c.kind WHEN 'settled' THEN c.cached_tokens ELSE 0 END) AS cached_tokens,
       sum(CASE c.kind WHEN 'settled' THEN c.output_tokens ELSE i.output_tokens END)
           AS output_tokens,
       sum(CASE c.kind WHEN 'settled' THEN c.cost_picousd ELSE i.cost_picousd END)
           AS cost_picousd
  FROM tenantry.usage_events AS i
  LEFT JOIN tenantry.usage_events AS c
         ON c.tenant_id = i.tenant_id AND c.call_id = i.call_id
            AND c.kind IN ('settled', 'swept', 'recorded')
 WHERE i.tenant_id = %(tenant)s AND i.lease_id = %(lease_id)s AND i.kind = 'intent'
 GROUP BY i.actor, i.key_id, i.assistant_id, i.provider, i.model
