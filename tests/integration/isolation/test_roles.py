"""Start-up refuses a role that could do more than its part (DB-5).

Attributes of a role belong to the whole server, so these tests have a server of their own.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tenantry.core.errors import StartupRefused
from tenantry.db.migrate import SigningKey, migrate
from tenantry.isolation.roles import check_role, describe_role, refuse_unsafe_role
from tests.conftest import deployment
from tests.isolation.conftest import statements_as
from tests.worlds import Cluster, World

OFFENCES = {
    "superuser": (
        "ALTER ROLE tenantry_app SUPERUSER",
        "ALTER ROLE tenantry_app NOSUPERUSER",
        "tenantry_app is a superuser",
    ),
    "bypassrls": (
        "ALTER ROLE tenantry_app BYPASSRLS",
        "ALTER ROLE tenantry_app NOBYPASSRLS",
        "tenantry_app bypasses row-level security",
    ),
    "bypassrls-of-the-role-it-becomes": (
        "ALTER ROLE tenantry_tenant BYPASSRLS",
        "ALTER ROLE tenantry_tenant NOBYPASSRLS",
        "tenantry_tenant bypasses row-level security",
    ),
    "superuser-it-becomes": (
        "ALTER ROLE tenantry_tenant SUPERUSER",
        "ALTER ROLE tenantry_tenant NOSUPERUSER",
        "tenantry_tenant is a superuser",
    ),
    "createrole": (
        "ALTER ROLE tenantry_app CREATEROLE",
        "ALTER ROLE tenantry_app NOCREATEROLE",
        "CREATEROLE",
    ),
    "createdb": (
        "ALTER ROLE tenantry_app CREATEDB",
        "ALTER ROLE tenantry_app NOCREATEDB",
        "CREATEDB",
    ),
    "replication": (
        "ALTER ROLE tenantry_app REPLICATION",
        "ALTER ROLE tenantry_app NOREPLICATION",
        "REPLICATION",
    ),
    "member-of-the-owner": (
        "GRANT tenantry_owner TO tenantry_app",
        "REVOKE tenantry_owner FROM tenantry_app",
        "tenantry_app is a member of tenantry_owner",
    ),
    "member-of-the-owner-through-another": (
        "GRANT tenantry_owner TO tenantry_tenant",
        "REVOKE tenantry_owner FROM tenantry_tenant",
        "tenantry_app is a member of tenantry_owner",
    ),
    "member-of-a-role-that-reads-all": (
        "GRANT pg_read_all_data TO tenantry_app",
        "REVOKE pg_read_all_data FROM tenantry_app",
        "is a member of pg_read_all_data",
    ),
    "member-of-a-role-that-runs-programs": (
        "GRANT pg_execute_server_program TO tenantry_tenant",
        "REVOKE pg_execute_server_program FROM tenantry_tenant",
        "is a member of pg_execute_server_program",
    ),
    "owner-of-a-tenant-table": (
        "ALTER TABLE tenantry.messages OWNER TO tenantry_app",
        "ALTER TABLE tenantry.messages OWNER TO tenantry_owner",
        "tenantry_app owns tenantry.messages",
    ),
    "owner-of-a-function": (
        "ALTER FUNCTION tenantry.current_tenant() OWNER TO tenantry_tenant",
        "ALTER FUNCTION tenantry.current_tenant() OWNER TO tenantry_owner",
        "tenantry_tenant owns tenantry.current_tenant()",
    ),
    "owner-of-the-schema": (
        "ALTER SCHEMA tenantry OWNER TO tenantry_tenant",
        "ALTER SCHEMA tenantry OWNER TO tenantry_owner",
        "tenantry_tenant owns schema tenantry",
    ),
    "owner-of-the-database": (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO tenantry_app',"
        " current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO postgres',"
        " current_database()); END $$",
        "tenantry_app owns database",
    ),
    "temporary-tables": (
        "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO tenantry_app',"
        " current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('REVOKE TEMP ON DATABASE %I FROM tenantry_app',"
        " current_database()); END $$",
        "tenantry_app has TEMP on the database",
    ),
    "temporary-tables-for-everybody": (
        "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO PUBLIC',"
        " current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('REVOKE TEMP ON DATABASE %I FROM PUBLIC',"
        " current_database()); END $$",
        "tenantry_tenant has TEMP on the database",
    ),
    "creates-schemas": (
        "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO tenantry_tenant',"
        " current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM tenantry_tenant',"
        " current_database()); END $$",
        "tenantry_tenant has CREATE on the database",
    ),
    "creates-in-public": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "may create objects in schema public",
    ),
    "sets-a-protected-parameter": (
        "GRANT SET ON PARAMETER session_replication_role TO tenantry_app",
        "REVOKE SET ON PARAMETER session_replication_role FROM tenantry_app",
        "may set the parameter session_replication_role",
    ),
    "notes-forged-contexts-as-genuine": (
        "GRANT SET ON PARAMETER backtrace_functions TO tenantry_tenant",
        "REVOKE SET ON PARAMETER backtrace_functions FROM tenantry_tenant",
        "tenantry_tenant may set the parameter backtrace_functions",
    ),
    "everybody-notes-forged-contexts-as-genuine": (
        "GRANT SET ON PARAMETER backtrace_functions TO PUBLIC",
        "REVOKE SET ON PARAMETER backtrace_functions FROM PUBLIC",
        "tenantry_app may set the parameter backtrace_functions",
    ),
    "its-own-defaults-changed": (
        "ALTER ROLE tenantry_app SET default_transaction_read_only = on",
        "ALTER ROLE tenantry_app RESET default_transaction_read_only",
        "tenantry_app begins its sessions with default_transaction_read_only=on",
    ),
    "another-search-path": (
        "ALTER ROLE tenantry_app SET search_path = public",
        "ALTER ROLE tenantry_app RESET search_path",
        "tenantry_app begins its sessions with search_path=public",
    ),
    "no-search-path": (
        "DO $$ BEGIN EXECUTE format('ALTER ROLE tenantry_app IN DATABASE %I RESET search_path',"
        " current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER ROLE tenantry_app IN DATABASE %I SET search_path ="
        " pg_catalog, extensions', current_database()); END $$",
        "does not begin its sessions with search_path=pg_catalog, extensions",
    ),
}


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """A server whose roles these tests may spoil."""
    with deployment() as folder, Cluster(folder) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def database(own_cluster: Cluster) -> str:
    return own_cluster.create_database()


def _admin(cluster: Cluster, database: str, sql: str) -> None:
    with psycopg.connect(cluster.admin_url(database), autocommit=True) as admin:
        admin.execute(sql.encode())


def _migrate(cluster: Cluster, database: str) -> None:
    key = SigningKey(cluster.signer.key_id, *cluster.signer.blocks())
    migrate(cluster.admin_url(database), cluster.secrets, key)


@pytest.mark.req("DB-5")
@pytest.mark.parametrize("role", ["app", "auth", "audit", "operator", "breakglass", "ledger"])
async def test_shipped_role_is_safe(own_cluster: Cluster, database: str, role: str) -> None:
    async with statements_as(own_cluster, database, role) as statements:
        assert await check_role(statements, f"tenantry_{role}") == []
        await refuse_unsafe_role(statements, f"tenantry_{role}")


@pytest.mark.req("DB-5")
@pytest.mark.parametrize("offence", OFFENCES)
async def test_role_with_more_rights_is_refused(
    own_cluster: Cluster, database: str, offence: str
) -> None:
    spoil, repair, told = OFFENCES[offence]
    _admin(own_cluster, database, spoil)
    try:
        async with statements_as(own_cluster, database, "app") as statements:
            with pytest.raises(StartupRefused) as refused:
                await refuse_unsafe_role(statements, "tenantry_app")
    finally:
        _admin(own_cluster, database, repair)
        _migrate(own_cluster, database)
    assert told in refused.value.message
    assert "tenantry migrate" in refused.value.message
    async with statements_as(own_cluster, database, "app") as statements:
        assert await check_role(statements, "tenantry_app") == []


@pytest.mark.req("DB-5")
async def test_superuser_in_place_of_the_role_is_refused(
    own_cluster: Cluster, database: str
) -> None:
    """A URL of the administrator given by mistake where the server signs in."""
    async with statements_as(own_cluster, database, "operator") as statements:
        found = await check_role(statements, "tenantry_app")
    assert "tenantry_operator" in found[0]
    assert "where tenantry_app belongs" in found[0]


@pytest.mark.req("DB-5")
async def test_missing_role_is_named(own_cluster: Cluster, database: str) -> None:
    async with statements_as(own_cluster, database, "app") as statements:
        with pytest.raises(StartupRefused, match="no role tenantry_ghost"):
            await describe_role(statements, "tenantry_ghost")


@pytest.mark.req("DB-5")
async def test_migrating_again_repairs_what_a_session_changed_about_its_own_role(
    own_cluster: Cluster, database: str
) -> None:
    """PostgreSQL lets any role change its own password and defaults; that must not last."""
    async with statements_as(own_cluster, database, "app") as statements:
        await statements.execute(b"ALTER ROLE tenantry_app PASSWORD 'changed'")
        await statements.execute(b"ALTER ROLE tenantry_app SET statement_timeout = 1")
        await statements.execute(b"ALTER ROLE tenantry_app SET work_mem = '64kB'")
    with pytest.raises(psycopg.OperationalError):
        async with statements_as(own_cluster, database, "app"):
            pass
    _migrate(own_cluster, database)
    async with statements_as(own_cluster, database, "app") as statements:
        assert await check_role(statements, "tenantry_app") == []
        assert await statements.value(b"SHOW statement_timeout") == "30s"


@pytest.mark.req("DB-4")
async def test_without_the_right_to_note_it_every_statement_verifies_the_context(
    own_cluster: Cluster,
) -> None:
    """As on a managed PostgreSQL whose administrator is no superuser."""
    look = b"SELECT external_id FROM tenantry.members"
    revoke = "REVOKE SET ON PARAMETER backtrace_functions FROM tenantry_owner"
    async with World.create(own_cluster, Path(tempfile.gettempdir())) as world:
        async with world.db.tenant(world.acme) as tx:
            assert len(await tx.rows(look)) == 1
            assert len(await tx.value(b"SELECT current_setting('backtrace_functions')")) > 140
        _admin(own_cluster, world.database, revoke)
        try:
            async with world.db.tenant(world.acme) as tx:
                for _ in range(3):
                    assert len(await tx.rows(look)) == 1
                assert await tx.value(b"SELECT current_setting('backtrace_functions')") == ""
        finally:
            _migrate(own_cluster, world.database)
