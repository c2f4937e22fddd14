-- Break-glass access (DB-5): an operator reads one tenant's content, for a stated reason, for at
-- most an hour, and the tenant finds it in its own audit chain.
--
-- tenantry_operator opens a grant and may read nothing; tenantry_breakglass reads with the grant's
-- token and may open none. Reading needs a session, and a session row commits together with its
-- audit event before the first row is read. The policies ask for that row, so nothing is read
-- unrecorded, whatever SQL runs.

CREATE TABLE tenantry.break_glass_grants (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id),
    grant_id uuid NOT NULL,
    operator_id uuid NOT NULL REFERENCES tenantry.operators (operator_id),
    reason text NOT NULL CHECK (length(btrim(reason)) BETWEEN 10 AND 500),
    token_digest bytea NOT NULL CHECK (length(token_digest) = 32),
    opened_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    closed_at timestamptz,
    PRIMARY KEY (tenant_id, grant_id),
    CHECK (expires_at > opened_at AND expires_at <= opened_at + interval '60 minutes')
);
CREATE INDEX break_glass_grants_by_token ON tenantry.break_glass_grants (token_digest);
ALTER TABLE tenantry.break_glass_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.break_glass_grants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.break_glass_grants TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY keeper ON tenantry.break_glass_grants TO tenantry_owner USING (true) WITH CHECK (true);
CREATE POLICY oversight ON tenantry.break_glass_grants FOR SELECT TO tenantry_operator USING (true);
GRANT SELECT (tenant_id, grant_id, operator_id, reason, opened_at, expires_at, closed_at)
    ON tenantry.break_glass_grants TO tenantry_tenant, tenantry_operator;

-- One row per session of reading. Its id is random and known to nobody but the session: a
-- capability, bound to the backend that asked for it.
CREATE TABLE tenantry.break_glass_sessions (
    tenant_id uuid NOT NULL,
    session_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    backend_pid integer NOT NULL,
    opened_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES tenantry.break_glass_grants (tenant_id, grant_id)
);
CREATE INDEX break_glass_sessions_by_id ON tenantry.break_glass_sessions (session_id);
ALTER TABLE tenantry.break_glass_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.break_glass_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenantry.break_glass_sessions TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
CREATE POLICY keeper ON tenantry.break_glass_sessions TO tenantry_owner USING (true) WITH CHECK (true);

CREATE FUNCTION tenantry.open_break_glass(
    for_operator uuid, of_tenant uuid, why text, minutes integer, digest bytea, request text
) RETURNS TABLE (opened_grant uuid, until timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    opened_grant := gen_random_uuid();
    until := moment + make_interval(mins => minutes);
    INSERT INTO tenantry.break_glass_grants
         VALUES (of_tenant, opened_grant, for_operator, why, digest, moment, until, NULL);
    PERFORM tenantry.append_audit(
        of_tenant, 'operator:' || for_operator, 'break_glass.opened', 'allowed', 'database', '',
        jsonb_build_object('grant', opened_grant, 'reason', why, 'minutes', minutes), request);
    RETURN NEXT;
END
$$;

-- A session for the holder of a grant's token; NULL, and a refusal in the audit log, if the grant
-- is unknown, expired or closed.
CREATE FUNCTION tenantry.enter_break_glass(digest bytea, request text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_grant tenantry.break_glass_grants%ROWTYPE;
    moment timestamptz := clock_timestamp();
    fresh uuid;
BEGIN
    SELECT * INTO found_grant FROM tenantry.break_glass_grants AS g WHERE g.token_digest = digest;
    IF found_grant.expires_at > moment AND found_grant.closed_at IS NULL THEN
        fresh := gen_random_uuid();
        INSERT INTO tenantry.break_glass_sessions
             VALUES (found_grant.tenant_id, fresh, found_grant.grant_id, pg_backend_pid(), moment,
                     least(found_grant.expires_at, moment + interval '5 minutes'));
    END IF;
    PERFORM tenantry.append_audit(
        coalesce(found_grant.tenant_id, '00000000-0000-0000-0000-000000000000'),
        coalesce('operator:' || found_grant.operator_id, 'anonymous'),
        'break_glass.read', CASE WHEN fresh IS NULL THEN 'refused' ELSE 'allowed' END, 'database',
        '', jsonb_build_object('grant', found_grant.grant_id), request);
    RETURN fresh;
END
$$;

CREATE FUNCTION tenantry.close_break_glass(
    for_operator uuid, of_tenant uuid, of_grant uuid, request text
) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE tenantry.break_glass_grants AS g SET closed_at = clock_timestamp()
     WHERE g.tenant_id = of_tenant AND g.grant_id = of_grant AND g.closed_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM tenantry.append_audit(
        of_tenant, 'operator:' || for_operator, 'break_glass.closed', 'allowed', 'database', '',
        jsonb_build_object('grant', of_grant), request);
    RETURN true;
END
$$;

-- The tenant that this backend's session may read; raises where there is none, never NULL.
CREATE FUNCTION tenantry.break_glass_tenant() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    session text := coalesce(current_setting('tenantry.break_glass', true), '');
    of_tenant uuid;
BEGIN
    IF session <> '' THEN
        SELECT s.tenant_id INTO of_tenant
          FROM tenantry.break_glass_sessions AS s
          JOIN tenantry.break_glass_grants AS g
            ON g.tenant_id = s.tenant_id AND g.grant_id = s.grant_id
         WHERE s.session_id = session::uuid AND s.backend_pid = pg_backend_pid()
           AND s.expires_at > clock_timestamp() AND g.closed_at IS NULL;
    END IF;
    IF of_tenant IS NULL THEN
        RAISE EXCEPTION 'no break-glass session' USING ERRCODE = 'TC003';
    END IF;
    RETURN of_tenant;
END
$$;

REVOKE ALL ON FUNCTION tenantry.open_break_glass(uuid, uuid, text, integer, bytea, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.enter_break_glass(bytea, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.close_break_glass(uuid, uuid, uuid, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.break_glass_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.open_break_glass(uuid, uuid, text, integer, bytea, text) TO tenantry_operator;
GRANT EXECUTE ON FUNCTION tenantry.close_break_glass(uuid, uuid, uuid, text) TO tenantry_operator;
GRANT EXECUTE ON FUNCTION tenantry.enter_break_glass(bytea, text) TO tenantry_breakglass;
GRANT EXECUTE ON FUNCTION tenantry.break_glass_tenant() TO tenantry_breakglass;

-- What can be read so. Keys are not among it: their digests help no investigation.
DO $content$
DECLARE
    content text;
BEGIN
    FOREACH content IN ARRAY ARRAY['tenants', 'members', 'assistants', 'assistant_versions',
                                   'conversations', 'messages', 'tool_calls', 'documents', 'chunks',
                                   'connectors', 'data_files', 'patterns', 'pattern_versions',
                                   'usage_events', 'audit_events']
    LOOP
        EXECUTE format('CREATE POLICY break_glass ON tenantry.%I FOR SELECT TO tenantry_breakglass '
                       'USING (tenant_id = (SELECT tenantry.break_glass_tenant()))', content);
        EXECUTE format('GRANT SELECT ON tenantry.%I TO tenantry_breakglass', content);
    END LOOP;
END
$content$;
