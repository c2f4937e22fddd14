"""One MariaDB server for these tests, and a shop's database on it."""

import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from tenantry.connectors.database_source import Deadlines
from tenantry.connectors.mysql_driver import MySQLConnection
from tenantry.connectors.mysql_handshake import Endpoint
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tests.integration.connectors.databases import Desk, desk_for
from tests.sources.mariadb import HOST, MariaDB, mariadb_server
from tests.worlds import World

_TABLES = """
CREATE TABLE customers (
  id int PRIMARY KEY, name varchar(80) NOT NULL COMMENT 'as on the invoice', note text
) COMMENT 'whom we sell to';
CREATE TABLE orders (
  id int PRIMARY KEY, customer_id int NOT NULL, total decimal(12,2) NOT NULL, day date,
  FOREIGN KEY (customer_id) REFERENCES customers (id)
);
CREATE TABLE salaries (id int PRIMARY KEY, amount int);
CREATE VIEW big_orders AS SELECT id, total FROM orders WHERE total > 100;
INSERT INTO customers VALUES (1, 'Initech', NULL), (2, 'Umbrella', 'slow payer');
INSERT INTO orders VALUES (1, 1, 120.50, '2024-01-31'), (2, 2, 99.00, '2024-02-29');
INSERT INTO salaries VALUES (1, 4711);
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A database with a login that may read it, and how to reach it."""

    server: MariaDB
    database: str
    user: str
    password: str

    def endpoint(self, **changed: object) -> Endpoint:
        """Where it is; with something else in place of what is right."""
        right: dict[str, object] = {
            "addresses": ("127.0.0.1",), "host": HOST, "port": self.server.port,
            "database": self.database, "user": self.user, "password": Secret(self.password),
            "tls": ssl.create_default_context(cadata=self.server.ca),
        }  # fmt: skip
        return Endpoint(**(right | changed))  # type: ignore[arg-type]

    def options(self, **changed: Json) -> dict[str, Json]:
        """The options of a connector to it; with something else in place of what is right."""
        right: dict[str, Json] = {
            "host": HOST, "port": self.server.port, "database": self.database, "user": self.user,
            "tls_ca": self.server.ca,
        }  # fmt: skip
        return right | changed

    async def connect(self, deadlines: Deadlines | None = None) -> MySQLConnection:
        """A connection of its login."""
        return await MySQLConnection.open(self.endpoint(), deadlines or Deadlines())


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    """Where acme adds connectors of this kind."""
    kind = EntryPoint("mysql", "tenantry.connectors.mysql:MySQLConnector", "tenantry.connectors")
    known = {HOST: "127.0.0.1", "inner.acme.test": "10.0.0.7"}
    async with desk_for(world, kind, known) as desk:
        yield desk


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """The server."""
    with mariadb_server() as server:
        yield server


@pytest.fixture(scope="session")
def shop(mariadb: MariaDB) -> Shop:
    """The shop."""
    database = mariadb.create_database()
    mariadb.sql(_TABLES, database)
    return Shop(mariadb, database, *mariadb.create_login(database))


@pytest.fixture
async def connection(shop: Shop) -> AsyncIterator[MySQLConnection]:
    """A connection to the shop."""
    connection = await shop.connect()
    yield connection
    await connection.close()
