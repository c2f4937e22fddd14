"""SQL with full freedom inside acme's transaction reaches no row of globex (DB-3, DB-4, DB-6).

Each attack runs twice: to its first error, and past every error by savepoints. After each: nothing
of globex was seen, globex's rows are unchanged, and the next user of the same pooled connection
finds its own rows and an untouched session.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tenantry.core.errors import ContextInvalid, TenantryError
from tenantry.db.pool import RolePool
from tenantry.isolation import declared
from tenantry.isolation.transaction import Database
from tests.isolation import attacks, tokens
from tests.isolation.arena import TENANT_TABLES, Arena, Attacker, assault, build
from tests.isolation.look import LOOK, READABLE
from tests.worlds import Cluster

CASES = [f"{family}:{name}" for family, cases in attacks.FAMILIES.items() for name in cases]
_STATE = b"""
SELECT current_user::text AS acting, session_user::text AS signed_in,
       current_setting('my.loot', true) AS loot,
       ARRAY(SELECT name || '=' || setting FROM pg_settings WHERE source = 'session'
                AND name NOT LIKE 'tenantry.%%' AND name NOT IN ('role', 'backtrace_functions')
              ORDER BY name) AS settings,
       (SELECT count(*) FROM pg_locks
         WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
       (SELECT count(*) FROM pg_cursors WHERE name = 'loot') AS cursors,
       (SELECT count(*) FROM pg_prepared_statements WHERE from_sql) AS prepared,
       (SELECT count(*) FROM pg_listening_channels()) AS channels,
       pg_my_temp_schema()::int AS temporary
"""
_CLEAN = {
    "acting": "tenantry_tenant",
    "signed_in": "tenantry_app",
    "settings": [],
    "locks": 0,
    "cursors": 0,
    "prepared": 0,
    "channels": 0,
    "temporary": 0,
}

_COLUMNS = b"""
SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""


@pytest.fixture(scope="module")
def arena(cluster: Cluster, database: str) -> Arena:
    arena = build(cluster, database)
    retired = "UPDATE tenantry_private.signing_keys SET retired_at = now() WHERE key_id = 'r0'"
    with arena.admin() as admin:
        admin.execute(
            "INSERT INTO tenantry_private.signing_keys (key_id, inner_block, outer_block)"
            " SELECT 'r0', inner_block, outer_block FROM tenantry_private.signing_keys"
        )
        admin.execute(retired)
    return arena


@contextlib.contextmanager
def as_acme(arena: Arena, view: str = "g") -> Iterator[psycopg.Connection[Any]]:
    """A raw connection in a transaction with acme's genuine context; each statement alone."""
    url = make_conninfo(
        arena.cluster.url(arena.database),
        user="tenantry_app",
        password=arena.cluster.secrets.app_password,
    )
    with psycopg.connect(url, autocommit=True) as connection:
        body = tokens.body(arena.acme.tenant, connection.info.backend_pid, view=view)
        token = tokens.sign(arena.cluster.signer, body)
        connection.execute("SELECT set_config('tenantry.context', %s, false)", [token])
        connection.execute("SET ROLE tenantry_tenant")
        yield connection


def leaks(arena: Arena, attacker: Attacker) -> list[str]:
    """Globex's canaries in anything the attacker was shown."""
    shown = "\n".join(attacker.seen)
    return [c for c in arena.globex.canaries.values() if c.rpartition("_")[2] in shown]


async def use(arena: Arena, pool: RolePool) -> tuple[list[Any], dict[str, Any]]:
    """What globex's next transaction finds: its rows and its session's state."""
    async with pool.connection() as connection:
        cursor = await connection.execute(b"SELECT current_user::text AS idle")
        assert await cursor.fetchone() == {"idle": "tenantry_app"}
    door = arena.door(pool)
    for _ in range(4):  # often enough that the driver uses prepared statements
        async with door.tenant(arena.globex.ctx) as tx:
            rows = await tx.rows(b"SELECT content FROM tenantry.messages WHERE role <> %(x)s", x="")
            state = await tx.row(_STATE) or {}
    assert not state.pop("loot")
    return rows, state


@pytest.mark.req("DB-3", "DB-4", "DB-6")
@pytest.mark.parametrize("go_on", [False, True], ids=["to-the-first-error", "past-errors"])
@pytest.mark.parametrize("case", CASES)
async def test_attack_reaches_nothing(arena: Arena, case: str, go_on: bool) -> None:
    family, _, name = case.partition(":")
    before = arena.fingerprint(arena.globex)
    own = [{"content": arena.globex.canaries["messages"]}]
    async with arena.pool() as pool:
        assert await use(arena, pool) == (own, _CLEAN)
        attacker = await assault(
            arena,
            arena.door(pool),
            attacks.FAMILIES[family][name],
            go_on=go_on,
            commit=family != "writes",  # else acme would lose what it deletes of its own
        )
        assert await use(arena, pool) == (own, _CLEAN)
    assert leaks(arena, attacker) == []
    assert arena.fingerprint(arena.globex) == before
    assert attacker.ran >= 1
    assert (
        "42601" not in attacker.errors.values()
    )  # a statement with a typing error attacks nothing


@pytest.mark.req("DB-4")
@pytest.mark.parametrize("scope", ["true", "false"], ids=["local", "session"])
@pytest.mark.parametrize("forgery", tokens.NAMES)
@pytest.mark.parametrize("is_verified", [False, True], ids=["at-once", "after-own-was-verified"])
async def test_forged_context_is_an_error(
    arena: Arena, forgery: str, scope: str, is_verified: bool
) -> None:
    seen: list[Attacker] = []

    async def forge(door: Database) -> None:
        async with door.tenant(arena.acme.ctx) as tx:
            seen.append(Attacker(tx, {}))
            if is_verified:
                assert len(await tx.rows(b"SELECT content FROM tenantry.messages")) == 1
            pid = await tx.value(b"SELECT pg_backend_pid()")
            made = tokens.forgeries(
                arena.cluster.signer, arena.globex.tenant, arena.acme.tenant, pid
            )
            setting = f"SELECT set_config('tenantry.context', %(token)s, {scope})"
            await tx.rows(setting.encode(), token=made[forgery])
            await seen[0].run(LOOK)

    async with arena.pool() as pool:
        with pytest.raises(ContextInvalid):
            await forge(arena.door(pool))
        assert leaks(arena, seen[0]) == []
        assert (await use(arena, pool))[1] == _CLEAN


@pytest.mark.req("DB-4")
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT set_config('backtrace_functions', %(token)s, true)",
        "SELECT set_config('backtrace_functions', %(token)s, false)",
        "SELECT set_config('tenantry.context', %(token)s, true),"
        " set_config('backtrace_functions', %(token)s, true)",
        "UPDATE pg_settings SET setting = %(token)s WHERE name = 'backtrace_functions'",
    ],
)
async def test_note_that_a_token_is_genuine_cannot_be_made_by_tenants(
    arena: Arena, statement: str
) -> None:
    """With it, a forged token would be believed without a look at its signature."""

    async def note(door: Database) -> None:
        async with door.tenant(arena.acme.ctx) as tx:
            pid = await tx.value(b"SELECT pg_backend_pid()")
            token = tokens.body(arena.globex.tenant, pid) + "0" * 64
            try:
                await tx.rows(statement.encode(), token=token)
            except psycopg.errors.InsufficientPrivilege:
                refused.append(statement)
                raise

    refused: list[str] = []
    async with arena.pool() as pool:
        with pytest.raises(TenantryError):
            await note(arena.door(pool))
    assert refused


@pytest.mark.req("DB-4")
@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK", "ROLLBACK TO SAVEPOINT a"])
def test_note_that_a_token_is_genuine_ends_as_the_context_does(arena: Arena, ending: str) -> None:
    show, look = b"SHOW backtrace_functions", b"SELECT content FROM tenantry.messages"
    with as_acme(arena) as acme:
        acme.execute("BEGIN")
        acme.execute("SAVEPOINT a")
        assert acme.execute(show).fetchone() == ("",)
        assert len(acme.execute(look).fetchall()) == 1
        assert acme.execute(show).fetchone() == acme.execute("SHOW tenantry.context").fetchone()
        acme.execute(ending.encode())
        assert acme.execute(show).fetchone() == ("",)
        acme.execute("ROLLBACK")


@pytest.mark.req("DB-3")
async def test_control_own_rows_are_all_seen_and_only_those(arena: Arena) -> None:
    """Else every attack above would fail for the wrong reason."""
    async with arena.pool() as pool:
        attacker = await assault(arena, arena.door(pool), [LOOK], go_on=False)
    shown = attacker.seen[0]
    for table in READABLE:
        for side, is_seen in ((arena.acme, True), (arena.globex, False)):
            if table in side.canaries:
                mark = side.canaries[table].rpartition("_")[2]
                # PostgreSQL shows bytes by their digits.
                assert (mark in shown or mark.encode().hex() in shown) is is_seen, table


@pytest.mark.req("DB-2", "DB-3")
def test_every_tenant_table_holds_a_row_of_both_tenants(arena: Arena) -> None:
    with arena.admin() as admin:
        for (table,) in admin.execute(TENANT_TABLES).fetchall():
            counts = admin.execute(
                f"SELECT count(*) FILTER (WHERE tenant_id = %s), count(*) FILTER"
                f" (WHERE tenant_id = %s) FROM tenantry.{table}".encode(),
                [arena.acme.tenant, arena.globex.tenant],
            ).fetchone()
            assert counts == (1, 1), table


@pytest.mark.req("DB-3")
def test_look_reads_every_table_that_tenants_may_read() -> None:
    readable = {
        name.removeprefix("tenantry.")
        for name, role, privilege in declared.GRANTS
        if role == declared.TENANT_ROLE and privilege == "SELECT"
    }
    shared = {name.removeprefix("tenantry.") for name in declared.PLATFORM_TABLES}
    assert set(READABLE) == readable - shared


@pytest.mark.req("DB-1", "DB-3")
def test_no_row_can_be_given_to_the_neighbour(arena: Arena) -> None:
    """For every table: a copy of an own row for globex, and an own row moved to globex."""
    copied: set[str] = set()
    moved: set[str] = set()
    with arena.admin() as admin:
        for name, role, privilege in sorted(declared.GRANTS):
            if role != declared.TENANT_ROLE or privilege not in {"INSERT", "UPDATE"}:
                continue
            columns = admin.execute(_COLUMNS, [name]).fetchone()
            assert columns is not None
            fields = columns[0].replace("tenant_id", "%(globex)s", 1)
            statement = {
                "INSERT": f"INSERT INTO {name} ({columns[0]}) SELECT {fields} FROM {name}",
                "UPDATE": f"UPDATE {name} SET tenant_id = %(globex)s",
            }[privilege]
            with as_acme(arena, "k") as tenant, pytest.raises(psycopg.Error) as refused:
                tenant.execute(statement.encode(), {"globex": arena.globex.tenant})
            assert "row-level security policy" in str(refused.value), statement
            (copied if privilege == "INSERT" else moved).add(name)
    assert len(copied) >= 13
    assert len(moved) >= 6


@pytest.mark.req("DB-4")
async def test_session_of_the_neighbour_is_neither_seen_nor_ended(arena: Arena) -> None:
    """All tenants share one role, and PostgreSQL shows a role its own other sessions."""
    async with arena.pool(2) as pool:
        door = arena.door(pool)
        async with door.tenant(arena.globex.ctx) as tx:
            victim = await tx.value(b"SELECT pg_backend_pid()")
            with as_acme(arena) as tenant:
                for look in (
                    b"SELECT query FROM pg_stat_activity WHERE pid = %s",
                    b"SELECT query FROM pg_stat_get_activity(%s)",
                    b"SELECT pg_terminate_backend(%s, 0)",
                    b"SELECT pg_cancel_backend(%s)",
                ):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        tenant.execute(look, [victim])
            assert len(await tx.rows(b"SELECT content FROM tenantry.messages")) == 1


@pytest.mark.req("DB-4")
async def test_prepared_statement_of_the_driver_cannot_be_replaced(arena: Arena) -> None:
    """Replaced under its name, it would run inside globex's transaction: close the connection."""
    query = b"SELECT content FROM tenantry.messages WHERE role <> %(x)s"
    find = (
        b"SELECT name, pg_backend_pid() AS pid FROM pg_prepared_statements"
        b" WHERE statement LIKE 'SELECT content%%'"
    )
    poison = (
        "PREPARE {}(text) AS SELECT 'poisoned ' || tenant_id AS content"
        " FROM tenantry.tenants WHERE name <> $1"
    )

    async def replace(door: Database, name: str) -> None:
        async with door.tenant(arena.acme.ctx) as tx:
            await tx.execute(f"DEALLOCATE {name}".encode())
            await tx.execute(poison.format(name).encode())

    async with arena.pool() as pool:
        door = arena.door(pool)
        await use(arena, pool)
        async with door.tenant(arena.acme.ctx) as tx:
            prepared = await tx.rows(find)
        name, pid = prepared[0]["name"], prepared[0]["pid"]
        with pytest.raises(TenantryError, match="nothing else"):
            await replace(door, name)
        async with door.tenant(arena.globex.ctx) as tx:
            assert await tx.rows(query, x="") == [{"content": arena.globex.canaries["messages"]}]
            assert await tx.value(b"SELECT pg_backend_pid()") != pid


@pytest.mark.req("DB-4")
@pytest.mark.parametrize(
    ("statement", "is_plain"),
    [
        (b"SELECT 1", True),
        (b"WITH x AS (SELECT 1) SELECT * FROM x", True),
        (b"VALUES (1)", True),
        (b"TABLE tenantry.members", True),
        (b"UPDATE tenantry.conversations SET title = 'A'", True),
        (b"SELECT set_config('work_mem', '1MB', true)", True),
        (b"SET LOCAL work_mem = '1MB'", False),
        (b"SELECT 1; SELECT 2", False),
        (b"SELECT 1; PREPARE loot AS SELECT 2", False),
        (b"EXPLAIN SELECT 1", False),
        (b"DO $$ BEGIN END $$", False),
        (b"SAVEPOINT a", False),
        (b"LISTEN loot", False),
    ],
)
@pytest.mark.parametrize("method", ["execute", "rows", "row", "value", "execute_many"])
async def test_session_that_ran_anything_but_reads_and_writes_is_closed(
    arena: Arena, statement: bytes, is_plain: bool, method: str
) -> None:
    async def run(door: Database) -> None:
        async with door.tenant(arena.acme.ctx) as tx:
            with contextlib.suppress(psycopg.ProgrammingError):  # "has no rows", from the driver
                if method == "execute_many":
                    await tx.execute_many(statement, [{}, {}])
                else:
                    await getattr(tx, method)(statement)

    backend = b"SELECT pg_backend_pid()"
    async with arena.pool() as pool:
        door = arena.door(pool)
        async with door.tenant(arena.globex.ctx) as tx:
            pid = await tx.value(backend)
        if is_plain:
            await run(door)
        else:
            with pytest.raises(TenantryError):
                await run(door)
        async with door.tenant(arena.globex.ctx) as tx:
            assert (await tx.value(backend) == pid) is is_plain


@pytest.mark.req("DB-3")
@pytest.mark.parametrize("ending", [b"COMMIT", b"ROLLBACK", b"COMMIT AND CHAIN"])
async def test_transaction_ended_from_inside_never_reports_success(
    arena: Arena, ending: bytes
) -> None:
    async def end_it(door: Database) -> None:
        async with door.tenant(arena.acme.ctx, keeping=True) as tx:
            await tx.execute(b"UPDATE tenantry.members SET display_name = 'half'")
            await tx.execute(ending)

    async with arena.pool() as pool:
        with pytest.raises(TenantryError):
            await end_it(arena.door(pool))


@pytest.mark.req("DB-3")
async def test_error_swallowed_by_the_caller_never_reports_success(arena: Arena) -> None:
    """PostgreSQL answers COMMIT of a failed transaction without an error."""

    async def swallow(door: Database) -> None:
        async with door.tenant(arena.acme.ctx, keeping=True) as tx:
            await tx.execute(b"UPDATE tenantry.members SET display_name = 'lost'")
            with contextlib.suppress(psycopg.errors.DivisionByZero):
                await tx.rows(b"SELECT 1 / 0")

    async with arena.pool() as pool:
        door = arena.door(pool)
        with pytest.raises(TenantryError, match="ended before"):
            await swallow(door)
        async with door.tenant(arena.acme.ctx) as tx:
            assert await tx.value(b"SELECT display_name FROM tenantry.members") != "lost"
