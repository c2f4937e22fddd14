-- Run by an administrator before the migrations, and again at each `tenantry migrate`: idempotent.
-- Roles belong to the whole server, so this file says only what a role may never be (DB-5).

DO $roles$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['tenantry_owner', 'tenantry_app', 'tenantry_auth',
                                  'tenantry_audit', 'tenantry_operator', 'tenantry_breakglass']
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
GRANT USAGE ON SCHEMA extensions TO tenantry_owner, tenantry_app, tenantry_breakglass;

CREATE SCHEMA IF NOT EXISTS tenantry AUTHORIZATION tenantry_owner;
CREATE SCHEMA IF NOT EXISTS tenantry_private AUTHORIZATION tenantry_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- Every statement of ours names its schema; what is not named cannot be found, so that no object
-- put into another schema can ever shadow one of ours.
DO $limits$
DECLARE
    role_name text;
    setting text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['tenantry_app', 'tenantry_auth', 'tenantry_audit',
                                     'tenantry_operator', 'tenantry_breakglass']
    LOOP
        EXECUTE format('ALTER ROLE %I LOGIN CONNECTION LIMIT -1', role_name);
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role_name);
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
