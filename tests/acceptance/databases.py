"""Databases of a tenant's on real servers, as its connectors need them described."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tests.sources.mariadb import MariaDB
from tests.sources.postgres import PORT, PostgresServer

_TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, region varchar(20), total decimal(12,2));
CREATE TABLE salaries (id int PRIMARY KEY, amount int);
INSERT INTO orders VALUES (1, 'north', 120.50), (2, 'south', 99.00), (3, 'north', 30.00);
INSERT INTO salaries VALUES (1, 4711);
"""


_SLOW = {
    "mysql": "CREATE VIEW slow AS SELECT seq AS n FROM seq_1_to_50000000",
    "postgres": "CREATE FUNCTION nap() RETURNS int LANGUAGE sql VOLATILE AS "
    "'SELECT 1 FROM pg_sleep(60)'; CREATE VIEW slow AS SELECT nap() AS n",
}


class Server(Protocol):
    """What tests ask of a tenant's server, whatever its kind."""

    async def comes_true(self, like: str, *, running: bool) -> bool:
        """Wait until a statement that contains `like` runs there, or until none does."""
        ...


@dataclass(frozen=True)
class Database:
    """A tenant's database: how its connector is added, and its login's password changed.

    Beside `orders`, which the options offer, it has a view `slow` that takes a minute to read.
    """

    kind: str
    options: Mapping[str, Any]
    password: str
    rotate: Callable[[str], object]
    server: Server


def _options(host: str, port: int, database: str, user: str) -> dict[str, Any]:
    access = {"tables": {"orders": "*"}}
    return {
        "host": host, "port": port, "database": database, "user": user, "tls": "require",
        "access": access,
    }  # fmt: skip


def on_mariadb(server: MariaDB) -> Database:
    """A database there, with a login that may read it."""
    name = server.create_database()
    server.sql(f"{_TABLES};{_SLOW['mysql']}", name)
    user, password = server.create_login(name)

    def rotate(to: str) -> None:
        server.sql(f"SET PASSWORD FOR '{user}'@'%' = PASSWORD('{to}')")

    options = _options("127.0.0.1", server.port, name, user)
    return Database("mysql", options, password, rotate, server)


def on_postgres(server: PostgresServer) -> Database:
    """Likewise."""
    name = server.create_database()
    server.sql(f"{_TABLES};{_SLOW['postgres']}", name)
    user, password = server.create_login(name)

    def rotate(to: str) -> None:
        server.sql(f"ALTER ROLE {user} PASSWORD '{to}'")

    options = _options(server.address, PORT, name, user)
    return Database("postgres", options, password, rotate, server)
