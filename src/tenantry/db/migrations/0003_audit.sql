-- The append-only, hash-chained audit log (SEC-4): a chain per tenant and a chain of heads.
--
-- Only tenantry_audit may append, and only through append_audit(): it holds no INSERT of its own,
-- so that not even the server can write an event that is not chained. Entries of no tenant
-- (operators, failed sign-ins) belong to the nil tenant, which no context can be made for.

CREATE TABLE tenantry.audit_events (
    tenant_id uuid NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('allowed', 'refused', 'failed')),
    layer text NOT NULL,
    target_digest text NOT NULL,
    detail jsonb NOT NULL,
    request_id text NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);
ALTER TABLE tenantry.audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.audit_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.audit_events TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY chain ON tenantry.audit_events TO tenantry_owner USING (true) WITH CHECK (true);
CREATE POLICY verify ON tenantry.audit_events FOR SELECT TO tenantry_audit USING (true);
GRANT SELECT ON tenantry.audit_events TO tenantry_tenant, tenantry_audit;

CREATE TABLE tenantry.audit_heads (
    tenant_id uuid PRIMARY KEY,
    seq bigint NOT NULL,
    hash bytea NOT NULL
);
ALTER TABLE tenantry.audit_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.audit_heads FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.audit_heads TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY chain ON tenantry.audit_heads TO tenantry_owner USING (true) WITH CHECK (true);
CREATE POLICY verify ON tenantry.audit_heads FOR SELECT TO tenantry_audit USING (true);
GRANT SELECT ON tenantry.audit_heads TO tenantry_audit;

-- Chain of heads: each anchor repeats the heads that moved since the one before, so that cutting
-- the end off a tenant's chain contradicts an anchor.
CREATE TABLE tenantry_private.audit_anchors (
    anchor bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    heads jsonb NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL
);

-- The bytes that are hashed; jsonb_build_array is canonical within a major version and escapes
-- every separator that a field may contain.
CREATE FUNCTION tenantry.audit_bytes(
    tenant uuid, seq bigint, at timestamptz, actor text, action text, outcome text, layer text,
    target_digest text, detail jsonb, request_id text
) RETURNS bytea
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT convert_to(jsonb_build_array(
        tenant, seq, extract(epoch FROM at), actor, action, outcome, layer, target_digest, detail,
        request_id)::text, 'UTF8')
$$;

CREATE FUNCTION tenantry.append_audit(
    tenant uuid, actor text, action text, outcome text, layer text, target_digest text,
    detail jsonb, request_id text
) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head tenantry.audit_heads%ROWTYPE;
    moment timestamptz;
    link bytea;
BEGIN
    INSERT INTO tenantry.audit_heads AS h (tenant_id, seq, hash)
         VALUES (tenant, 0, sha256(convert_to(tenant::text, 'UTF8')))
    ON CONFLICT (tenant_id) DO NOTHING;
    SELECT * INTO head FROM tenantry.audit_heads WHERE tenant_id = tenant FOR UPDATE;
    moment := clock_timestamp();
    link := sha256(head.hash || tenantry.audit_bytes(tenant, head.seq + 1, moment, actor, action,
                   outcome, layer, target_digest, detail, request_id));
    INSERT INTO tenantry.audit_events
         VALUES (tenant, head.seq + 1, moment, actor, action, outcome, layer, target_digest,
                 detail, request_id, head.hash, link);
    UPDATE tenantry.audit_heads SET seq = head.seq + 1, hash = link WHERE tenant_id = tenant;
    RETURN head.seq + 1;
END
$$;

CREATE FUNCTION tenantry.anchor_audit() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last tenantry_private.audit_anchors%ROWTYPE;
    moved jsonb;
    moment timestamptz := clock_timestamp();
BEGIN
    PERFORM pg_advisory_xact_lock(7223410001);
    SELECT * INTO last FROM tenantry_private.audit_anchors ORDER BY anchor DESC LIMIT 1;
    SELECT jsonb_object_agg(h.tenant_id, jsonb_build_array(h.seq, encode(h.hash, 'hex'))) INTO moved
      FROM tenantry.audit_heads AS h
     -- An event takes its time before it commits, so it may be older than an anchor that could not
     -- see it: look back further than an append can last, and leave out what is anchored already.
     WHERE EXISTS (SELECT FROM tenantry.audit_events AS e
                    WHERE e.tenant_id = h.tenant_id AND e.seq = h.seq
                      AND e.at > coalesce(last.at, '-infinity') - interval '2 minutes')
       AND NOT EXISTS (SELECT FROM tenantry_private.audit_anchors AS a
                        WHERE a.anchor > last.anchor - 1000 AND a.at > last.at - interval '4 minutes'
                          AND (a.heads -> h.tenant_id::text ->> 0)::bigint = h.seq);
    IF moved IS NULL THEN
        RETURN coalesce(last.anchor, 0);
    END IF;
    INSERT INTO tenantry_private.audit_anchors
         VALUES (coalesce(last.anchor, 0) + 1, moment, moved, coalesce(last.hash, ''::bytea),
                 sha256(coalesce(last.hash, ''::bytea)
                        || convert_to(jsonb_build_array(extract(epoch FROM moment), moved)::text, 'UTF8')));
    RETURN coalesce(last.anchor, 0) + 1;
END
$$;

-- Every link that does not fit: an edited, removed, inserted or reordered event, a moved head,
-- a chain cut before an anchor, a broken chain of heads. No row means the log is whole.
CREATE FUNCTION tenantry.verify_audit() RETURNS TABLE (tenant_id uuid, seq bigint, problem text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH linked AS (
        SELECT e.*,
               lag(e.seq, 1, 0::bigint) OVER chain AS previous_seq,
               lag(e.hash, 1, sha256(convert_to(e.tenant_id::text, 'UTF8'))) OVER chain AS expected
          FROM tenantry.audit_events AS e
        WINDOW chain AS (PARTITION BY e.tenant_id ORDER BY e.seq)
    )
    SELECT l.tenant_id, l.seq, 'link broken' FROM linked AS l
     WHERE l.seq <> l.previous_seq + 1
        OR l.previous_hash <> l.expected
        OR l.hash <> sha256(l.previous_hash || tenantry.audit_bytes(l.tenant_id, l.seq, l.at,
               l.actor, l.action, l.outcome, l.layer, l.target_digest, l.detail, l.request_id))
    UNION ALL
    SELECT h.tenant_id, h.seq, 'head does not match the last event'
      FROM tenantry.audit_heads AS h
      LEFT JOIN tenantry.audit_events AS e ON e.tenant_id = h.tenant_id AND e.seq = h.seq
     WHERE e.hash IS DISTINCT FROM h.hash
    UNION ALL
    SELECT e.tenant_id, max(e.seq), 'events without a head or after it'
      FROM tenantry.audit_events AS e
      LEFT JOIN tenantry.audit_heads AS h ON h.tenant_id = e.tenant_id
     GROUP BY e.tenant_id, h.seq HAVING max(e.seq) IS DISTINCT FROM h.seq
    UNION ALL
    SELECT (head.key)::uuid, (head.value ->> 0)::bigint, 'event recorded by an anchor is gone or changed'
      FROM tenantry_private.audit_anchors AS a
     CROSS JOIN jsonb_each(a.heads) AS head
      LEFT JOIN tenantry.audit_events AS e
             ON e.tenant_id = (head.key)::uuid AND e.seq = (head.value ->> 0)::bigint
     WHERE encode(e.hash, 'hex') IS DISTINCT FROM (head.value ->> 1)
    UNION ALL
    SELECT '00000000-0000-0000-0000-000000000000'::uuid, a.anchor, 'anchor broken'
      FROM (SELECT x.*, lag(x.hash, 1, ''::bytea) OVER (ORDER BY x.anchor) AS expected,
                   lag(x.anchor, 1, 0::bigint) OVER (ORDER BY x.anchor) AS previous_anchor
              FROM tenantry_private.audit_anchors AS x) AS a
     WHERE a.previous_hash <> a.expected OR a.anchor <> a.previous_anchor + 1
        OR a.hash <> sha256(a.previous_hash
               || convert_to(jsonb_build_array(extract(epoch FROM a.at), a.heads)::text, 'UTF8'))
$$;

REVOKE ALL ON FUNCTION tenantry.audit_bytes(uuid, bigint, timestamptz, text, text, text, text, text, jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.append_audit(uuid, text, text, text, text, text, jsonb, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.anchor_audit() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.verify_audit() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.append_audit(uuid, text, text, text, text, text, jsonb, text) TO tenantry_audit;
GRANT EXECUTE ON FUNCTION tenantry.anchor_audit() TO tenantry_audit;
GRANT EXECUTE ON FUNCTION tenantry.verify_audit() TO tenantry_audit;
