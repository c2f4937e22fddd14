-- The signed tenant context (DB-3, DB-4): who may see a row is decided here and nowhere else.
--
-- Token, fixed widths so that parsing is five substr calls:
--   key id (2) | tenant (36) | actor (36) | expiry, epoch seconds (10) | backend pid (1..10) | MAC, hex (64)
-- MAC = HMAC-SHA256 (RFC 2104) over all before it. The key is stored as its two padded blocks,
-- so that the database needs no pgcrypto: H(outer || H(inner || message)).
--
-- The server signs in as tenantry_app, which may read no table. A transaction that belongs to a
-- tenant becomes tenantry_tenant (SET LOCAL ROLE) in the message that sets its context. So without
-- a context even an empty table is an error: a policy alone is not evaluated where no row is read.

CREATE TABLE tenantry_private.signing_keys (
    key_id text PRIMARY KEY CHECK (key_id ~ '^[0-9a-z]{2}$'),
    inner_block bytea NOT NULL CHECK (length(inner_block) = 64),
    outer_block bytea NOT NULL CHECK (length(outer_block) = 64),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz
);
REVOKE ALL ON TABLE tenantry_private.signing_keys FROM PUBLIC;

CREATE FUNCTION tenantry.current_tenant() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    token text := current_setting('tenantry.context', true);
    body text := left(token, -64);
    inner_block bytea;
    outer_block bytea;
BEGIN
    -- After set_config(…, true) ends, the setting reads '' instead of NULL: both are missing.
    IF coalesce(token, '') = '' THEN
        RAISE EXCEPTION 'tenant context missing' USING ERRCODE = 'TC001';
    END IF;
    SELECT k.inner_block, k.outer_block INTO inner_block, outer_block
      FROM tenantry_private.signing_keys AS k
     WHERE k.key_id = left(token, 2) AND k.retired_at IS NULL;
    -- The MAC is checked before any part is read: what follows parses only what we wrote.
    IF NOT FOUND
       OR encode(sha256(outer_block || sha256(inner_block || convert_to(body, 'UTF8'))), 'hex')
          <> right(token, 64)
       OR substr(body, 85)::integer <> pg_backend_pid()
       OR substr(body, 75, 10)::bigint < extract(epoch FROM clock_timestamp())
    THEN
        RAISE EXCEPTION 'tenant context invalid' USING ERRCODE = 'TC002';
    END IF;
    RETURN substr(body, 3, 36)::uuid;
END
$$;

REVOKE ALL ON FUNCTION tenantry.current_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.current_tenant() TO tenantry_tenant;
GRANT USAGE ON SCHEMA tenantry
    TO tenantry_tenant, tenantry_auth, tenantry_audit, tenantry_operator, tenantry_breakglass;
