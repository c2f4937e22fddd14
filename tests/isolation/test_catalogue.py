"""The catalogue rules hold for what we ship, and each fails when something breaks it (DB-1)."""

import pytest

from tenantry.core.errors import StartupRefused
from tenantry.isolation import declared
from tenantry.isolation.policies import (
    check_policies,
    refuse_broken_isolation,
    shared_surfaces,
)
from tenantry.isolation.statements import Statements
from tests.isolation.conftest import rolled_back, statements_as
from tests.worlds import Cluster

_POLICY = """
CREATE POLICY tenant ON tenantry.gadgets TO tenantry_tenant
    USING (tenant_id = (SELECT tenantry.current_tenant()))
    WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));
"""
_SECURED = """
ALTER TABLE tenantry.gadgets ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.gadgets FORCE ROW LEVEL SECURITY;
"""
_TABLE = """
CREATE TABLE tenantry.gadgets (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (tenant_id), gadget_id uuid NOT NULL,
    name text, PRIMARY KEY (tenant_id, gadget_id));
"""
_WHOLE = _TABLE + _SECURED + _POLICY
_DEFINER = (
    "CREATE FUNCTION tenantry.f() RETURNS int LANGUAGE sql SECURITY DEFINER {} AS 'SELECT 1';"
)
_PINNED = "SET search_path = pg_catalog, pg_temp"

OFFENCES = {
    "table-without-force": (
        _TABLE + "ALTER TABLE tenantry.gadgets ENABLE ROW LEVEL SECURITY;" + _POLICY,
        {"force-row-security"},
    ),
    "table-without-enable": (
        _TABLE + "ALTER TABLE tenantry.gadgets FORCE ROW LEVEL SECURITY;" + _POLICY,
        {"row-security"},
    ),
    "table-without-policy": (_TABLE + _SECURED, {"tenant-policy"}),
    "table-without-anything": (
        _TABLE,
        {"row-security", "force-row-security", "tenant-policy"},
    ),
    "table-without-tenant": (
        "CREATE TABLE tenantry.gadgets (gadget_id uuid PRIMARY KEY);",
        {"tenant-column", "row-security", "force-row-security", "tenant-policy", "primary-key"},
    ),
    "tenant-table-outside-our-schema": (
        "RESET ROLE; CREATE TABLE public.copy AS SELECT * FROM tenantry.messages;",
        {"row-security", "force-row-security", "owner", "tenant-policy", "primary-key"},
    ),
    "tenant-table-in-the-private-schema": (
        "CREATE TABLE tenantry_private.copy (tenant_id uuid PRIMARY KEY);",
        {"row-security", "force-row-security", "tenant-policy"},
    ),
    "partition-without-policies": (
        "CREATE TABLE tenantry.gadgets (tenant_id uuid NOT NULL, name text,"
        " PRIMARY KEY (tenant_id, name)) PARTITION BY HASH (tenant_id);"
        "CREATE TABLE tenantry.gadgets_0 PARTITION OF tenantry.gadgets"
        " FOR VALUES WITH (MODULUS 1, REMAINDER 0);" + _SECURED + _POLICY,
        {"row-security", "force-row-security", "tenant-policy"},
    ),
    "force-withdrawn": (
        "ALTER TABLE tenantry.messages NO FORCE ROW LEVEL SECURITY;",
        {"force-row-security"},
    ),
    "security-disabled": (
        "ALTER TABLE tenantry.messages DISABLE ROW LEVEL SECURITY;",
        {"row-security"},
    ),
    "owned-by-the-tenants-role": (
        "RESET ROLE; GRANT CREATE ON SCHEMA tenantry TO tenantry_tenant;"
        "ALTER TABLE tenantry.messages OWNER TO tenantry_tenant;"
        "REVOKE CREATE ON SCHEMA tenantry FROM tenantry_tenant;",
        {"owner", "missing-grant"},
    ),
    "policy-without-check": (
        "DROP POLICY tenant ON tenantry.messages; CREATE POLICY tenant ON tenantry.messages"
        " TO tenantry_tenant USING (tenant_id = (SELECT tenantry.current_tenant()));",
        {"tenant-policy", "further-policy"},
    ),
    "policy-with-another-check": (
        "ALTER POLICY tenant ON tenantry.messages WITH CHECK (true);",
        {"tenant-policy", "further-policy"},
    ),
    "policy-that-trusts-a-plain-setting": (
        "ALTER POLICY tenant ON tenantry.messages"
        " USING (tenant_id = current_setting('tenantry.tenant')::uuid);",
        {"tenant-policy", "further-policy"},
    ),
    "policy-for-one-command-only": (
        "DROP POLICY tenant ON tenantry.messages; CREATE POLICY tenant ON tenantry.messages"
        " FOR SELECT TO tenantry_tenant USING (tenant_id = (SELECT tenantry.current_tenant()));",
        {"tenant-policy", "further-policy"},
    ),
    "policy-for-everybody": (
        "ALTER POLICY tenant ON tenantry.messages TO PUBLIC;",
        {"tenant-policy", "further-policy"},
    ),
    "restrictive-instead-of-permissive": (
        "DROP POLICY tenant ON tenantry.messages; CREATE POLICY tenant ON tenantry.messages"
        " AS RESTRICTIVE TO tenantry_tenant USING (tenant_id = (SELECT tenantry.current_tenant()))"
        " WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()));",
        {"tenant-policy", "further-policy"},
    ),
    "readers-of-documents-withdrawn": (
        "DROP POLICY readers ON tenantry.chunks;",
        {"restriction"},
    ),
    "readers-of-documents-permissive": (
        "DROP POLICY readers ON tenantry.chunks; CREATE POLICY readers ON tenantry.chunks"
        " TO tenantry_tenant USING (audience = 0) WITH CHECK (audience = 0);",
        {"restriction", "further-policy"},
    ),
    "memberships-written-by-anybody": (
        "ALTER POLICY own ON tenantry.group_members WITH CHECK (true);",
        {"restriction", "further-policy"},
    ),
    "table-with-an-audience-open-to-all": (
        _WHOLE + "ALTER TABLE tenantry.gadgets ADD COLUMN audience integer NOT NULL;",
        {"restriction"},
    ),
    "second-policy-undeclared": (
        "CREATE POLICY more ON tenantry.messages FOR SELECT TO tenantry_tenant USING (true);",
        {"further-policy"},
    ),
    "declared-policy-widened-to-another-role": (
        "ALTER POLICY sign_in ON tenantry.api_keys TO tenantry_auth, tenantry_operator;",
        {"further-policy"},
    ),
    "declared-policy-widened-to-all-rows": (
        "ALTER POLICY sweeper_adds ON tenantry.usage_events WITH CHECK (true);",
        {"further-policy"},
    ),
    "unique-across-tenants": (
        "ALTER TABLE tenantry.documents ADD UNIQUE (sha256);",
        {"unique-key"},
    ),
    "unique-with-the-tenant-last": (
        "CREATE UNIQUE INDEX ON tenantry.documents (sha256, tenant_id);",
        {"unique-key"},
    ),
    "unique-over-an-expression": (
        "CREATE UNIQUE INDEX ON tenantry.documents (lower(title), tenant_id);",
        {"unique-key"},
    ),
    "exclusion-across-tenants": (
        "ALTER TABLE tenantry.documents ADD EXCLUDE USING btree (title WITH =);",
        {"unique-key"},
    ),
    "primary-key-without-tenant-first": (
        "CREATE TABLE tenantry.gadgets (tenant_id uuid NOT NULL, gadget_id uuid,"
        " PRIMARY KEY (gadget_id, tenant_id));" + _SECURED + _POLICY,
        {"primary-key"},
    ),
    "no-primary-key": (
        "CREATE TABLE tenantry.gadgets (tenant_id uuid NOT NULL);" + _SECURED + _POLICY,
        {"primary-key"},
    ),
    "single-column-foreign-key": (
        "ALTER TABLE tenantry.documents ADD UNIQUE (tenant_id, document_id, title);"
        "CREATE UNIQUE INDEX gadget_target ON tenantry.documents (document_id);"
        "CREATE TABLE tenantry.gadgets (tenant_id uuid NOT NULL, gadget_id uuid NOT NULL,"
        " document_id uuid REFERENCES tenantry.documents (document_id),"
        " PRIMARY KEY (tenant_id, gadget_id));" + _SECURED + _POLICY,
        {"foreign-key", "unique-key"},
    ),
    "foreign-key-that-crosses-columns": (
        "CREATE TABLE tenantry.gadgets (tenant_id uuid NOT NULL, gadget_id uuid NOT NULL,"
        " owner_id uuid, PRIMARY KEY (tenant_id, gadget_id),"
        " FOREIGN KEY (owner_id, gadget_id) REFERENCES tenantry.members (tenant_id, member_id));"
        + _SECURED + _POLICY,
        {"foreign-key"},
    ),
    "definer-without-search-path": (
        _DEFINER.format(""),
        {"definer-search-path", "definer"},
    ),
    "definer-with-an-open-search-path": (
        _DEFINER.format("SET search_path = public, pg_catalog"),
        {"definer-search-path", "definer"},
    ),
    "definer-undeclared-for-tenants": (
        _DEFINER.format(_PINNED) + "GRANT EXECUTE ON FUNCTION tenantry.f() TO tenantry_tenant;",
        {"definer"},
    ),
    "definer-in-another-schema": (
        "RESET ROLE; CREATE SCHEMA side;"
        "CREATE FUNCTION side.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';",
        {"definer-search-path", "definer", "public-grant"},
    ),
    "declared-definer-opened-to-tenants": (
        "GRANT EXECUTE ON FUNCTION tenantry.verify_audit() TO tenantry_tenant;",
        {"definer"},
    ),
    "declared-definer-overloaded": (
        "CREATE FUNCTION tenantry.current_tenant(text) RETURNS uuid LANGUAGE sql SECURITY DEFINER"
        f" {_PINNED} AS 'SELECT $1::uuid'; GRANT EXECUTE ON FUNCTION tenantry.current_tenant(text)"
        " TO tenantry_tenant;",
        {"definer"},
    ),
    "function-for-everybody": (
        "GRANT EXECUTE ON FUNCTION tenantry.current_tenant() TO PUBLIC;",
        {"public-grant"},
    ),
    "leakproof-function": (
        "RESET ROLE; CREATE FUNCTION tenantry.f(text) RETURNS boolean LANGUAGE sql LEAKPROOF"
        " AS 'SELECT true'; REVOKE ALL ON FUNCTION tenantry.f(text) FROM PUBLIC;",
        {"leakproof"},
    ),
    "view-with-its-owners-rights": (
        "CREATE VIEW tenantry.everything AS SELECT * FROM tenantry.messages;",
        {"view"},
    ),
    "materialised-view": (
        "CREATE MATERIALIZED VIEW tenantry.everything AS SELECT * FROM tenantry.messages;",
        {"view"},
    ),
    "rewrite-rule": (
        "CREATE RULE copy AS ON INSERT TO tenantry.messages DO ALSO NOTHING;",
        {"rewrite-rule"},
    ),
    "grant-to-public": (
        "GRANT SELECT ON tenantry.messages TO PUBLIC;",
        {"public-grant"},
    ),
    "schema-opened-to-public": (
        "GRANT USAGE ON SCHEMA tenantry_private TO PUBLIC;",
        {"public-grant"},
    ),
    "truncate-granted": ("GRANT TRUNCATE ON tenantry.messages TO tenantry_tenant;", {"grant"}),
    "trigger-granted": ("GRANT TRIGGER ON tenantry.messages TO tenantry_tenant;", {"grant"}),
    "references-granted": ("GRANT REFERENCES ON tenantry.messages TO tenantry_tenant;", {"grant"}),
    "ledger-rewritable": ("GRANT UPDATE ON tenantry.usage_events TO tenantry_tenant;", {"grant"}),
    "audit-log-rewritable": (
        "GRANT DELETE ON tenantry.audit_events TO tenantry_tenant;",
        {"grant"},
    ),
    "audit-log-insertable": ("GRANT INSERT ON tenantry.audit_events TO tenantry_audit;", {"grant"}),
    "content-for-operators": ("GRANT SELECT ON tenantry.messages TO tenantry_operator;", {"grant"}),
    "one-column-for-operators": (
        "GRANT SELECT (content) ON tenantry.messages TO tenantry_operator;",
        {"grant"},
    ),
    "signing-keys-for-tenants": (
        "GRANT SELECT ON tenantry_private.signing_keys TO tenantry_tenant;",
        {"grant"},
    ),
    "create-in-our-schema": ("GRANT CREATE ON SCHEMA tenantry TO tenantry_tenant;", {"grant"}),
    "sequence-for-tenants": (
        "CREATE SEQUENCE tenantry.counter; GRANT USAGE ON SEQUENCE tenantry.counter"
        " TO tenantry_tenant;",
        {"grant"},
    ),
    "tables-for-the-role-that-signs-in": (
        "GRANT SELECT ON tenantry.messages TO tenantry_app;",
        {"grant"},
    ),
    "declared-grant-withdrawn": (
        "REVOKE SELECT ON tenantry.messages FROM tenantry_tenant;",
        {"missing-grant"},
    ),
}  # fmt: skip


@pytest.mark.req("DB-1")
@pytest.mark.parametrize("role", ["app", "operator", "auth"])
async def test_shipped_database_breaks_no_rule(cluster: Cluster, database: str, role: str) -> None:
    async with statements_as(cluster, database, role) as statements:
        assert await check_policies(statements) == []
        await refuse_broken_isolation(statements)


@pytest.mark.req("DB-1")
async def test_tenant_table_made_by_the_rules_breaks_none(cluster: Cluster, database: str) -> None:
    async with rolled_back(cluster, database) as admin:
        await admin.execute(f"SET ROLE tenantry_owner; {_WHOLE}".encode())
        assert await check_policies(Statements(admin)) == []


@pytest.mark.req("DB-1")
@pytest.mark.parametrize("offence", OFFENCES)
async def test_offence_is_found(cluster: Cluster, database: str, offence: str) -> None:
    sql, rules = OFFENCES[offence]
    async with rolled_back(cluster, database) as admin:
        await admin.execute(f"SET ROLE tenantry_owner; {sql}".encode())
        found = await check_policies(Statements(admin))
    assert {v.rule for v in found} == rules, [str(v) for v in found]


@pytest.mark.req("DB-1")
async def test_start_up_refuses_and_names_what_is_broken(cluster: Cluster, database: str) -> None:
    async with rolled_back(cluster, database) as admin:
        await admin.execute("ALTER TABLE tenantry.messages NO FORCE ROW LEVEL SECURITY")
        with pytest.raises(StartupRefused) as refused:
            await refuse_broken_isolation(Statements(admin))
    assert "tenantry.messages: lacks FORCE ROW LEVEL SECURITY" in refused.value.message


@pytest.mark.req("DB-1")
async def test_every_declaration_is_used(cluster: Cluster, database: str) -> None:
    """A declaration that nothing needs would be a hole left open for later."""
    async with statements_as(cluster, database, "app") as statements:
        policies = await statements.rows(
            b"SELECT schemaname || '.' || tablename AS relation, policyname FROM pg_policies"
        )
        tables = await statements.rows(
            b"SELECT schemaname || '.' || tablename AS name FROM pg_tables"
        )
        functions = await statements.rows(
            b"SELECT oid::regproc::text AS name FROM pg_proc WHERE prosecdef"
        )
    existing = {(p["relation"], p["policyname"]) for p in policies}
    known = declared.FURTHER_POLICIES | declared.RESTRICTIONS
    assert {(p.relation, p.name) for p in known} <= existing
    assert all(policy.reason for policy in known)
    assert set(declared.PLATFORM_TABLES) <= {t["name"] for t in tables}
    assert set(declared.DEFINERS) == {f["name"] for f in functions}


@pytest.mark.req("DB-1")
def test_declarations_hold_the_line() -> None:
    content = {r for r, _, _ in declared.GRANTS} - {"tenantry", "tenantry_private"}
    assert not {p for _, _, p in declared.GRANTS} & {
        "TRUNCATE",
        "REFERENCES",
        "TRIGGER",
        "MAINTAIN",
    }
    assert "tenantry_private.signing_keys" not in content
    for append_only in ("tenantry.usage_events", "tenantry.audit_events"):
        rights = {p for name, _, p in declared.GRANTS if name == append_only}
        assert rights <= {"SELECT", "INSERT"}
    assert not [g for g in declared.GRANTS if g[1] == "tenantry_app"]


@pytest.mark.req("DB-1")
async def test_sessions_of_others_are_no_shared_surface(cluster: Cluster, database: str) -> None:
    async with statements_as(cluster, database, "app") as statements:
        assert await shared_surfaces(statements) == []
    async with rolled_back(cluster, database) as admin:
        await admin.execute("GRANT EXECUTE ON FUNCTION pg_terminate_backend TO PUBLIC")
        assert await shared_surfaces(Statements(admin)) == ["pg_terminate_backend(integer,bigint)"]
