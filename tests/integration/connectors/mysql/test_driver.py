"""A pooled connection reads, forgets, and stops what nobody waits for (CON-2, CON-3, POOL-2)."""

import asyncio
import ssl
from contextlib import aclosing

import pytest

from tenantry.connectors.database_source import Deadlines
from tenantry.connectors.mysql_client import MySQLClient
from tenantry.connectors.mysql_driver import MySQLConnection
from tenantry.core.errors import QueryFailed, QueryTimeout, SourceUnreachable
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tests.integration.connectors.mysql.conftest import Shop
from tests.sources.mariadb import needs_mariadb

pytestmark = needs_mariadb
_ENDLESS = "SELECT COUNT(*) FROM seq_1_to_100000000 AS {mark}, seq_1_to_1000000 AS other"


async def _read(connection: MySQLConnection, sql: str) -> list[list[Json]]:
    columns = await connection.execute(sql)
    async with aclosing(connection.rows()) as rows:
        return [[c.value(v) for c, v in zip(columns, row, strict=True)] async for row in rows]


async def test_rows_arrive_in_order_with_their_types(connection: MySQLConnection) -> None:
    rows = await _read(connection, "SELECT id, total, day FROM orders ORDER BY id")
    assert rows == [[1, "120.50", "2024-01-31"], [2, "99.00", "2024-02-29"]]


@pytest.mark.req("POOL-2")
async def test_the_server_says_who_and_where_a_connection_is(shop: Shop) -> None:
    one, two = await shop.connect(), await shop.connect()
    first, second = await one.identity(), await two.identity()
    assert (first.user, first.database) == (shop.user, shop.database)
    assert first.server != second.server  # each socket has a name of its own
    assert await one.reset() == first
    await one.close()
    await two.close()


@pytest.mark.parametrize(
    ("leave", "look", "clean"),
    [
        ("SET @left = 'behind'", "SELECT @left", None),
        ("SELECT GET_LOCK('held', 0)", "SELECT IS_FREE_LOCK('held')", 1),
        ("PREPARE left_behind FROM 'SELECT 1'", "EXECUTE left_behind", "QueryFailed"),
        ("SET SESSION sql_mode = 'ANSI_QUOTES'", 'SELECT "x"', "x"),
        ("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'", r"SELECT LENGTH('\\')", 1),
        ("SET NAMES latin1", "SELECT HEX('é')", "C3A9"),
        ("SET SESSION max_statement_time = 0", "SELECT @@max_statement_time = 0", 0),
        ("SET SESSION TRANSACTION READ WRITE", "SELECT @@tx_read_only", 1),
        ("USE information_schema", "SELECT COUNT(*) FROM orders", "QueryFailed"),
    ],
)
@pytest.mark.req("POOL-2")
async def test_a_session_forgets_what_was_left_in_it(
    connection: MySQLConnection, leave: str, look: str, clean: Json
) -> None:
    await _read(connection, leave)
    identity = await connection.reset()
    if clean == "QueryFailed":
        with pytest.raises(QueryFailed):
            await _read(connection, look)
    else:
        assert await _read(connection, look) == [[clean]]
    # Another database is the one thing that a reset keeps: the pool sees it in the identity.
    assert (identity.database == "information_schema") == leave.startswith("USE")


@pytest.mark.parametrize("mode", ["ANSI", "NO_BACKSLASH_ESCAPES", "ORACLE"])
@pytest.mark.req("CON-3")
async def test_sql_is_read_as_the_guard_reads_it_whatever_the_server_prefers(
    shop: Shop, mode: str
) -> None:
    ((usual,),) = shop.server.sql("SELECT @@GLOBAL.sql_mode")
    shop.server.sql(f"SET GLOBAL sql_mode = '{mode}'")
    try:
        connection = await shop.connect()
        for _ in range(2):
            rows = await _read(connection, r"""SELECT "it's", '\\', 'a' || 'b', ''""")
            assert rows == [["it's", "\\", 0, ""]]
            await connection.reset()
        await connection.close()
    finally:
        shop.server.sql(f"SET GLOBAL sql_mode = '{usual}'")


async def test_a_temporary_table_is_gone_after_a_reset(shop: Shop) -> None:
    user, password = shop.server.create_login(shop.database, "ALL PRIVILEGES")
    endpoint = shop.endpoint(user=user, password=Secret(password))
    connection = await MySQLConnection.open(endpoint, Deadlines())
    await _read(connection, "SET SESSION TRANSACTION READ WRITE")
    await _read(connection, "CREATE TEMPORARY TABLE left_behind (a int)")
    await connection.reset()
    with pytest.raises(QueryFailed, match="exist"):
        await _read(connection, "SELECT * FROM left_behind")
    await connection.close()


@pytest.mark.parametrize(
    "write",
    [
        "INSERT INTO salaries VALUES (2, 1)",
        "UPDATE salaries SET amount = 0",
        "DELETE FROM salaries",
        "TRUNCATE TABLE salaries",
        "CREATE TABLE mine (a int)",
        "DROP TABLE salaries",
        "CREATE FUNCTION f() RETURNS int RETURN 1",
        "GRANT SELECT ON *.* TO x",
    ],
)
@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.req("CON-3")
async def test_a_login_that_may_write_still_cannot(shop: Shop, write: str, begun: bool) -> None:
    user, password = shop.server.create_login(shop.database, "ALL PRIVILEGES")
    endpoint = shop.endpoint(user=user, password=Secret(password))
    connection = await MySQLConnection.open(endpoint, Deadlines())
    if begun:
        await connection.begin()
    with pytest.raises(QueryFailed):
        await _read(connection, write)
    await connection.close()
    assert shop.server.sql("SELECT * FROM salaries", shop.database) == [["1", "4711"]]


@pytest.mark.parametrize(
    "sql", ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE salaries", "SELECT 1;;SELECT 2"]
)
@pytest.mark.req("CON-3")
async def test_the_server_takes_one_statement_at_a_time(
    connection: MySQLConnection, sql: str
) -> None:
    with pytest.raises(QueryFailed, match="syntax"):
        await _read(connection, sql)
    assert await _read(connection, "SELECT COUNT(*) FROM salaries") == [[1]]


async def test_the_server_may_not_ask_for_a_local_file(connection: MySQLConnection) -> None:
    with pytest.raises(QueryFailed):
        await _read(connection, "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE salaries")


async def test_a_mistake_leaves_the_connection_usable(connection: MySQLConnection) -> None:
    with pytest.raises(QueryFailed, match="Unknown column"):
        await _read(connection, "SELECT nonsense FROM orders")
    assert await _read(connection, "SELECT 1") == [[1]]


async def test_the_server_stops_a_statement_that_takes_too_long(shop: Shop) -> None:
    connection = await shop.connect(Deadlines(statement_s=0.2))
    with pytest.raises(QueryTimeout):
        await _read(connection, _ENDLESS.format(mark="too_long"))
    assert await _read(connection, "SELECT 1") == [[1]]
    await connection.close()


@pytest.mark.req("CON-3")
async def test_closing_stops_a_query_at_the_server(shop: Shop) -> None:
    connection = await shop.connect()
    task = asyncio.create_task(_read(connection, _ENDLESS.format(mark="cancelled")))
    assert await shop.server.comes_true("cancelled", running=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shop.server.running("cancelled")  # a closed socket alone would not end it
    await connection.close()
    assert await shop.server.comes_true("cancelled", running=False)


async def test_a_result_cut_short_is_never_mixed_with_the_next(shop: Shop) -> None:
    connection = await shop.connect()
    await connection.execute("SELECT seq, REPEAT('x', 1000) FROM seq_1_to_100000000")
    async with aclosing(connection.rows()) as rows:
        assert (await anext(rows))[0] == b"1"
    for attempt in (connection.ping, connection.identity, connection.reset):
        with pytest.raises(SourceUnreachable, match="not read to its end"):
            await attempt()
    await connection.close()
    assert await shop.server.comes_true("seq_1_to_100000000", running=False)


async def test_a_server_that_ends_the_connection_is_lost(
    shop: Shop, connection: MySQLConnection
) -> None:
    number = (await connection.identity()).server.partition("#")[2]
    task = asyncio.create_task(_read(connection, _ENDLESS.format(mark="killed")))
    assert await shop.server.comes_true("killed", running=True)
    shop.server.sql(f"KILL CONNECTION {number}")
    with pytest.raises(SourceUnreachable):
        await task
    with pytest.raises(SourceUnreachable):
        await connection.ping()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"password": Secret("wrong")}, "refused the login"),
        ({"password": Secret("")}, "refused the login"),
        ({"password": Secret("pässword🦊" * 20)}, "refused the login"),
        ({"user": "nobody"}, "refused the login"),
        ({"database": "nowhere"}, "may not use this database"),
        ({"database": "mysql"}, "may not use this database"),
        ({"port": 9}, "Nothing answers at db.acme.test, port 9"),
        ({"host": "other.test"}, "certificate is not one for other.test"),
        ({"host": "127.0.0.1"}, "certificate is not one for 127.0.0.1"),
    ],
)
@pytest.mark.req("CON-2")
async def test_what_is_wrong_with_a_connection_is_told(
    shop: Shop, wrong: dict[str, object], says: str
) -> None:
    with pytest.raises(SourceUnreachable, match=says) as caught:
        await MySQLConnection.open(shop.endpoint(**wrong), Deadlines())
    assert shop.password not in str(caught.value)


async def test_the_next_address_is_tried_where_one_does_not_answer(shop: Shop) -> None:
    endpoint = shop.endpoint(addresses=("127.0.0.3", "127.0.0.1"))  # it listens on one alone
    connection = await MySQLConnection.open(endpoint, Deadlines())
    assert await _read(connection, "SELECT 1") == [[1]]
    await connection.close()


@pytest.mark.req("CON-4")
async def test_a_certificate_of_another_authority_is_refused(shop: Shop) -> None:
    stranger = ssl.create_default_context()
    with pytest.raises(SourceUnreachable, match="certificate"):
        await MySQLConnection.open(shop.endpoint(tls=stranger), Deadlines())


@pytest.mark.parametrize("tls", [True, False])
async def test_the_connection_is_encrypted_where_it_should_be(shop: Shop, tls: bool) -> None:
    client = await MySQLClient.open(shop.endpoint() if tls else shop.endpoint(tls=None), 5)
    ((_, version),) = await client.all("SHOW SESSION STATUS LIKE 'Ssl_version'")
    assert (version == b"TLSv1.3") == tls
    await client.end()
