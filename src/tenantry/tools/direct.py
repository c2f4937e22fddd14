"""Queries and calls that a person or a program makes itself, without an assistant (USE-2).

The same connectors, guards and ceilings as a model's, metered under the same names.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import orjson

from tenantry.connectors.base import QueryLimits, QueryResult
from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.connectors.result_files import ResultFile, ResultFiles
from tenantry.core.clock import Clock
from tenantry.core.events import Json
from tenantry.isolation.context import TenantContext
from tenantry.isolation.transaction import Database
from tenantry.metering.ledger import TOOL_PROVIDER, Ledger
from tenantry.metering.usage import ToolUsage


@dataclass(frozen=True, slots=True)
class DirectResult:
    """A query's rows, and the file they were kept in if one was asked for."""

    result: QueryResult
    file: ResultFile | None


@dataclass(slots=True)
class _Took:
    rows: int = 0
    size_bytes: int = 0


class DirectAccess:
    """Reaches the connectors of one tenant at a time."""

    def __init__(
        self,
        db: Database,
        catalog: ConnectorCatalog,
        results: ResultFiles,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._results = results
        self._ledger = ledger
        self._clock = clock

    async def query(
        self, ctx: TenantContext, connector: UUID, sql: str, limits: QueryLimits, *, to_file: bool
    ) -> DirectResult:
        """Run one read-only statement over a connector's tables; keep its rows if asked to.

        Raises:
            NotFound: no such connector in this tenant.
            InvalidRequest: it has no tables.
            QueryRefused, QueryFailed, QueryTimeout: as for `Source.query`.
            TooLarge: the tenant's kept results have reached their ceiling.
        """
        config = await self._catalog.get(ctx, connector)
        source = self._catalog.source(ctx, config)
        async with self._metered(ctx, "query_data", connector) as took:
            result = await source.query(sql, limits)
            took.rows, took.size_bytes = len(result.rows), result.size_bytes
        kept = await self._results.keep(ctx, config.name, result) if to_file else None
        return DirectResult(result, kept)

    async def call(
        self,
        ctx: TenantContext,
        connector: UUID,
        operation: str,
        arguments: Mapping[str, Json],
        limits: QueryLimits,
    ) -> Json:
        """Make one call that a connector offers; the answer is the source's own.

        Raises:
            NotFound: no such connector in this tenant.
            InvalidRequest: it has no calls.
            QueryRefused, QueryFailed, QueryTimeout: as for `OperationSource.call`.
        """
        config = await self._catalog.get(ctx, connector)
        source = self._catalog.operation_source(ctx, config)
        async with self._metered(ctx, "call_api", connector) as took:
            answer = await source.call(operation, arguments, limits)
            took.rows, took.size_bytes = 1, len(orjson.dumps(answer))
        return answer

    async def approve(self, ctx: TenantContext, approval: UUID, limits: QueryLimits) -> Json:
        """Approve a call of the member's own conversation, and make it; the source's answer.

        Raises:
            NotFound: no such approval, or another member's.
            Conflict: it was decided before, has expired, or is not what was asked any more.
            QueryRefused, QueryFailed, QueryTimeout: as for `OperationSource.call`.
        """
        approvals = self._catalog.approvals
        found = await approvals.get(ctx, approval)
        asked = found.asked
        config = await self._catalog.get(ctx, asked.connector)
        source = self._catalog.operation_source(ctx, config)
        if await source.to_approve(asked.operation, asked.arguments) != asked.sha256:
            await approvals.refuse_changed(ctx, found)
        await approvals.decide(ctx, approval, "approved")  # once, whoever else tries just now
        return await self.call(ctx, asked.connector, asked.operation, asked.arguments, limits)

    @asynccontextmanager
    async def _metered(
        self, ctx: TenantContext, tool: str, connector: UUID
    ) -> AsyncIterator[_Took]:
        took, started = _Took(), self._clock.monotonic()
        try:
            yield took
        finally:
            duration_ms = int((self._clock.monotonic() - started) * 1000)
            usage = ToolUsage(tool, duration_ms, took.rows, took.size_bytes, connector)
            async with self._db.tenant(ctx) as tx:
                await self._ledger.record_tool(tx, TOOL_PROVIDER, usage)
