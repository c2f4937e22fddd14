"""A tenant's PostgreSQL is added, described, queried and removed like any source (CON-1 … 4)."""

import asyncio

import pytest

from tenantry.connectors.base import QueryLimits
from tenantry.core.errors import (
    EgressRefused,
    InvalidRequest,
    QueryFailed,
    QueryRefused,
    QueryTimeout,
    SourceUnreachable,
)
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tests.integration.connectors.databases import DatabaseBehaviour, Desk
from tests.integration.connectors.postgres.conftest import Shop, fresh

_LIMITS = QueryLimits()
_TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE kinds (
  a numeric, b date, c time, d timestamptz, e jsonb, f bytea, g bigint, h interval, i uuid,
  j int[], k text[], l int4range, m double precision, n boolean, o mood, p timestamp, q numeric,
  r date, s numeric[]);
INSERT INTO kinds VALUES (1234567890123456.7890, '2024-01-31', '23:59:58.5',
  '2024-01-02 03:04:05.678+02', '{"a": [1, 2.5]}', '\\x00ff', 9223372036854775807,
  '1 year 2 days 3 hours', '123e4567-e89b-12d3-a456-426614174000', '{{1,2},{3,NULL}}',
  '{"a,b","NULL",NULL,"q\\"\\\\x",""}', '[1,5)', 'NaN', true, 'happy', '2024-01-02 03:04:05',
  'NaN', 'infinity', '{1.50,Infinity}');
"""


@pytest.mark.req("CON-1", "CON-2")
async def test_a_connector_is_added_described_and_queried(desk: Desk, shop: Shop) -> None:
    added = await desk.add(shop)
    assert not added.warnings
    source = desk.catalog.source(desk.world.acme, added.config)
    await source.test()
    tables = {table.name: table for table in await source.describe()}
    assert list(tables) == ["big_orders", "customers", "orders", "salaries"]
    assert (tables["customers"].description, tables["customers"].rows) == ("whom we sell to", 2)
    assert [c.description for c in tables["orders"].columns] == [
        "primary key", "refers to customers.id", "", "",
    ]  # fmt: skip
    result = await source.query(
        "SELECT c.name, SUM(o.total) AS revenue FROM orders o JOIN customers c "
        "ON c.id = o.customer_id GROUP BY c.name ORDER BY revenue DESC",
        _LIMITS,
    )
    assert result.columns == ("name", "revenue")
    assert result.types == ("text", "decimal")
    assert result.rows == (("Initech", "120.50"), ("Umbrella", "99.00"))
    assert not result.truncated


@pytest.mark.req("CON-3")
async def test_every_type_arrives_as_what_it_is(desk: Desk, shop: Shop) -> None:
    own = fresh(shop.server, _TYPES)
    result = await (await desk.source(own)).query("SELECT * FROM kinds", _LIMITS)
    assert dict(
        zip(result.columns, zip(result.types, result.rows[0], strict=True), strict=True)
    ) == {
        "a": ("decimal", "1234567890123456.7890"),
        "b": ("date", "2024-01-31"),
        "c": ("time", "23:59:58.5"),
        "d": ("timestamp", "2024-01-02T01:04:05.678+00:00"),
        "e": ("json", {"a": [1, 2.5]}),
        "f": ("binary", "AP8="),
        "g": ("integer", 9223372036854775807),
        "h": ("interval", "P1Y2DT3H"),
        "i": ("uuid", "123e4567-e89b-12d3-a456-426614174000"),
        "j": ("json", [[1, 2], [3, None]]),
        "k": ("json", ["a,b", "NULL", None, 'q"\\x', ""]),
        "l": ("other", "[1,5)"),
        "m": ("float", "NaN"),
        "n": ("boolean", True),
        "o": ("other", "happy"),
        "p": ("timestamp", "2024-01-02T03:04:05"),
        "q": ("decimal", "NaN"),
        "r": ("date", "infinity"),
        "s": ("json", ["1.50", "Infinity"]),
    }


@pytest.mark.req("CON-2")
async def test_only_allowed_columns_are_described_sampled_and_shown(desk: Desk, shop: Shop) -> None:
    access: Json = {"tables": {"customers": ["id", "name"], "public.orders": "*"}, "samples": True}
    source = await desk.source(shop, access=access)
    tables = {table.name: table for table in await source.describe()}
    assert list(tables) == ["customers", "orders"]
    assert [c.name for c in tables["customers"].columns] == ["id", "name"]
    told = tables["customers"].columns[1].description
    assert told == "as on the invoice; for example: Initech, Umbrella"
    shown = await source.query("SELECT * FROM customers ORDER BY id", _LIMITS)
    assert shown.columns == ("id", "name")
    for hidden in ("SELECT note FROM customers", "SELECT id FROM customers WHERE note = 'x'"):
        with pytest.raises(QueryRefused, match="note"):
            await source.query(hidden, _LIMITS)
    with pytest.raises(QueryRefused, match="salaries"):
        await source.query("SELECT * FROM salaries", _LIMITS)
    events = await desk.world.audit_events(desk.world.acme)
    assert len([event for event in events if event["outcome"] == "refused"]) == 3


@pytest.mark.req("CON-2")
async def test_several_schemas_are_offered_where_the_options_name_them(
    desk: Desk, shop: Shop
) -> None:
    own = fresh(
        shop.server,
        "CREATE TABLE both_have (a int); CREATE TABLE here (a int); CREATE SCHEMA sales;"
        "CREATE TABLE sales.both_have (b int); CREATE TABLE sales.there (b int);"
        "CREATE SCHEMA hidden; CREATE TABLE hidden.secret (c int)",
    )
    for schema in ("sales", "hidden"):
        shop.server.sql(
            f"GRANT USAGE ON SCHEMA {schema} TO {own.user};"
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {own.user}",
            own.database,
        )
    source = await desk.source(own, access={"schemas": ["public", "sales"]})
    names = [table.name for table in await source.describe()]
    assert names == ["public.both_have", "here", "sales.both_have", "there"]
    assert (await source.query("SELECT b FROM there", _LIMITS)).columns == ("b",)
    assert (await source.query("SELECT b FROM sales.both_have", _LIMITS)).columns == ("b",)
    for refused in ("SELECT * FROM both_have", "SELECT * FROM hidden.secret"):
        with pytest.raises(QueryRefused):
            await source.query(refused, _LIMITS)
    bare = await desk.source(own, access={"tables": {"both_have": "*", "sales.there": ["b"]}})
    assert [table.name for table in await bare.describe()] == ["both_have", "there"]
    assert (await bare.query("SELECT * FROM both_have", _LIMITS)).columns == ("a",)


@pytest.mark.parametrize(
    ("limits", "rows"),
    [(QueryLimits(max_rows=5), 5), (QueryLimits(max_rows=100_000, max_bytes=10_000), 9)],
)
@pytest.mark.req("CON-3")
async def test_a_result_of_millions_of_rows_is_cut_at_the_ceiling(
    desk: Desk, shop: Shop, limits: QueryLimits, rows: int
) -> None:
    own = fresh(
        shop.server,
        "CREATE VIEW wide AS SELECT g AS n, repeat('x', 1000) AS t "
        "FROM generate_series(1, 10000000) AS g",
    )
    source = await desk.source(own)
    result = await source.query("SELECT * FROM wide", limits)
    assert result.truncated
    assert len(result.rows) == rows
    assert result.size_bytes <= limits.max_bytes
    assert (await source.query("SELECT 1 AS one", _LIMITS)).rows == ((1,),)
    assert await shop.server.comes_true("wide", running=False)


@pytest.mark.req("CON-3")
async def test_a_query_that_would_cost_too_much_is_not_begun(desk: Desk, shop: Shop) -> None:
    own = fresh(shop.server, "CREATE TABLE many AS SELECT generate_series(1, 30000) AS n; ANALYZE")
    with pytest.raises(QueryRefused, match="narrow it down"):
        await (await desk.source(own)).query("SELECT COUNT(*) FROM many a, many b", _LIMITS)


_SLOW = """
CREATE FUNCTION nap() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1 FROM pg_sleep(20)';
CREATE VIEW slow AS SELECT nap() AS n
"""


@pytest.mark.req("CON-3")
async def test_a_query_that_takes_too_long_is_stopped_at_the_server(desk: Desk, shop: Shop) -> None:
    source = await desk.source(fresh(shop.server, _SLOW))
    with pytest.raises(QueryTimeout, match=r"0\.5 seconds"):
        await source.query("SELECT SUM(SIN(n)) FROM slow", QueryLimits(timeout_s=0.5))
    assert await shop.server.comes_true("SIN(", running=False)
    assert (await source.query("SELECT 1 AS one", _LIMITS)).rows == ((1,),)


@pytest.mark.req("CON-2")
async def test_a_server_that_vanishes_meanwhile_is_told_and_costs_one_connection(
    desk: Desk, shop: Shop
) -> None:
    own = fresh(shop.server, _SLOW)
    source = await desk.source(own)
    await source.describe()
    task = asyncio.create_task(source.query("SELECT SUM(TAN(n)) FROM slow", _LIMITS))
    assert await shop.server.comes_true("TAN(", running=True)
    shop.server.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{own.user}'"
    )
    with pytest.raises(QueryFailed, match=r"ended the connection"):
        await task
    assert (await source.query("SELECT 1 AS one", _LIMITS)).rows == ((1,),)
    assert desk.services.pools.snapshot().levels["hybrid"].leased == 0


_WRONG: list[tuple[dict[str, Json], type[Exception], str]] = [
    ({"host": "nowhere.test"}, SourceUnreachable, "name is unknown"),
    ({"host": "inner.acme.test"}, EgressRefused, "."),
    ({"host": "169.254.169.254"}, EgressRefused, "."),
    ({"port": 9}, SourceUnreachable, "port 9"),
    ({"host": "other.test"}, SourceUnreachable, "certificate"),
    ({"tls_ca": ""}, SourceUnreachable, "certificate"),
    ({"user": "nobody"}, SourceUnreachable, "refused the login"),
    ({"password": "wrong"}, SourceUnreachable, "refused the login"),
    ({"database": "nowhere"}, SourceUnreachable, "no such database"),
    ({"service": "acme"}, InvalidRequest, "service"),
    ({"access": {"schemas": ["pg_catalog"]}}, InvalidRequest, "access"),
]


@pytest.mark.req("CON-2", "CON-4")
async def test_what_is_wrong_with_a_connector_is_told_and_nothing_is_stored(
    desk: Desk, shop: Shop
) -> None:
    for changed, error, says in _WRONG:
        others = {name: value for name, value in changed.items() if name != "password"}
        with pytest.raises(error, match=says) as caught:
            await desk.add(shop, str(changed.get("password", "")), **others)
        assert shop.password not in str(caught.value)
    assert await desk.catalog.list_connectors(desk.world.acme, desk.world.acme.tenant, 10) == []


@pytest.mark.req("CON-3")
async def test_a_login_that_could_act_on_the_server_is_refused(desk: Desk, shop: Shop) -> None:
    files = "IN ROLE pg_read_server_files"
    for options, says in (
        ("SUPERUSER", "superuser"), ("BYPASSRLS", "BYPASSRLS"), ("REPLICATION", "REPLICATION"),
        ("CREATEROLE", "CREATEROLE"), (files, "pg_read_server_files"),
        ("NOINHERIT IN ROLE pg_execute_server_program", "pg_execute_server_program"),
    ):  # fmt: skip
        user, password = shop.server.create_login(shop.database, "SELECT", options)
        with pytest.raises(InvalidRequest, match=says):
            await desk.add(shop, password, user=user)


_UNWISE: list[tuple[str, str, dict[str, Json], str]] = [
    ("SELECT, INSERT", "", {}, "write tables"),
    ("SELECT", "CREATEDB", {}, "create databases"),
    ("SELECT", "IN ROLE pg_read_all_data", {}, "pg_read_all_data"),
    ("SELECT", "", {"tls": "require", "tls_ca": ""}, "verify-full"),
    ("SELECT", "", {"tls": "disable", "tls_ca": ""}, "not encrypted"),
    ("SELECT", "", {"access": {"tables": {"nothing": "*"}}}, "no table"),
]


async def test_what_is_unwise_is_warned_of(desk: Desk, shop: Shop) -> None:
    for rights, options, changed, says in _UNWISE:
        user, password = shop.server.create_login(shop.database, rights, options)
        (warning,) = (await desk.add(shop, password, user=user, **changed)).warnings
        assert says in warning


@pytest.mark.req("POOL-1", "POOL-4")
class TestPostgreSQL(DatabaseBehaviour):
    """What holds for every kind of database."""


async def test_a_new_password_retires_the_connections_of_the_old_one(
    desk: Desk, shop: Shop
) -> None:
    user, password = shop.server.create_login(shop.database)
    added = await desk.add(shop, password, user=user)
    source = desk.catalog.source(desk.world.acme, added.config)
    await source.query("SELECT 1 AS one", _LIMITS)
    shop.server.sql(f"ALTER ROLE {user} PASSWORD 'anew'")
    changed = await desk.catalog.change(
        desk.world.acme, added.config.connector, secrets={"password": Secret("anew")}
    )
    renewed = desk.catalog.source(desk.world.acme, changed.config)
    assert (await renewed.query("SELECT 1 AS one", _LIMITS)).rows == ((1,),)
    assert desk.services.pools.snapshot().levels["hybrid"].retired == 1


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_text_in_another_encoding_is_told_as_well_as_it_can_be(
    desk: Desk, shop: Shop, encoding: str
) -> None:
    own = fresh(
        shop.server,
        "CREATE TABLE old (a text); INSERT INTO old VALUES (E'Gr\\374\\337e')"
        if encoding == "SQL_ASCII"
        else "SET client_encoding = 'LATIN1'; CREATE TABLE old AS SELECT chr(252)::text AS a",
        f"ENCODING '{encoding}' LOCALE 'C'",
    )
    source = await desk.source(own, access={"samples": True})
    ((shown,),) = (await source.query("SELECT a FROM old", _LIMITS)).rows
    assert shown == ("Gr��e" if encoding == "SQL_ASCII" else "ü")
