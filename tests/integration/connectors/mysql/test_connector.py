"""A tenant's MariaDB is added, described, queried and removed like any source (CON-1 to CON-4)."""

import asyncio

import pytest

from tenantry.connectors.base import QueryLimits
from tenantry.connectors.mysql_options import MySQLOptions
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
from tests.integration.connectors.mysql.conftest import Shop
from tests.sources.mariadb import needs_mariadb
from tests.sources.rogue_mysql import END, OK, Rogue, definition, packets, text

pytestmark = needs_mariadb
_LIMITS = QueryLimits()
_TYPES = """
CREATE TABLE kinds (
  a decimal(20,4), b date, c time, d datetime(3), e json, f blob, g bit(10), h bigint unsigned,
  i year, j enum('x','y'), k set('p','q'), l geometry, m varchar(20) CHARACTER SET latin1,
  n uuid, o double, p tinyint(1), q timestamp NULL);
SET SESSION sql_mode = '', time_zone = '+00:00';
INSERT INTO kinds VALUES (1234567890123456.7890, '0000-00-00', '838:59:59',
  '2024-01-02 03:04:05.678', '{"a": [1, 2.5]}', x'00ff', b'1010101010', 18446744073709551615,
  2024, 'y', 'p,q', ST_GeomFromText('POINT(1 2)'), 'Grüße',
  '123e4567-e89b-12d3-a456-426614174000', 0.1, 1, NULL);
"""


@pytest.mark.req("CON-1", "CON-2")
async def test_a_connector_is_added_described_and_queried(desk: Desk, shop: Shop) -> None:
    added = await desk.add(shop)
    assert not added.warnings
    source = desk.catalog.source(desk.world.acme, added.config)
    await source.test()
    tables = {table.name: table for table in await source.describe()}
    assert list(tables) == ["big_orders", "customers", "orders", "salaries"]
    assert tables["customers"].description == "whom we sell to"
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
    database = shop.server.create_database()
    shop.server.sql(_TYPES, database)
    user, password = shop.server.create_login(database)
    own = Shop(shop.server, database, user, password)
    result = await (await desk.source(own)).query("SELECT * FROM kinds", _LIMITS)
    assert dict(
        zip(result.columns, zip(result.types, result.rows[0], strict=True), strict=True)
    ) == {
        "a": ("decimal", "1234567890123456.7890"),
        "b": ("date", "0000-00-00"),
        "c": ("time", "838:59:59"),
        "d": ("timestamp", "2024-01-02T03:04:05.678"),
        "e": ("json", {"a": [1, 2.5]}),
        "f": ("binary", "AP8="),
        "g": ("integer", 682),
        "h": ("integer", 18446744073709551615),
        "i": ("integer", 2024),
        "j": ("text", "y"),
        "k": ("text", "p,q"),
        "l": ("binary", "AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA=="),
        "m": ("text", "Grüße"),
        "n": ("uuid", "123e4567-e89b-12d3-a456-426614174000"),
        "o": ("float", 0.1),
        "p": ("integer", 1),
        "q": ("timestamp", None),
    }


@pytest.mark.req("CON-2")
async def test_only_allowed_columns_are_described_sampled_and_shown(desk: Desk, shop: Shop) -> None:
    access: Json = {"tables": {"customers": ["id", "name"], "orders": "*"}, "samples": True}
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
    refused = [
        e for e in await desk.world.audit_events(desk.world.acme) if e["outcome"] == "refused"
    ]
    assert len(refused) == 3


async def test_a_view_that_does_not_work_hides_nothing_else(desk: Desk, shop: Shop) -> None:
    database = shop.server.create_database()
    shop.server.sql(
        "CREATE TABLE whole (a varchar(9)); INSERT INTO whole VALUES ('x');"
        "CREATE TABLE gone (a varchar(9)); CREATE VIEW broken AS SELECT a FROM gone;"
        "DROP TABLE gone",
        database,
    )
    own = Shop(shop.server, database, *shop.server.create_login(database))
    tables = await (await desk.source(own, access={"samples": True})).describe()
    assert tables[-1].name == "whole"
    assert tables[-1].columns[0].description == "for example: x"


async def test_a_schema_is_remembered_until_it_is_looked_at_anew(desk: Desk, shop: Shop) -> None:
    database = shop.server.create_database()
    shop.server.sql("CREATE TABLE first (a int)", database)
    own = Shop(shop.server, database, *shop.server.create_login(database))
    source = await desk.source(own)
    assert [table.name for table in await source.describe()] == ["first"]
    shop.server.sql("CREATE TABLE second (a int)", database)
    assert [table.name for table in await source.describe()] == ["first"]
    assert [t.name for t in await source.describe(refresh=True)] == ["first", "second"]
    assert [table.name for table in await source.describe()] == ["first", "second"]


@pytest.mark.parametrize(
    ("limits", "rows"),
    [(QueryLimits(max_rows=5), 5), (QueryLimits(max_rows=100_000, max_bytes=10_000), 9)],
)
@pytest.mark.req("CON-3")
async def test_a_result_of_millions_of_rows_is_cut_at_the_ceiling(
    desk: Desk, shop: Shop, limits: QueryLimits, rows: int
) -> None:
    database = shop.server.create_database()
    shop.server.sql(
        "CREATE VIEW wide AS SELECT seq, REPEAT('x', 1000) AS t FROM seq_1_to_10000000", database
    )
    own = Shop(shop.server, database, *shop.server.create_login(database))
    source = await desk.source(own)
    result = await source.query("SELECT * FROM wide", limits)
    assert result.truncated
    assert len(result.rows) == rows
    assert result.size_bytes <= limits.max_bytes
    assert (await source.query("SELECT 1 AS one", _LIMITS)).rows == ((1,),)
    assert await shop.server.comes_true("wide", running=False)


@pytest.mark.req("CON-3")
async def test_a_query_that_would_look_at_too_much_is_not_begun(desk: Desk, shop: Shop) -> None:
    database = shop.server.create_database()
    shop.server.sql(
        "CREATE TABLE many AS SELECT seq FROM seq_1_to_20000; ANALYZE TABLE many", database
    )
    own = Shop(shop.server, database, *shop.server.create_login(database))
    with pytest.raises(QueryRefused, match="narrow it down"):
        await (await desk.source(own)).query("SELECT COUNT(*) FROM many a, many b", _LIMITS)


@pytest.mark.req("CON-3")
async def test_a_query_that_takes_too_long_is_stopped_at_the_server(desk: Desk, shop: Shop) -> None:
    database = shop.server.create_database()
    shop.server.sql("CREATE VIEW slow AS SELECT seq FROM seq_1_to_50000000", database)
    own = Shop(shop.server, database, *shop.server.create_login(database))
    source = await desk.source(own)
    with pytest.raises(QueryTimeout, match=r"0\.5 seconds"):
        await source.query("SELECT SUM(SIN(seq) * COS(seq)) FROM slow", QueryLimits(timeout_s=0.5))
    assert await shop.server.comes_true("SIN(", running=False)
    assert (await source.query("SELECT 1 AS one", _LIMITS)).rows == ((1,),)


@pytest.mark.req("CON-2")
async def test_a_server_that_vanishes_meanwhile_is_told_and_costs_one_connection(
    desk: Desk, shop: Shop
) -> None:
    database = shop.server.create_database()
    shop.server.sql("CREATE VIEW vanishing AS SELECT seq FROM seq_1_to_50000000", database)
    own = Shop(shop.server, database, *shop.server.create_login(database))
    source = await desk.source(own)
    await source.describe()
    task = asyncio.create_task(source.query("SELECT SUM(TAN(seq)) FROM vanishing", _LIMITS))
    assert await shop.server.comes_true("TAN(", running=True)
    shop.server.sql(f"KILL CONNECTION USER `{own.user}`")
    with pytest.raises(QueryFailed, match=r"(ended|closed) the connection"):
        await task
    assert (await source.query("SELECT 1 AS one", _LIMITS)).rows == ((1,),)
    assert desk.services.pools.snapshot().levels["hybrid"].leased == 0


_WRONG: list[tuple[dict[str, Json], type[Exception], str]] = [
    ({"host": "nowhere.test"}, SourceUnreachable, "name is unknown"),
    ({"host": "inner.acme.test"}, EgressRefused, "."),
    ({"host": "169.254.169.254"}, EgressRefused, "."),
    ({"port": 9}, SourceUnreachable, "port 9"),
    ({"host": "127.0.0.1"}, SourceUnreachable, "certificate"),
    ({"tls_ca": ""}, SourceUnreachable, "certificate"),
    ({"user": "nobody"}, SourceUnreachable, "refused the login"),
    ({"password": "wrong"}, SourceUnreachable, "refused the login"),
    ({"database": "nowhere"}, SourceUnreachable, "may not use this database"),
    ({"unix_socket": "/run/mysqld.sock"}, InvalidRequest, "unix_socket"),
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
async def test_a_login_that_rules_the_server_is_refused(desk: Desk, shop: Shop) -> None:
    for right in ("ALL PRIVILEGES", "FILE", "SUPER", "CONNECTION ADMIN"):
        user, password = shop.server.create_login(shop.database, right, "*.*")
        shop.server.sql(f"GRANT SELECT ON *.* TO `{user}`")
        with pytest.raises(InvalidRequest, match=right):
            await desk.add(shop, password, user=user)


@pytest.mark.req("POOL-2")
async def test_a_login_that_the_server_takes_for_another_account_is_refused(
    desk: Desk, shop: Shop
) -> None:
    shop.server.sql(
        "CREATE USER ''@'%' IDENTIFIED BY 'anonymous';"
        f"GRANT SELECT ON `{shop.database}`.* TO ''@'%'"
    )
    try:
        with pytest.raises(InvalidRequest, match="another account"):
            await desk.add(shop, "anonymous", user="whoever")
    finally:
        shop.server.sql("DROP USER ''@'%'")


@pytest.mark.req("POOL-2")
async def test_a_database_is_spelt_as_the_server_spells_it(desk: Desk, shop: Shop) -> None:
    row = text(b"acme@%") + text(b"shop") + text(b"here:3306/1") + text(b"7")
    names = [definition(name) for name in (b"a", b"b", b"c", b"d")]
    said = packets(1, b"\x04", *names, END, row, END)
    rogue = Rogue(answer=lambda asked: said if b"CURRENT_USER" in asked else packets(1, OK))
    async with rogue.running():
        with pytest.raises(InvalidRequest, match="Spell the database as the server does: shop"):
            await desk.add(
                shop, host="127.0.0.1", port=rogue.port, database="Shop", user="acme",
                tls="disable",
            )  # fmt: skip


@pytest.mark.req("POOL-4")
async def test_a_password_does_not_follow_to_another_or_less_proven_server(
    desk: Desk, shop: Shop
) -> None:
    added = await desk.add(shop)
    others: list[dict[str, Json]] = [
        {"port": 3307}, {"host": "127.0.0.1"}, {"tls": "disable"}, {"tls_ca": ""},
    ]  # fmt: skip
    for changed in others:
        with pytest.raises(InvalidRequest, match="secrets again"):
            await desk.catalog.change(
                desk.world.acme, added.config.connector, options=shop.options(**changed)
            )


_UNWISE: list[tuple[str, dict[str, Json], str]] = [
    ("SELECT, INSERT", {}, "INSERT"),
    ("ALL PRIVILEGES", {}, "ALL PRIVILEGES"),
    ("SELECT", {"tls": "require", "tls_ca": ""}, "verify-full"),
    ("SELECT", {"tls": "disable", "tls_ca": ""}, "not encrypted"),
    ("SELECT", {"access": {"tables": {"nothing": "*"}}}, "no table"),
]


async def test_what_is_unwise_is_warned_of(desk: Desk, shop: Shop) -> None:
    for rights, changed, says in _UNWISE:
        user, password = shop.server.create_login(shop.database, rights)
        (warning,) = (await desk.add(shop, password, user=user, **changed)).warnings
        assert says in warning


@pytest.mark.req("POOL-1", "POOL-4")
class TestMySQL(DatabaseBehaviour):
    """What holds for every kind of database."""


async def test_a_new_password_retires_the_connections_of_the_old_one(
    desk: Desk, shop: Shop
) -> None:
    user, password = shop.server.create_login(shop.database)
    added = await desk.add(shop, password, user=user)
    source = desk.catalog.source(desk.world.acme, added.config)
    await source.query("SELECT 1 AS one", _LIMITS)
    shop.server.sql(f"ALTER USER `{user}` IDENTIFIED BY 'anew'")
    changed = await desk.catalog.change(
        desk.world.acme, added.config.connector, secrets={"password": Secret("anew")}
    )
    assert changed.config.credential_version == 2
    renewed = desk.catalog.source(desk.world.acme, changed.config)
    assert (await renewed.query("SELECT 1 AS one", _LIMITS)).rows == ((1,),)
    assert desk.services.pools.snapshot().levels["hybrid"].retired == 1


async def test_a_removed_connector_leaves_no_connection(desk: Desk, shop: Shop) -> None:
    user, password = shop.server.create_login(shop.database)
    added = await desk.add(shop, password, user=user)
    source = desk.catalog.source(desk.world.acme, added.config)
    await source.query("SELECT 1 AS one", _LIMITS)
    await desk.catalog.remove(desk.world.acme, added.config.connector)
    query = f"SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{user}'"
    for _ in range(100):
        if shop.server.sql(query) == [["0"]]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it is still connected")


def test_the_options_are_stored_with_their_defaults(shop: Shop) -> None:
    stored = MySQLOptions.read({"host": "h", "database": "d", "user": "u"}).stored()
    assert (stored["port"], stored["tls"], stored["level"]) == (3306, "verify-full", "hybrid")
    assert MySQLOptions.read(stored).stored() == stored
