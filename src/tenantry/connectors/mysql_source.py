"""The tables of one MySQL or MariaDB connector, for one tenant (CON-2, CON-3).

Threat: a model's statement reaches what the connector does not offer, or uses up the tenant's
server or our memory.
Invariant: what runs was let through by the guard over the connector's own tables and columns, was
planned first, runs read-only, and is stopped at its row, byte and time ceiling.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass

import orjson

from tenantry.connectors.base import (
    ConnectorConfig,
    ConnectorServices,
    QueryLimits,
    QueryResult,
    Table,
)
from tenantry.connectors.guarding import admit
from tenantry.connectors.mysql_driver import MySQLConnection
from tenantry.connectors.mysql_options import MySQLOptions
from tenantry.connectors.mysql_plan import MOST_ROWS, rows_looked_at
from tenantry.connectors.mysql_values import ResultColumn
from tenantry.connectors.sql_guard import Approved, Scope
from tenantry.connectors.sql_relations import Relation
from tenantry.core.errors import QueryRefused, QueryTimeout
from tenantry.core.events import Json
from tenantry.isolation.context import TenantContext

Lease = Callable[[], AbstractAsyncContextManager[MySQLConnection]]


@dataclass(frozen=True, slots=True)
class Reach:
    """How one connector's database is reached.

    Attributes:
        lease: lends a connection to it.
        tables: its tables within the access pattern, remembered unless asked to look again.
    """

    lease: Lease
    tables: Callable[[bool], Awaitable[Sequence[Table]]]


class MySQLSource:
    """Tables of one connector; it can reach nothing else."""

    def __init__(
        self, ctx: TenantContext, config: ConnectorConfig, services: ConnectorServices, reach: Reach
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._services = services
        self._reach = reach
        self._database = MySQLOptions.read(config.options).database

    async def describe(self, *, refresh: bool = False) -> Sequence[Table]:
        """Tables within the access pattern; remembered for minutes.

        Raises:
            QueryFailed: the database does not answer, and why.
        """
        return await self._reach.tables(refresh)

    async def query(self, sql: str, limits: QueryLimits) -> QueryResult:
        """Run one read-only statement over the connector's tables.

        Raises:
            QueryRefused: it reaches outside them (recorded), or would look at too many rows.
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
        columns: dict[Relation, list[str]] = {
            (self._database, table.name): [column.name for column in table.columns]
            for table in await self._reach.tables(False)
        }
        scope = Scope("mysql", columns.keys(), limits.max_rows + 1, columns)
        return await admit(self._ctx, self._services.audit, self._config, sql, scope)

    async def _run(
        self, connection: MySQLConnection, approved: Approved, limits: QueryLimits
    ) -> QueryResult:
        clock = self._services.clock
        started = clock.monotonic()
        await connection.begin()
        looked_at = rows_looked_at(await connection.plan(approved.sql))
        if looked_at > MOST_ROWS:
            raise QueryRefused(
                f"The query would look at about {looked_at:.0e} rows; at most {MOST_ROWS:.0e} may "
                "be. Join on indexed columns, or narrow it down with WHERE."
            )
        collected = Collected(limits, await connection.execute(approved.sql))
        async with aclosing(connection.rows()) as rows:
            async for row in rows:
                if not collected.take(row):
                    break
        return collected.result(approved.sql, round((clock.monotonic() - started) * 1000))


class Collected:
    """Rows as they arrive, counted: never more, and never larger, than the limits allow."""

    def __init__(self, limits: QueryLimits, columns: Sequence[ResultColumn]) -> None:
        self._limits = limits
        self._columns = columns
        self._rows: list[tuple[Json, ...]] = []
        self._size_bytes = len("[]")
        self._is_cut = False

    def take(self, row: Sequence[bytes | None]) -> bool:
        """Add a row; False when it does not fit any more."""
        converted = tuple(c.value(v) for c, v in zip(self._columns, row, strict=True))
        comma = 1 if self._rows else 0
        size_bytes = self._size_bytes + len(orjson.dumps(converted)) + comma
        if len(self._rows) == self._limits.max_rows or size_bytes > self._limits.max_bytes:
            self._is_cut = True
            return False
        self._rows.append(converted)
        self._size_bytes = size_bytes
        return True

    def result(self, sql: str, duration_ms: int) -> QueryResult:
        """The rows taken."""
        return QueryResult(
            columns=tuple(column.name for column in self._columns),
            rows=tuple(self._rows),
            sql=sql,
            truncated=self._is_cut,
            duration_ms=duration_ms,
            size_bytes=self._size_bytes,
            types=tuple(column.logical for column in self._columns),
        )
