"""The tables of one connector of a tenant's own database (CON-2, CON-3).

Threat: a model's statement reaches what the connector does not offer, or uses up the tenant's
server or our memory.
Invariant: what runs was let through by the guard over the connector's own tables and columns, was
planned first, runs read-only, and is stopped at its row, byte and time ceiling.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Protocol

from tenantry.connectors.base import (
    ConnectorConfig,
    ConnectorServices,
    QueryLimits,
    QueryResult,
    Table,
)
from tenantry.connectors.collected import Collected
from tenantry.connectors.guarding import admit
from tenantry.connectors.sql_guard import Approved, Scope
from tenantry.connectors.sql_relations import Relation
from tenantry.connectors.sql_vocabulary import Dialect
from tenantry.core.errors import QueryTimeout
from tenantry.core.events import Json
from tenantry.isolation.context import TenantContext
from tenantry.pools.base import PhysicalConnection

Tables = Mapping[Relation, Table]
"""Tables by the names that the database has for them: schema and table, spelt as there."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long connecting may take, and one statement at the server."""

    connect_s: float = 10.0
    statement_s: float = 30.0


class ResultColumn(Protocol):
    """A column of a result: its name, its logical type, and what its texts stand for."""

    @property
    def name(self) -> str:
        """As the result calls it."""
        ...

    @property
    def logical(self) -> str:
        """The platform's name for what its values are."""
        ...

    def value(self, text: bytes | None) -> Json:
        """The value that the server sent as `text`."""
        ...


class Reading(PhysicalConnection, Protocol):
    """A pooled connection that can only read; every statement is let through by the guard first."""

    async def begin(self) -> None:
        """Begin a read-only transaction, which ends with `reset`."""
        ...

    async def weigh(self, sql: str) -> None:
        """Have the server plan a statement.

        Raises:
            QueryRefused: it would take too much; the message helps to mend it.
            QueryFailed: the server rejected it.
        """
        ...

    async def execute(self, sql: str) -> Sequence[ResultColumn]:
        """Send a statement; its rows follow from `rows`."""
        ...

    def rows(self) -> AsyncGenerator[tuple[bytes | None, ...], None]:
        """Its rows, as they arrive."""
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """How one connector's database is reached.

    Attributes:
        dialect: of its SQL.
        lease: lends a connection to it.
        tables: its tables within the access pattern, remembered unless asked to look again.
    """

    dialect: Dialect
    lease: Callable[[], AbstractAsyncContextManager[Reading]]
    tables: Callable[[bool], Awaitable[Tables]]


class DatabaseSource:
    """Tables of one connector; it can reach nothing else."""

    def __init__(
        self, ctx: TenantContext, config: ConnectorConfig, services: ConnectorServices, reach: Reach
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._services = services
        self._reach = reach

    async def describe(self, *, refresh: bool = False) -> Sequence[Table]:
        """Tables within the access pattern; remembered for minutes.

        Raises:
            QueryFailed: the database does not answer, and why.
        """
        return tuple((await self._reach.tables(refresh)).values())

    async def query(self, sql: str, limits: QueryLimits) -> QueryResult:
        """Run one read-only statement over the connector's tables.

        Raises:
            QueryRefused: it reaches outside them (recorded), or would take too much.
            QueryFailed: the database rejected it, or does not answer.
            QueryTimeout: it took longer than `limits.timeout_s`, waiting included.
        """
        try:
            async with asyncio.timeout(limits.timeout_s):
                approved = await self._admitted(sql, limits)
                async with self._reach.lease() as connection:
                    return await self._run(connection, approved, limits)
        except TimeoutError as error:
            raise QueryTimeout(
                f"The query took longer than {limits.timeout_s:g} seconds and was stopped."
            ) from error

    async def test(self) -> None:
        """Check that the database answers.

        Raises:
            QueryFailed: it does not, and why.
        """
        async with self._reach.lease() as connection:
            await connection.ping()

    async def _admitted(self, sql: str, limits: QueryLimits) -> Approved:
        columns = {
            relation: [column.name for column in table.columns]
            for relation, table in (await self._reach.tables(False)).items()
        }
        scope = Scope(self._reach.dialect, columns.keys(), limits.max_rows + 1, columns)
        audit, reading = self._services.audit, self._services.reading
        return await admit(self._ctx, audit, reading, self._config, sql, scope)

    async def _run(
        self, connection: Reading, approved: Approved, limits: QueryLimits
    ) -> QueryResult:
        clock = self._services.clock
        started = clock.monotonic()
        await connection.begin()
        await connection.weigh(approved.sql)
        columns = await connection.execute(approved.sql)
        collected = Collected(limits, [c.name for c in columns], [c.logical for c in columns])
        async with aclosing(connection.rows()) as rows:
            async for row in rows:
                if not collected.take([c.value(v) for c, v in zip(columns, row, strict=True)]):
                    break
        return collected.result(approved.sql, round((clock.monotonic() - started) * 1000))
