"""Fixtures of the attacks: a migrated database for a whole module, and doors of every role."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from tenantry.isolation.statements import Statements
from tests.worlds import Cluster


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[str]:
    """A freshly migrated database that the tests of one module share."""
    name = cluster.create_database()
    yield name
    cluster.drop_database(name)


@asynccontextmanager
async def rolled_back(
    cluster: Cluster, database: str
) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
    """An administrator's transaction that never commits."""
    connection = await psycopg.AsyncConnection.connect(
        cluster.admin_url(database), autocommit=True, row_factory=dict_row
    )
    async with connection:
        await connection.execute("BEGIN")
        yield connection
        await connection.execute("ROLLBACK")


@asynccontextmanager
async def statements_as(cluster: Cluster, database: str, role: str) -> AsyncIterator[Statements]:
    """Statements of one of the roles that sign in, each committing by itself."""
    url = make_conninfo(
        cluster.url(database),
        user=f"tenantry_{role}",
        password=getattr(cluster.secrets, f"{role}_password"),
    )
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row)
    async with connection:
        yield Statements(connection)
