"""A pooled connection reads, forgets, and stops what nobody waits for (CON-2, CON-3, POOL-2)."""

import asyncio
import socket
import tempfile
from contextlib import aclosing
from pathlib import Path

import pytest

from tenantry.connectors.database_source import Deadlines
from tenantry.connectors.postgres_client import received
from tenantry.connectors.postgres_driver import PostgresConnection
from tenantry.core.errors import QueryFailed, QueryTimeout, SourceUnreachable
from tenantry.core.events import Json
from tests.integration.connectors.postgres.conftest import Shop, fresh
from tests.sources.postgres import HOST

_ENDLESS = "SELECT count(*) AS {mark} FROM pg_sleep(60)"
_MANY = "SELECT n, repeat('x', 1000) AS {mark} FROM generate_series(1, 10000000) AS n"


async def _read(connection: PostgresConnection, sql: str) -> list[list[Json]]:
    columns = await connection.execute(sql)
    async with aclosing(connection.rows()) as rows:
        return [[c.value(v) for c, v in zip(columns, row, strict=True)] async for row in rows]


@pytest.mark.req("POOL-2")
async def test_the_server_says_who_and_where_a_connection_is(shop: Shop) -> None:
    one, two = await shop.connect(), await shop.connect()
    first, second = await one.identity(), await two.identity()
    assert (first.user, first.database) == (shop.user, shop.database)
    assert first.server != second.server  # each socket has a name of its own
    assert await one.reset() == first
    await one.close()
    await two.close()


@pytest.mark.req("POOL-2")
async def test_another_role_is_seen_in_the_identity(shop: Shop) -> None:
    other, _ = shop.server.create_login(shop.database)
    user, password = shop.server.create_login(shop.database, options=f"IN ROLE {other}")
    connection = await shop.connect(None, password, user=user)
    await _read(connection, f"SET ROLE {other}")
    assert (await connection.identity()).user == f"{user} as {other}"
    assert (await connection.reset()).user == user
    await connection.close()


@pytest.mark.parametrize(
    ("leave", "look", "clean"),
    [
        ("SELECT set_config('acme.left', 'behind', false)",
         "SELECT coalesce(current_setting('acme.left', true), '')", ""),
        ("SELECT 1 FROM pg_advisory_lock(7)",
         "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", 0),
        ("PREPARE left_behind AS SELECT 1", "EXECUTE left_behind", "QueryFailed"),
        ("SET search_path = public", "SHOW search_path", "pg_catalog"),
        ("SET standard_conforming_strings = off", r"SELECT length('\\')", 2),
        ("SET default_transaction_read_only = off", "SHOW default_transaction_read_only", "on"),
        ("SET statement_timeout = 0", "SHOW statement_timeout", "30s"),
        ("BEGIN", "SHOW transaction_read_only", "on"),
        ("LISTEN neighbours", "SELECT count(*) FROM pg_listening_channels()", 0),
    ],
)  # fmt: skip
@pytest.mark.req("POOL-2")
async def test_a_session_forgets_what_was_left_in_it(
    connection: PostgresConnection, leave: str, look: str, clean: Json
) -> None:
    await _read(connection, leave)
    await connection.reset()
    if clean == "QueryFailed":
        with pytest.raises(QueryFailed):
            await _read(connection, look)
    else:
        assert await _read(connection, look) == [[clean]]


@pytest.mark.req("CON-3")
async def test_a_servers_own_settings_for_the_login_do_not_decide_what_names_mean(
    shop: Shop,
) -> None:
    own = fresh(shop.server, "CREATE TABLE pg_class (a int); CREATE TABLE t (a int)")
    for setting in ("search_path = public, pg_catalog", "default_transaction_read_only = off",
                    "client_encoding = LATIN1", "\"DateStyle\" = 'German'"):  # fmt: skip
        shop.server.sql(f"ALTER ROLE {own.user} SET {setting}")
    connection = await own.connect()
    for _ in range(2):
        assert await _read(connection, "SELECT count(*) > 100 FROM pg_class") == [[True]]
        assert await _read(connection, "SELECT 'é', DATE '2024-01-31'") == [["é", "2024-01-31"]]
        with pytest.raises(QueryFailed, match="does not exist"):
            await _read(connection, "SELECT * FROM t")  # only names in full mean something
        await connection.reset()
    await connection.close()


@pytest.mark.parametrize(
    "write",
    [
        "INSERT INTO public.salaries VALUES (2, 1)",
        "UPDATE public.salaries SET amount = 0",
        "DELETE FROM public.salaries",
        "TRUNCATE TABLE public.salaries",
        "CREATE TABLE public.mine (a int)",
        "SELECT nextval('public.counter')",
        "COPY public.salaries TO PROGRAM 'true'",
        "GRANT SELECT ON public.salaries TO public",
    ],
)
@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.req("CON-3")
async def test_a_login_that_may_write_still_cannot(shop: Shop, write: str, begun: bool) -> None:
    shop.server.sql("CREATE SEQUENCE IF NOT EXISTS counter", shop.database)
    user, password = shop.server.create_login(shop.database, "ALL")
    shop.server.sql(f"GRANT ALL ON SCHEMA public TO {user}", shop.database)
    shop.server.sql(f"GRANT ALL ON SEQUENCE counter TO {user}", shop.database)
    connection = await shop.connect(None, password, user=user)
    if begun:
        await connection.begin()
    with pytest.raises(QueryFailed):
        await _read(connection, write)
    await connection.close()
    assert shop.server.sql("SELECT * FROM salaries", shop.database) == [(1, 4711)]


@pytest.mark.parametrize("sql", ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE public.salaries"])
@pytest.mark.req("CON-3")
async def test_the_server_takes_one_statement_at_a_time(
    connection: PostgresConnection, sql: str
) -> None:
    with pytest.raises(QueryFailed, match="multiple commands"):
        await _read(connection, sql)
    assert await _read(connection, "SELECT count(*) FROM public.salaries") == [[1]]


@pytest.mark.parametrize("copy", ["COPY public.orders TO STDOUT", "COPY public.orders FROM STDIN"])
async def test_a_copy_is_no_query(shop: Shop, copy: str) -> None:
    connection = await shop.connect()
    with pytest.raises((SourceUnreachable, QueryFailed)):
        await _read(connection, copy)
    await connection.close()


async def test_a_mistake_leaves_the_connection_usable(connection: PostgresConnection) -> None:
    with pytest.raises(QueryFailed, match="does not exist"):
        await _read(connection, "SELECT nonsense FROM public.orders")
    with pytest.raises(QueryFailed, match="division by zero"):
        await _read(connection, "SELECT 1 / (3 - n) FROM generate_series(1, 9) AS n")
    assert await _read(connection, "SELECT 1") == [[1]]


async def test_the_server_stops_a_statement_that_takes_too_long(shop: Shop) -> None:
    connection = await shop.connect(Deadlines(statement_s=0.2))
    with pytest.raises(QueryTimeout):
        await _read(connection, _ENDLESS.format(mark="too_long"))
    assert await _read(connection, "SELECT 1") == [[1]]
    await connection.close()


@pytest.mark.parametrize("tls", ["verify-full", "disable"])
@pytest.mark.req("CON-3")
async def test_closing_stops_a_query_at_the_server(shop: Shop, tls: str) -> None:
    connection = await shop.connect(tls=tls)
    task = asyncio.create_task(_read(connection, _ENDLESS.format(mark="cancelled")))
    assert await shop.server.comes_true("cancelled", running=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shop.server.running("cancelled")  # nobody waits for it, and it still runs
    await connection.close()
    assert await shop.server.comes_true("cancelled", running=False)


async def test_a_result_cut_short_is_never_mixed_with_the_next(shop: Shop) -> None:
    connection = await shop.connect()
    await connection.execute(_MANY.format(mark="unread"))
    async with aclosing(connection.rows()) as rows:
        assert (await anext(rows))[0] == b"1"
    for attempt in (connection.ping, connection.identity, connection.reset):
        with pytest.raises(SourceUnreachable, match="not read to its end"):
            await attempt()
    await connection.close()
    assert await shop.server.comes_true("unread", running=False)


async def test_a_server_that_ends_the_connection_is_lost(shop: Shop) -> None:
    connection = await shop.connect()
    number = (await connection.identity()).server.partition("#")[2]
    task = asyncio.create_task(_read(connection, _ENDLESS.format(mark="killed")))
    assert await shop.server.comes_true("killed", running=True)
    shop.server.sql(f"SELECT pg_terminate_backend({number})")
    with pytest.raises(SourceUnreachable):
        await task
    with pytest.raises(SourceUnreachable):
        await connection.ping()
    await connection.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not count bytes")
@pytest.mark.req("CON-3")
async def test_one_giant_value_is_not_taken_in(shop: Shop) -> None:
    connection = await shop.connect(tls="disable")
    client = connection._client
    with pytest.raises(SourceUnreachable, match="16 MB"):
        await _read(connection, "SELECT repeat('x', 200 * 1000 * 1000)")
    assert received(client._pg.socket) < 120_000_000
    await connection.close()
    other = await shop.connect()
    assert len(str((await _read(other, "SELECT repeat('x', 8 * 1000 * 1000)"))[0][0])) == 8_000_000
    await other.close()


@pytest.mark.parametrize(
    ("wrong", "password", "says"),
    [
        ({}, "wrong", "refused the login"),
        ({"user": "nobody"}, "", "refused the login"),
        ({"database": "nowhere"}, "", "no such database"),
        ({"port": 9}, "", f"Nothing answers at {HOST}, port 9"),
        ({"host": "other.test"}, "", "certificate is not one for other.test"),
        ({"host": "127.0.0.1"}, "", "certificate is not one for 127.0.0.1"),
        ({"tls_ca": ""}, "", "certificate"),
    ],
)
@pytest.mark.req("CON-2", "CON-4")
async def test_what_is_wrong_with_a_connection_is_told(
    shop: Shop, wrong: dict[str, Json], password: str, says: str
) -> None:
    with pytest.raises(SourceUnreachable, match=says) as caught:
        await shop.connect(None, password, **wrong)
    assert shop.password not in repr(caught.value)
    assert shop.password not in repr(caught.value.__context__)


@pytest.mark.req("POOL-4")
async def test_a_server_gets_a_password_in_the_clear_only_when_it_is_proven(shop: Shop) -> None:
    _, password = shop.server.create_login(shop.database, name="in_the_clear")
    proven = await shop.connect(None, password, user="in_the_clear")
    await proven.close()
    for tls in ("require", "disable"):
        with pytest.raises(SourceUnreachable, match="give it away"):
            await shop.connect(None, password, user="in_the_clear", tls=tls)


@pytest.mark.req("POOL-4")
async def test_a_server_that_asks_for_no_password_is_not_believed(shop: Shop) -> None:
    shop.server.create_login(shop.database, name="open_door")
    with pytest.raises(SourceUnreachable, match="no password"):
        await shop.connect(None, "whatever", user="open_door")


@pytest.mark.req("CON-4")
async def test_nothing_of_the_operators_own_libpq_is_picked_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "PGHOST": "10.0.0.7", "PGHOSTADDR": "10.0.0.7", "PGPORT": "1", "PGUSER": "postgres",
        "PGPASSWORD": "another", "PGPASSFILE": str(tmp_path / "pass"), "PGDATABASE": "nowhere",
        "PGOPTIONS": "-c statement_timeout=1", "PGSSLMODE": "disable", "PGSSLROOTCERT": "/none",
        "PGSSLCERT": "/none", "PGREQUIREAUTH": "none", "PGAPPNAME": "operator",
        "PGGSSENCMODE": "require", "PGTARGETSESSIONATTRS": "standby", "PGDATESTYLE": "German",
        "PGTZ": "Asia/Tokyo", "PGSSLMAXPROTOCOLVERSION": "TLSv1.1",
        "PGCLIENTENCODING": "LATIN1", "HOME": str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    connection = await shop.connect()
    identity = await connection.identity()
    assert (identity.user, identity.database) == (shop.user, shop.database)
    told = "SELECT current_setting('application_name'), current_setting('TimeZone')"
    assert await _read(connection, told) == [["tenantry", "UTC"]]
    await connection.close()
    with pytest.raises(SourceUnreachable, match="refused the login"):
        await shop.connect(None, "wrong")


async def test_authorities_are_in_a_file_only_while_a_connection_is_opened(shop: Shop) -> None:
    connection = await shop.connect()
    assert not list(Path(tempfile.gettempdir()).glob("tenantry-*/authorities.pem"))
    await connection.close()
