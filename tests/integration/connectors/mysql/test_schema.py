"""A database describes itself: tables, comments, keys and a few values (CON-2)."""

import pytest

from tenantry.connectors.database_source import Deadlines
from tenantry.connectors.database_tables import FoundColumn
from tenantry.connectors.mysql_driver import MySQLConnection
from tenantry.connectors.mysql_schema import find, quoted, values
from tenantry.core.secret import Secret
from tests.integration.connectors.mysql.conftest import Shop
from tests.sources.mariadb import MariaDB, needs_mariadb

pytestmark = needs_mariadb
_ODD = 'we`ird\' \\ "naïve" {braces} %s 表'


async def _connection(server: MariaDB, database: str) -> MySQLConnection:
    user, password = server.create_login(database)
    shop = Shop(server, database, user, password)
    return await MySQLConnection.open(shop.endpoint(), Deadlines())


async def test_tables_come_with_columns_comments_keys_and_estimates(
    shop: Shop, connection: MySQLConnection
) -> None:
    tables = {table.name: table for table in await find(connection, shop.database)}
    assert list(tables) == ["big_orders", "customers", "orders", "salaries"]
    customers, orders = tables["customers"], tables["orders"]
    assert (customers.comment, customers.rows) == ("whom we sell to", 2)
    assert customers.columns[0] == FoundColumn("id", "int(11)", "", True, "")
    assert customers.columns[1].comment == "as on the invoice"
    assert orders.columns[1].refers_to == "customers.id"
    assert orders.columns[2].type == "decimal(12,2)"
    assert (tables["big_orders"].comment, tables["big_orders"].rows) == ("", -1)


@pytest.mark.req("CON-2")
async def test_what_the_login_may_not_see_is_not_there(shop: Shop) -> None:
    user, password = shop.server.create_login(
        shop.database, "SELECT (id, total)", f"`{shop.database}`.orders"
    )
    endpoint = shop.endpoint(user=user, password=Secret(password))
    connection = await MySQLConnection.open(endpoint, Deadlines())
    (orders,) = await find(connection, shop.database)
    assert [column.name for column in orders.columns] == ["id", "total"]
    await connection.close()


async def test_another_database_is_not_there(shop: Shop, connection: MySQLConnection) -> None:
    assert await find(connection, "mysql") == []
    assert await find(connection, f"{shop.database}' OR '1'='1") == []


async def test_names_may_be_anything(mariadb: MariaDB) -> None:
    database = mariadb.create_database()
    name = quoted(_ODD)
    mariadb.sql(
        f"CREATE TABLE {name} ({name} varchar(20)); INSERT INTO {name} VALUES ('x')", database
    )
    connection = await _connection(mariadb, database)
    (table,) = await find(connection, database)
    assert (table.name, table.columns[0].name) == (_ODD, _ODD)
    assert await values(connection, database, _ODD, [_ODD]) == {_ODD: ("x",)}
    await connection.close()


async def test_values_are_told_once_each_and_never_null(
    shop: Shop, connection: MySQLConnection
) -> None:
    found = await values(connection, shop.database, "customers", ["name", "note"])
    assert found == {"name": ("Initech", "Umbrella"), "note": ("slow payer",)}


async def test_a_database_of_5000_tables_is_described(mariadb: MariaDB) -> None:
    database = mariadb.create_database()
    mariadb.create_tables(database, 5000)
    connection = await _connection(mariadb, database)
    tables = await find(connection, database)
    assert len(tables) == 5000
    assert all(len(table.columns) == 2 for table in tables)
    await connection.close()
