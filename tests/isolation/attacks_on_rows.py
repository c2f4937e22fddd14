"""SQL attacks on rows and on what guards them: objects, writes, reads."""

from tests.isolation.look import FOREIGN, LOOK

_LEAK = (
    "CREATE FUNCTION {}.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS"
    " $$ BEGIN RAISE NOTICE '%%', $1; RETURN true; END $$"
)

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
        " size_bytes, chunk_count, created_by) SELECT %(globex)s, document_id, title,"
        " media_type, sha256, size_bytes, chunk_count, created_by"
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
