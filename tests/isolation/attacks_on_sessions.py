"""SQL attacks on who one is: the context, the role, and the session left to the next user."""

from tests.isolation.look import FOREIGN, LOOK

ROLES = (
    "tenantry_owner", "tenantry_operator", "tenantry_auth", "tenantry_audit",
    "tenantry_breakglass", "postgres", "pg_read_all_data", "pg_database_owner",
)  # fmt: skip

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
