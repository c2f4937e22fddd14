-- The signed tenant context (DB-3, DB-4): who may see a row is decided here and nowhere else.
--
-- Token, fixed widths and no separators, so that parsing is a few substr calls:
--   key id (2) | tenant, hex (32) | actor, hex (32) | expiry, epoch seconds (10)
--   | backend pid (1..10) | MAC, hex (64)
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

-- Verifies the context, and notes for the rest of the transaction that this very token is genuine.
--
-- The note stands in `backtrace_functions`, a developer's setting (names of C functions) that has no
-- other use here and that only a superuser, or a role granted SET on it, may change: tenantry_owner
-- is (`db/bootstrap.sql`), tenants are not, and `isolation.roles` refuses to start if they were. It
-- ends with the transaction as the context does. Where it was not granted, each statement verifies.
CREATE FUNCTION tenantry.verified_tenant() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL UNSAFE -- a parallel worker cannot note
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    token text := current_setting('tenantry.context', true);
    body text := left(token, -64);
    inner_block bytea;
    outer_block bytea;
BEGIN
    -- After a transaction that set it, the setting reads '' instead of NULL: both are missing.
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
       OR substr(body, 77)::integer <> pg_backend_pid()
       OR to_timestamp(substr(body, 67, 10)::double precision) < clock_timestamp()
    THEN
        RAISE EXCEPTION 'tenant context invalid' USING ERRCODE = 'TC002';
    END IF;
    IF has_parameter_privilege('backtrace_functions', 'SET') THEN
        token := set_config('backtrace_functions', token, true);
    END IF;
    RETURN substr(body, 3, 32)::uuid;
END
$$;

-- The tenant of this transaction; raises where there is none, never NULL. Policies call it in a
-- scalar sub-select, so that it runs once a statement. Being plain SQL it is inlined there: once
-- the token is verified, a statement costs a comparison instead of a key look-up and two hashes.
CREATE FUNCTION tenantry.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL UNSAFE
RETURN CASE
    WHEN length(current_setting('tenantry.context', true)) > 140
         AND current_setting('backtrace_functions') = current_setting('tenantry.context', true)
         AND to_timestamp(substr(current_setting('tenantry.context', true), 67, 10)::double precision)
             > statement_timestamp()
    THEN substr(current_setting('tenantry.context', true), 3, 32)::uuid
    ELSE tenantry.verified_tenant()
END;

REVOKE ALL ON FUNCTION tenantry.verified_tenant() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.current_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.verified_tenant() TO tenantry_tenant;
GRANT EXECUTE ON FUNCTION tenantry.current_tenant() TO tenantry_tenant;
GRANT USAGE ON SCHEMA tenantry
    TO tenantry_tenant, tenantry_auth, tenantry_audit, tenantry_operator, tenantry_breakglass;
