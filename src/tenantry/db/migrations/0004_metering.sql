-- The usage ledger and the price book (COST-1, COST-2, COST-3).
--
-- Append-only: nobody is granted UPDATE or DELETE. Kinds of one call:
--   intent      before the call leaves, with the most it may cost; costs nothing itself
--   progress    while it streams (part 1, 2, …): what is surely produced so far
--   settled     its end, with the provider's figures
--   swept       written for an intent whose process died: what progress shows, unconfirmed
--   reconciled  the difference to the provider's own report (part 1, 2, …)
--   recorded    use that needs no intent: tools, embeddings, searches, storage
-- Billed = settled + swept + reconciled + recorded. Money in pico-dollars (1e-12 USD): tokens x
-- price per million in micro-dollars is then exact, with nothing to round.

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
    cost_picousd bigint NOT NULL DEFAULT 0,
    price_version integer NOT NULL,
    confirmed boolean NOT NULL DEFAULT true,
    expires_at timestamptz,
    upstream_id text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, call_id, kind, part),
    CHECK (kind IN ('intent', 'progress', 'reconciled') OR (input_tokens >= 0 AND output_tokens >= 0)),
    CHECK (kind <> 'intent' OR expires_at IS NOT NULL)
);
CREATE INDEX usage_events_by_time ON tenantry.usage_events (tenant_id, at);
CREATE INDEX usage_events_open ON tenantry.usage_events (expires_at) WHERE kind = 'intent';
ALTER TABLE tenantry.usage_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.usage_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.usage_events TO tenantry_app
    USING ((SELECT tenantry.context_present()) AND tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY totals ON tenantry.usage_events FOR SELECT TO tenantry_operator USING (true);
GRANT SELECT, INSERT ON tenantry.usage_events TO tenantry_app;
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
    microusd_per_million bigint NOT NULL CHECK (microusd_per_million >= 0),
    PRIMARY KEY (price_version, provider, model, unit)
);
GRANT SELECT ON tenantry.price_versions, tenantry.prices TO tenantry_app, tenantry_operator;
GRANT INSERT ON tenantry.price_versions, tenantry.prices TO tenantry_operator;
