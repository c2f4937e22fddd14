"""Behind PgBouncer in transaction mode the context works, and dies with its transaction (DB-4).

Sessions are shared between clients there: every transaction may run in another one. Needs the
program pgbouncer (`tests/install_debian.sh`); skipped, visibly, without it.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenantry.core.clock import SystemClock
from tenantry.core.errors import NotFound, TenantryError
from tenantry.db.pool import RolePool
from tenantry.isolation.transaction import Database
from tests.isolation import tokens
from tests.isolation.arena import Arena, build
from tests.worlds import Cluster

pytestmark = pytest.mark.skipif(
    shutil.which("pgbouncer") is None,
    reason="PgBouncer is not installed: run tests/install_debian.sh",
)
_CONFIG = """
[databases]
* = host={server}
[pgbouncer]
unix_socket_dir = {folder}
listen_addr =
listen_port = 6432
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 100
"""


@pytest.fixture(scope="module")
def arena(cluster: Cluster, database: str) -> Arena:
    return build(cluster, database)


@pytest.fixture(scope="module", params=[1, 3], ids=["one-session", "three-sessions"])
def pooler(arena: Arena, request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of the database behind a pooler with so few server sessions that all share them."""
    with tempfile.TemporaryDirectory(prefix="pgb-") as name:
        folder, url = Path(name), arena.cluster.url(arena.database)
        server = conninfo_to_dict(url)["host"]
        (folder / "users").write_text(
            f'"tenantry_app" "{arena.cluster.secrets.app_password}"\n', encoding="utf-8"
        )
        config = folder / "pgbouncer.ini"
        config.write_text(
            _CONFIG.format(server=server, folder=folder, sessions=request.param), encoding="utf-8"
        )
        user, group = _owner(folder)
        process = subprocess.Popen(
            ["pgbouncer", str(config)], stderr=subprocess.DEVNULL, user=user, group=group
        )
        try:
            address = make_conninfo(url, host=name, port=6432)
            _wait(address, arena.cluster.secrets.app_password)
            yield address
        finally:
            process.terminate()
            process.wait(10)


def _owner(folder: Path) -> tuple[int | None, int | None]:
    """PgBouncer refuses to run as root, and PostgreSQL's socket belongs to one user."""
    if os.geteuid() != 0:
        return None, None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        for path in (folder, *folder.iterdir()):
            os.chown(path, entry.pw_uid, entry.pw_gid)
        return entry.pw_uid, entry.pw_gid
    pytest.skip("no user to run PgBouncer as")


def _wait(address: str, password: str) -> None:
    for _ in range(100):
        try:
            psycopg.connect(address, user="tenantry_app", password=password).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("PgBouncer does not answer")


@asynccontextmanager
async def door(arena: Arena, pooler: str, *, is_told: bool = True) -> AsyncIterator[Database]:
    """The door of a server that sits behind the pooler, and knows it unless told otherwise."""
    pool = RolePool(
        pooler, "tenantry_app", arena.cluster.secrets.app_password, 8, behind_pooler=is_told
    )
    await pool.open()
    try:
        yield Database(pool, arena.mint, arena.cluster.signer, SystemClock(), behind_pooler=is_told)
    finally:
        await pool.close()


@pytest.mark.req("DB-4")
async def test_both_tenants_share_sessions_and_see_their_own(arena: Arena, pooler: str) -> None:
    sides = (arena.acme, arena.globex)

    async def look(db: Database, number: int) -> int:
        side = sides[number % 2]
        async with db.tenant(side.ctx) as tx:
            for _ in range(3):
                rows = await tx.rows(b"SELECT content FROM tenantry.messages")
                assert rows == [{"content": side.canaries["messages"]}]
                await asyncio.sleep(0.001)
            return int(await tx.value(b"SELECT pg_backend_pid()"))

    async with door(arena, pooler) as db:
        sessions = await asyncio.gather(*(look(db, n) for n in range(60)))
    assert len(set(sessions)) <= 3


@pytest.mark.req("DB-4")
async def test_context_dies_with_its_transaction(arena: Arena, pooler: str) -> None:
    """The next client of the very same server session finds no context and no role."""
    password = arena.cluster.secrets.app_password
    async with door(arena, pooler) as db:
        for side in (arena.acme, arena.globex, arena.acme):
            async with db.tenant(side.ctx) as tx:
                assert len(await tx.rows(b"SELECT * FROM tenantry.messages")) == 1
            with psycopg.connect(
                pooler, user="tenantry_app", password=password, autocommit=True
            ) as next_client:
                for _ in range(4):
                    row = next_client.execute(
                        "SELECT coalesce(current_setting('tenantry.context', true), ''),"
                        " current_user::text, session_user::text"
                    ).fetchone()
                    assert row == ("", "tenantry_app", "tenantry_app")
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        next_client.execute("SELECT * FROM tenantry.messages")


@pytest.mark.req("DB-4")
async def test_context_and_role_are_the_transactions_own(arena: Arena, pooler: str) -> None:
    """Not the session's, which the reset at the end would merely tidy up."""
    query = (
        b"SELECT coalesce(current_setting('tenantry.context', true), '') AS token,"
        b" current_user::text AS acting"
    )

    found: list[object] = []

    async def look(db: Database, ending: bytes) -> None:
        async with db.tenant(arena.acme.ctx) as tx:
            await tx.execute(ending)
            found.append(await tx.row(query))

    async with door(arena, pooler) as pooled, arena.pool() as pool:
        for db in (pooled, arena.door(pool)):
            for ending in (b"COMMIT", b"ROLLBACK"):
                with pytest.raises(TenantryError):
                    await look(db, ending)
    assert found == [{"token": "", "acting": "tenantry_app"}] * 4


@pytest.mark.req("DB-4")
async def test_rolled_back_transaction_leaves_nothing_either(arena: Arena, pooler: str) -> None:
    async with door(arena, pooler) as db:
        for error in (NotFound(), TenantryError()):
            with pytest.raises(type(error)):
                async with db.tenant(arena.globex.ctx):
                    raise error
        async with db.tenant(arena.acme.ctx) as tx:
            rows = await tx.rows(b"SELECT content FROM tenantry.messages")
    assert rows == [{"content": arena.acme.canaries["messages"]}]


@pytest.mark.req("DB-4")
async def test_settings_smuggled_into_a_shared_session_end_with_the_transaction(
    arena: Arena, pooler: str
) -> None:
    smuggle = (
        b"SELECT set_config('search_path', 'public', false), set_config('my.loot', 'x', false)"
    )
    async with door(arena, pooler) as db:
        async with db.tenant(arena.acme.ctx) as tx:
            await tx.rows(smuggle)
        for _ in range(4):
            async with db.tenant(arena.globex.ctx) as tx:
                row = await tx.row(
                    b"SELECT current_setting('search_path') AS path,"
                    b" coalesce(current_setting('my.loot', true), '') AS loot"
                )
                assert row == {"path": "pg_catalog, extensions", "loot": ""}


@pytest.mark.req("DB-4")
def test_token_of_one_session_is_worth_nothing_in_another(arena: Arena, pooler: str) -> None:
    password = arena.cluster.secrets.app_password
    with (
        psycopg.connect(
            pooler, user="tenantry_app", password=password, autocommit=True
        ) as connection,
        connection.transaction(),
    ):
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        token = tokens.sign(arena.cluster.signer, tokens.body(arena.globex.tenant, row[0] + 1))
        connection.execute("SET LOCAL ROLE tenantry_tenant")
        connection.execute("SELECT set_config('tenantry.context', %s, true)", [token])
        with pytest.raises(psycopg.Error) as refused, connection.transaction():
            connection.execute("SELECT * FROM tenantry.messages")
    assert refused.value.sqlstate == "TC002"


@pytest.mark.req("DB-4")
async def test_server_that_was_not_told_of_the_pooler_fails_closed(
    arena: Arena, pooler: str
) -> None:
    """Its tokens name the pooler's idea of a process id: every read is refused, none is wrong."""
    async with door(arena, pooler, is_told=False) as db:
        with pytest.raises(TenantryError):
            async with db.tenant(arena.acme.ctx) as tx:
                await tx.rows(b"SELECT * FROM tenantry.messages")
