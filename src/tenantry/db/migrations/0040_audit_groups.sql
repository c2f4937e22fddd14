-- A group of audit events (SEC-4): each tenant's head is locked and moved once, not once an event.
--
-- The links are those that append_audit() would make, one after the other. With many events of one
-- tenant in a group, a head that moves with each of them leaves as many dead versions, and every
-- look at it has to pass them all.

CREATE OR REPLACE FUNCTION tenantry.append_audits(events json) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head tenantry.audit_heads%ROWTYPE;
    moment timestamptz;
    link bytea;
    e record;
BEGIN
    -- In one order of tenants, so that two writers never wait for each other crosswise.
    FOR e IN SELECT r.*
               FROM json_array_elements(events) WITH ORDINALITY AS g (event, place)
              CROSS JOIN LATERAL json_to_record(g.event) AS r (
                    tenant uuid, actor text, action text, outcome text, layer text,
                    target_digest text, detail jsonb, request_id text)
              ORDER BY r.tenant, g.place
    LOOP
        IF head.tenant_id IS DISTINCT FROM e.tenant THEN
            UPDATE tenantry.audit_heads AS h SET seq = head.seq, hash = head.hash
             WHERE h.tenant_id = head.tenant_id;
            INSERT INTO tenantry.audit_heads AS h (tenant_id, seq, hash)
                 VALUES (e.tenant, 0, sha256(convert_to(e.tenant::text, 'UTF8')))
            ON CONFLICT (tenant_id) DO NOTHING;
            SELECT * INTO head FROM tenantry.audit_heads AS h WHERE h.tenant_id = e.tenant
               FOR UPDATE;
        END IF;
        moment := clock_timestamp();
        link := sha256(head.hash || tenantry.audit_bytes(
                e.tenant, head.seq + 1, moment, e.actor, e.action, e.outcome, e.layer,
                e.target_digest, e.detail, e.request_id));
        INSERT INTO tenantry.audit_events
             VALUES (e.tenant, head.seq + 1, moment, e.actor, e.action, e.outcome, e.layer,
                     e.target_digest, e.detail, e.request_id, head.hash, link);
        head.seq := head.seq + 1;
        head.hash := link;
    END LOOP;
    UPDATE tenantry.audit_heads AS h SET seq = head.seq, hash = head.hash
     WHERE h.tenant_id = head.tenant_id;
END
$$;
