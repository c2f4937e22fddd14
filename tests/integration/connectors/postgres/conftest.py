"""One PostgreSQL server for these tests, and a shop's database on it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from tenantry.connectors.database_source import Deadlines
from tenantry.connectors.postgres_dial import Endpoint
from tenantry.connectors.postgres_driver import PostgresConnection
from tenantry.connectors.postgres_options import PostgresOptions
from tenantry.core.events import Json
from tenantry.core.secret import Secret
from tests.integration.connectors.databases import Desk, desk_for
from tests.sources.postgres import HOST, PORT, PostgresServer, postgres_server
from tests.worlds import World

_TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, name varchar(80) NOT NULL, note text);
COMMENT ON TABLE customers IS 'whom we sell to';
COMMENT ON COLUMN customers.name IS 'as on the invoice';
CREATE TABLE orders (
  id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, total numeric(12,2), day date
);
CREATE TABLE salaries (id int PRIMARY KEY, amount int);
CREATE VIEW big_orders AS SELECT id, total FROM orders WHERE total > 100;
INSERT INTO customers VALUES (1, 'Initech', NULL), (2, 'Umbrella', 'slow payer');
INSERT INTO orders VALUES (1, 1, 120.50, '2024-01-31'), (2, 2, 99.00, '2024-02-29');
INSERT INTO salaries VALUES (1, 4711);
ANALYZE;
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A database with a login that may read it, and how to reach it."""

    server: PostgresServer
    database: str
    user: str
    password: str

    def options(self, **changed: Json) -> dict[str, Json]:
        """The options of a connector to it; with something else in place of what is right."""
        right: dict[str, Json] = {
            "host": HOST, "port": PORT, "database": self.database, "user": self.user,
            "tls_ca": self.server.ca,
        }  # fmt: skip
        return right | changed

    async def connect(
        self, deadlines: Deadlines | None = None, password: str = "", /, **changed: Json
    ) -> PostgresConnection:
        """A connection of its login; with something else in place of what is right."""
        options = PostgresOptions.read(self.options(**changed))
        secret = Secret(password or self.password)
        endpoint = Endpoint((self.server.address,), options, secret)
        return await PostgresConnection.open(endpoint, deadlines or Deadlines())


@pytest.fixture
async def desk(world: World, tenants_server: PostgresServer) -> AsyncIterator[Desk]:
    """Where acme adds connectors of this kind."""
    kind = EntryPoint(
        "postgres", "tenantry.connectors.postgres:PostgresConnector", "tenantry.connectors"
    )
    own = tenants_server.address
    known = {HOST: own, "inner.acme.test": "10.0.0.7", "other.test": own}
    async with desk_for(world, kind, known) as desk:
        yield desk


@pytest.fixture(scope="session")
def tenants_server() -> Iterator[PostgresServer]:
    """The server."""
    with postgres_server() as server:
        yield server


def fresh(server: PostgresServer, tables: str, options: str = "") -> Shop:
    """A database of its own, with a login that may read it."""
    database = server.create_database(options)
    server.sql(tables, database)
    return Shop(server, database, *server.create_login(database))


@pytest.fixture(scope="session")
def shop(tenants_server: PostgresServer) -> Shop:
    """The shop."""
    return fresh(tenants_server, _TABLES)


@pytest.fixture
async def connection(shop: Shop) -> AsyncIterator[PostgresConnection]:
    """A connection to the shop."""
    connection = await shop.connect()
    yield connection
    await connection.close()
