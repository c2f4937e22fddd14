"""A database describes itself: tables, comments, keys and a few values (CON-2)."""

import pytest

from tenantry.connectors.database_tables import FoundColumn
from tenantry.connectors.postgres_driver import PostgresConnection
from tenantry.connectors.postgres_options import PostgresOptions
from tenantry.connectors.postgres_schema import describe, find, quoted, values
from tests.integration.connectors.postgres.conftest import Shop, fresh

_ODD = "we\"ird' \\ naïve {braces} $1 %s 表"
_KINDS = """
CREATE TABLE plain (a int PRIMARY KEY);
CREATE TABLE parted (a int, day date) PARTITION BY RANGE (day);
CREATE TABLE parted_2024 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE MATERIALIZED VIEW kept AS SELECT 1 AS a;
CREATE VIEW seen AS SELECT 1 AS a;
CREATE SEQUENCE counter;
CREATE FOREIGN DATA WRAPPER elsewhere;
CREATE SERVER there FOREIGN DATA WRAPPER elsewhere;
CREATE FOREIGN TABLE far (a int) SERVER there;
"""


async def test_tables_come_with_columns_comments_keys_and_estimates(
    shop: Shop, connection: PostgresConnection
) -> None:
    tables = {table.name: table for table in await find(connection, ["public"])}
    assert list(tables) == ["big_orders", "customers", "orders", "salaries"]
    customers, orders = tables["customers"], tables["orders"]
    assert (customers.comment, customers.rows) == ("whom we sell to", 2)
    assert customers.columns[0] == FoundColumn("id", "integer", "", True, "")
    assert customers.columns[1].comment == "as on the invoice"
    assert orders.columns[1].refers_to == "customers.id"
    assert orders.columns[2].type == "numeric(12,2)"
    assert (tables["big_orders"].rows, tables["big_orders"].is_stored) == (-1, False)


async def test_what_holds_rows_of_this_database_is_there_once(shop: Shop) -> None:
    connection = await fresh(shop.server, _KINDS).connect()
    found = [table.name for table in await find(connection, ["public"])]
    assert found == ["kept", "parted", "plain", "seen"]
    await connection.close()


@pytest.mark.req("CON-2")
async def test_what_the_login_may_not_see_is_not_there(shop: Shop) -> None:
    user, password = shop.server.create_login(shop.database, "")
    shop.server.sql(f"GRANT SELECT (id, total) ON orders TO {user}", shop.database)
    connection = await shop.connect(None, password, user=user)
    (orders,) = await find(connection, ["public", "pg_catalog' OR '1'='1", 'a"b\\'])
    assert [column.name for column in orders.columns] == ["id", "total"]
    await connection.close()


async def test_names_may_be_anything_and_are_told_as_they_must_be_written(shop: Shop) -> None:
    name = quoted(_ODD)
    own = fresh(
        shop.server,
        f"CREATE TABLE {name} ({name} varchar(20)); INSERT INTO {name} VALUES ('x')",
    )
    connection = await own.connect()
    (table,) = await find(connection, ["public"])
    assert (table.name, table.columns[0].name) == (_ODD, _ODD)
    assert await values(connection, table, [_ODD]) == {_ODD: ("x",)}
    (told,) = (await describe(connection, PostgresOptions.read(own.options()))).values()
    assert told.description == f"write it as {name}"
    await connection.close()


async def test_values_are_told_once_each_shortened_and_never_null(
    shop: Shop, connection: PostgresConnection
) -> None:
    customers = next(t for t in await find(connection, ["public"]) if t.name == "customers")
    found = await values(connection, customers, ["name", "note"])
    assert found == {"name": ("Initech", "Umbrella"), "note": ("slow payer",)}


async def test_a_database_of_5000_tables_is_described(shop: Shop) -> None:
    own = fresh(
        shop.server,
        "DO $$BEGIN FOR n IN 1..5000 LOOP EXECUTE format("
        "'CREATE TABLE t%s (id int, name varchar(20))', n); END LOOP; END$$",
    )
    connection = await own.connect()
    tables = await find(connection, ["public"])
    assert len(tables) == 5000
    assert all(len(table.columns) == 2 for table in tables)
    await connection.close()
