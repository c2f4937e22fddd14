-- Run by an administrator before the migrations, and again at each `tenantry migrate`: idempotent.
-- Roles belong to the whole server, so this file says only what a role may never be (DB-5).

DO $roles$
DECLARE
    wanted text;
BEGIN
    -- Roles are shared by all databases of the server, advisory locks are not: without this, two
    -- databases that migrate at once fail with "tuple concurrently updated".
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    FOREACH wanted IN ARRAY ARRAY['tenantry_owner', 'tenantry_tenant', 'tenantry_app',
                                  'tenantry_auth', 'tenantry_audit', 'tenantry_operator',
                                  'tenantry_breakglass', 'tenantry_ledger', 'tenantry_queue']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT', wanted);
            EXCEPTION WHEN duplicate_object THEN
                NULL; -- another migration of this server was quicker
            END;
        END IF;
    END LOOP;
END
$roles$;

CREATE SCHEMA IF NOT EXISTS extensions;
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA extensions;
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO tenantry_owner, tenantry_tenant, tenantry_breakglass;

-- tenantry_app signs in and may do nothing but become tenantry_tenant; see 0001_context.sql.
GRANT tenantry_tenant TO tenantry_app;

CREATE SCHEMA IF NOT EXISTS tenantry AUTHORIZATION tenantry_owner;
CREATE SCHEMA IF NOT EXISTS tenantry_private AUTHORIZATION tenantry_owner;
CREATE SCHEMA IF NOT EXISTS tenantry_queue AUTHORIZATION tenantry_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- Every statement of ours names its schema; what is not named cannot be found, so that no object
-- put into another schema can ever shadow one of ours.
DO $limits$
DECLARE
    role_name text;
    setting text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['tenantry_app', 'tenantry_auth', 'tenantry_audit',
                                     'tenantry_operator', 'tenantry_breakglass',
                                     'tenantry_ledger', 'tenantry_queue']
    LOOP
        EXECUTE format('ALTER ROLE %I LOGIN CONNECTION LIMIT -1', role_name);
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role_name);
        -- A role may change its own defaults; what a smuggled statement left there ends here.
        EXECUTE format('ALTER ROLE %I RESET ALL', role_name);
        EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET ALL', role_name, current_database());
        FOREACH setting IN ARRAY ARRAY['search_path = pg_catalog, extensions',
                                       'statement_timeout = ''30s''', 'lock_timeout = ''10s''',
                                       'idle_in_transaction_session_timeout = ''60s''']
        LOOP
            EXECUTE format('ALTER ROLE %I IN DATABASE %I SET ', role_name, current_database()) || setting;
        END LOOP;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT tenantry_owner TO %I', current_user);
    END IF;
END
$limits$;

-- What is not granted by name is granted to nobody; functions would be executable by PUBLIC.
ALTER DEFAULT PRIVILEGES FOR ROLE tenantry_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- All tenants share the role tenantry_app, and PostgreSQL lets a role see the statements of its
-- own other sessions, end them, share large objects with them, and hold locks for as long as a
-- pooled session lives. Only a superuser can withdraw that; where the administrator is none,
-- `isolation.policies.shared_surfaces` tells what is left.
DO $shared$
DECLARE
    routine regprocedure;
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    -- Lets a context be verified once a transaction instead of once a statement; see 0001_context.
    GRANT SET ON PARAMETER backtrace_functions TO tenantry_owner;
    FOR routine IN
        SELECT p.oid FROM pg_catalog.pg_proc AS p
         WHERE p.pronamespace = 'pg_catalog'::regnamespace
           AND (p.proname IN ('pg_stat_get_activity', 'pg_cancel_backend', 'pg_terminate_backend',
                              'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_open', 'lo_get',
                              'lo_put', 'lo_unlink')
                OR p.proname LIKE 'pg\_stat\_get\_backend\_%'
                -- Locks of a session; those of a transaction (…_xact_…) end with it.
                OR p.proname ~ '^pg_(try_)?advisory_lock')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        IF routine::text ~ 'advisory' THEN -- a process's lease on the calls it opened
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tenantry_operator', routine);
        ELSIF routine::text !~ '^lo_' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO pg_monitor, pg_signal_backend', routine);
        END IF;
    END LOOP;
END
$shared$;
