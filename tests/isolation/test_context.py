"""Without a genuine context nothing is reached, not even emptiness (DB-3, DB-4, DB-6)."""

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tenantry.core.clock import ManualClock
from tenantry.core.errors import ContextInvalid
from tenantry.db.pool import RolePool
from tenantry.isolation.context import ContextMint, TenantContext
from tenantry.isolation.transaction import Database
from tests.isolation import tokens
from tests.isolation.arena import TENANT_TABLES, Arena, build
from tests.worlds import Cluster, World

OPERATIONS = {
    "select": "SELECT * FROM tenantry.{}",
    "count": "SELECT count(*) FROM tenantry.{}",
    "select-a-constant": "SELECT 1 FROM tenantry.{} LIMIT 0",
    "select-for-update": "SELECT 1 FROM tenantry.{} FOR UPDATE",
    "insert": "INSERT INTO tenantry.{} (tenant_id) VALUES (gen_random_uuid())",
    "insert-defaults": "INSERT INTO tenantry.{} DEFAULT VALUES",
    "insert-nothing": "INSERT INTO tenantry.{} (tenant_id) SELECT gen_random_uuid() WHERE false",
    "update": "UPDATE tenantry.{} SET tenant_id = tenant_id",
    "delete": "DELETE FROM tenantry.{}",
    "merge": "MERGE INTO tenantry.{} AS t USING (SELECT 1) AS s ON false WHEN MATCHED THEN DELETE",
    "copy-out": "COPY tenantry.{} TO STDOUT",
    "copy-query": "COPY (SELECT * FROM tenantry.{}) TO STDOUT",
    "copy-in": "COPY tenantry.{} FROM STDIN",
    "truncate": "TRUNCATE tenantry.{} CASCADE",
    "lock": "LOCK TABLE tenantry.{}",
    "declare": "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM tenantry.{}",
    "explain": "EXPLAIN ANALYZE SELECT * FROM tenantry.{}",
}


@pytest.fixture(scope="module")
def empty(cluster: Cluster) -> Iterator[str]:
    name = cluster.create_database()
    yield name
    cluster.drop_database(name)


@pytest.fixture(scope="module")
def arena(cluster: Cluster, database: str) -> Arena:
    return build(cluster, database)


@contextmanager
def signed_in(cluster: Cluster, database: str) -> Iterator[psycopg.Connection[Any]]:
    """The server's own sign-in, past every door: as a bug or an attacker would use it."""
    url = make_conninfo(
        cluster.url(database), user="tenantry_app", password=cluster.secrets.app_password
    )
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def tables(cluster: Cluster, database: str) -> list[str]:
    """Every tenant table there is."""
    with psycopg.connect(cluster.admin_url(database)) as admin:
        return [row[0] for row in admin.execute(TENANT_TABLES).fetchall()]


@pytest.mark.req("DB-3")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "with-rows"])
def test_no_context_is_an_error_on_every_table(
    cluster: Cluster, arena: Arena, empty: str, operation: str, is_empty: bool
) -> None:
    database = empty if is_empty else arena.database
    found = tables(cluster, database)
    assert len(found) >= 19
    with signed_in(cluster, database) as connection:
        for table in found:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(OPERATIONS[operation].format(table).encode())


@pytest.mark.req("DB-3")
@pytest.mark.parametrize("setting", [None, "", "x", "k1"])
def test_tenants_role_without_a_genuine_context_is_an_error(
    cluster: Cluster, arena: Arena, setting: str | None
) -> None:
    """Were the role taken but the context not set: rows raise, whatever the plan."""
    with signed_in(cluster, arena.database) as connection:
        connection.execute("SET ROLE tenantry_tenant")
        if setting is not None:
            connection.execute("SELECT set_config('tenantry.context', %s, false)", [setting])
        expected = "TC002" if setting else "TC001"
        for method in ("enable_seqscan", "enable_indexscan", "enable_bitmapscan"):
            connection.execute(f"SET {method} = off".encode())
            for table in tables(cluster, arena.database):
                with pytest.raises(psycopg.Error) as refused:
                    connection.execute(f"SELECT * FROM tenantry.{table}".encode())
                assert refused.value.sqlstate in {expected, "42501"}, table


@pytest.mark.req("DB-3")
def test_tenants_role_without_a_context_cannot_write_into_an_empty_table(
    cluster: Cluster, empty: str
) -> None:
    with signed_in(cluster, empty) as connection:
        connection.execute("SET ROLE tenantry_tenant")
        for table in ("members", "messages", "usage_events", "documents"):
            insert = OPERATIONS["insert"].format(table)
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(insert.encode())
            assert refused.value.sqlstate == "TC001", table


@pytest.mark.req("DB-4")
def test_context_dies_with_its_transaction(cluster: Cluster, arena: Arena) -> None:
    with signed_in(cluster, arena.database) as connection:
        body = tokens.body(arena.acme.tenant, connection.info.backend_pid)
        token = tokens.sign(cluster.signer, body)
        for ending in ("COMMIT", "ROLLBACK"):
            connection.execute("BEGIN")
            connection.execute("SET LOCAL ROLE tenantry_tenant")
            connection.execute("SELECT set_config('tenantry.context', %s, true)", [token])
            assert len(connection.execute("SELECT * FROM tenantry.messages").fetchall()) == 1
            connection.execute(ending.encode())
            # '' instead of NULL: as PostgreSQL leaves it.
            assert connection.execute("SHOW tenantry.context").fetchone() == ("",)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM tenantry.messages")


@pytest.mark.req("DB-4")
def test_token_is_worth_nothing_on_another_backend(cluster: Cluster, arena: Arena) -> None:
    with (
        signed_in(cluster, arena.database) as mine,
        signed_in(cluster, arena.database) as other,
    ):
        token = tokens.sign(cluster.signer, tokens.body(arena.globex.tenant, mine.info.backend_pid))
        for connection in (mine, other):
            connection.execute("SET ROLE tenantry_tenant")
            connection.execute("SELECT set_config('tenantry.context', %s, false)", [token])
        assert len(mine.execute("SELECT * FROM tenantry.messages").fetchall()) == 1
        with pytest.raises(psycopg.Error) as refused:
            other.execute("SELECT * FROM tenantry.messages")
        assert refused.value.sqlstate == "TC002"


@pytest.mark.req("DB-4")
def test_token_expires_also_in_the_middle_of_a_transaction(cluster: Cluster, arena: Arena) -> None:
    with signed_in(cluster, arena.database) as connection:
        body = tokens.body(arena.acme.tenant, connection.info.backend_pid, life_s=2)
        connection.execute("BEGIN")
        connection.execute("SET LOCAL ROLE tenantry_tenant")
        connection.execute(
            "SELECT set_config('tenantry.context', %s, true)", [tokens.sign(cluster.signer, body)]
        )
        assert len(connection.execute("SELECT * FROM tenantry.messages").fetchall()) == 1
        connection.execute("SELECT pg_sleep(2.1)")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("SELECT * FROM tenantry.messages")
        assert refused.value.sqlstate == "TC002"


@pytest.mark.req("DB-4")
def test_replayed_token_shows_its_own_tenant_only(cluster: Cluster, arena: Arena) -> None:
    """On the same backend, within its life, a token is good again: for what it was made for."""
    with signed_in(cluster, arena.database) as connection:
        pid = connection.info.backend_pid
        token = tokens.sign(cluster.signer, tokens.body(arena.acme.tenant, pid))
        for _ in range(2):
            connection.execute("BEGIN")
            connection.execute("SET LOCAL ROLE tenantry_tenant")
            connection.execute("SELECT set_config('tenantry.context', %s, true)", [token])
            seen = connection.execute("SELECT tenant_id FROM tenantry.messages").fetchall()
            assert seen == [(arena.acme.tenant,)]
            connection.execute("COMMIT")


@pytest.mark.req("DB-4")
def test_savepoint_brings_the_genuine_context_back(cluster: Cluster, arena: Arena) -> None:
    with signed_in(cluster, arena.database) as connection:
        body = tokens.body(arena.acme.tenant, connection.info.backend_pid)
        connection.execute("BEGIN")
        connection.execute("SET LOCAL ROLE tenantry_tenant")
        connection.execute(
            "SELECT set_config('tenantry.context', %s, true)", [tokens.sign(cluster.signer, body)]
        )
        connection.execute("SAVEPOINT a")
        connection.execute("SELECT set_config('tenantry.context', '', true)")
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT * FROM tenantry.messages")
        connection.execute("ROLLBACK TO SAVEPOINT a")
        assert len(connection.execute("SELECT * FROM tenantry.messages").fetchall()) == 1


@pytest.mark.req("DB-4")
def test_plan_prepared_under_one_tenant_serves_the_other_its_own(
    cluster: Cluster, arena: Arena
) -> None:
    """A cached plan must hold no tenant: neither as a constant nor as a row estimate's value."""
    with signed_in(cluster, arena.database) as connection:
        connection.execute("SET ROLE tenantry_tenant")
        connection.execute("PREPARE q AS SELECT tenant_id FROM tenantry.messages")
        for number in range(14):  # past the switch from custom to generic plans
            side = (arena.acme, arena.globex)[number % 2]
            body = tokens.body(side.tenant, connection.info.backend_pid)
            connection.execute(
                "SELECT set_config('tenantry.context', %s, false)",
                [tokens.sign(cluster.signer, body)],
            )
            assert connection.execute("EXECUTE q").fetchall() == [(side.tenant,)]


@pytest.mark.req("DB-6")
async def test_context_that_was_not_minted_is_refused_before_the_database(world: World) -> None:
    changed = dataclasses.replace(world.acme, tenant=world.globex.tenant)
    other_mint = ContextMint(b"another process's key, 32 bytes.").mint(
        world.globex.tenant, world.acme.actor, world.acme.scopes, "req", world.acme.deadline
    )
    unsealed = TenantContext(
        world.globex.tenant, world.acme.actor, world.acme.scopes, "req", world.acme.deadline, b""
    )
    for forged in (changed, other_mint, unsealed):
        with pytest.raises(ContextInvalid):
            async with world.db.tenant(forged):
                pytest.fail("a forged context was let in")
    assert world.pools["app"].stats().get("requests_num", 0) == 0


@pytest.mark.req("DB-6")
async def test_no_caller_can_pass_another_tenant(world: World) -> None:
    async with world.db.tenant(world.acme) as tx:
        given = await tx.value(b"SELECT %(tenant)s::uuid", tenant=world.globex.tenant)
    assert given == world.acme.tenant


@pytest.mark.req("DB-4")
async def test_retired_key_ends_every_token_signed_with_it(world: World) -> None:
    query = b"SELECT member_id FROM tenantry.members"
    async with world.db.tenant(world.acme) as tx:
        assert len(await tx.rows(query)) == 1
        with world.admin() as admin:
            admin.execute("UPDATE tenantry_private.signing_keys SET retired_at = now()")
    with pytest.raises(ContextInvalid):
        async with world.db.tenant(world.acme) as tx:
            await tx.rows(query)


@pytest.mark.req("DB-3", "DB-6")
async def test_many_transactions_at_once_keep_their_tenants(world: World) -> None:
    async def look(ctx: TenantContext) -> bool:
        async with world.db.tenant(ctx) as tx:
            await tx.value(b"SELECT pg_sleep(0.001)")
            return await tx.rows(b"SELECT tenant_id FROM tenantry.members") == [
                {"tenant_id": ctx.tenant}
            ]

    sides = (world.acme, world.globex)
    assert all(await asyncio.gather(*(look(sides[n % 2]) for n in range(200))))


@pytest.mark.req("DB-4")
async def test_door_signs_with_the_clock_it_was_given(world: World) -> None:
    """A server whose clock is behind by more than a token's life is refused, not trusted."""
    pool: RolePool = world.pools["app"]
    late = ManualClock(world.clock.now() - timedelta(seconds=301))
    with pytest.raises(ContextInvalid):
        async with Database(pool, world.mint, world.cluster.signer, late).tenant(world.acme) as tx:
            await tx.rows(b"SELECT * FROM tenantry.members")
