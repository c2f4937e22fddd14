"""`list_data`, `describe_data`, `query_data`: the tenant's own connectors, read only."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import orjson
from pydantic import Field

from tenantry.connectors.base import (
    ConnectorConfig,
    Operation,
    QueryLimits,
    QueryResult,
    Source,
    Table,
)
from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.connectors.result_files import ResultFiles
from tenantry.core.errors import NotFound, StoreUnavailable, TenantryError
from tenantry.core.events import Json
from tenantry.isolation.context import TenantContext
from tenantry.tools.base import Attachment, Citation, ToolResult, at
from tenantry.tools.references import References

_MOST_CONNECTORS = 50
_LOOKED_AT_ONCE = 8
_FIRST = UUID(int=0)
_LIMITS = QueryLimits(max_rows=200, max_bytes=40_000)
_FILE_LIMITS = QueryLimits(max_rows=100_000, max_bytes=20_000_000, timeout_s=25.0)
_ROWS_BESIDE_FILE = 20
_LISTED_BYTES = 40_000
# Tables of a connector and characters of a description, ever fewer until a model can read the list.
_DETAIL = ((200, 200), (200, 0), (40, 0), (10, 0))
_FEW_COLUMNS, _DESCRIBED = 100, 300  # columns that are described, and in how many characters
_NAMES_SHOWN = 50
ConnectorName = Annotated[str, Field(max_length=63, description="Name given by list_data")]


@dataclass(frozen=True, slots=True)
class _Listed:
    """A connector with its tables or operations, or with why it has none."""

    config: ConnectorConfig
    tables: Sequence[Table] = ()
    operations: Sequence[Operation] = ()
    note: str = ""

    def shown(self, most: int, most_chars: int) -> dict[str, Json]:
        entries = self._entries(most_chars)
        what, knows = (
            ("operations", "describe_api") if self.operations else ("tables", "describe_data")
        )
        shown: dict[str, Json] = {"name": self.config.name, "kind": self.config.kind}
        shown[what] = entries[:most]
        left = len(entries) - most
        note = self.note or (f"{left} more {what}; {knows} knows them." if left > 0 else "")
        return {**shown, "note": note} if note else shown

    def _entries(self, most_chars: int) -> list[Json]:
        if self.operations:
            return [
                {
                    "name": o.name,
                    "effect": "suspended" if o.suspended else o.effect,
                    "description": o.description[:most_chars],
                }
                for o in self.operations
            ]
        return [
            {"name": t.name, "rows": t.rows, "description": t.description[:most_chars]}
            for t in self.tables
        ]


class ListData:
    """Lists connectors and tables; the tenant is inside."""

    name = "list_data"

    def __init__(self, ctx: TenantContext, catalog: ConnectorCatalog) -> None:
        self._ctx = ctx
        self._catalog = catalog

    async def run(self) -> ToolResult:
        """List the organisation's data: connectors, and the tables or operations of each."""
        configs = await self._catalog.list_connectors(self._ctx, _FIRST, _MOST_CONNECTORS)
        gate = asyncio.Semaphore(_LOOKED_AT_ONCE)
        # Side by side: one source that is slow to answer delays only itself.
        listed = await asyncio.gather(*(self._look(config, gate) for config in configs))
        for most_tables, most_chars in _DETAIL:
            shown = {"connectors": [each.shown(most_tables, most_chars) for each in listed]}
            if len(orjson.dumps(shown)) <= _LISTED_BYTES:
                break
        return ToolResult(shown, "connectors", (), len(configs))

    async def _look(self, config: ConnectorConfig, gate: asyncio.Semaphore) -> "_Listed":
        try:
            async with gate:
                return await self._offered(config)
        except StoreUnavailable:
            raise
        except TenantryError as error:
            # One source that is down, or may not be reached, must not hide the others.
            return _Listed(config, note=error.message)

    async def _offered(self, config: ConnectorConfig) -> "_Listed":
        source = self._catalog.opened(self._ctx, config)
        if isinstance(source, Source):
            return _Listed(config, await source.describe())
        return _Listed(config, operations=await source.operations())


class DescribeData:
    """Describes one table; the tenant is inside."""

    name = "describe_data"

    def __init__(self, ctx: TenantContext, catalog: ConnectorCatalog) -> None:
        self._ctx = ctx
        self._catalog = catalog

    async def run(
        self,
        connector: ConnectorName,
        table: Annotated[str, Field(max_length=200, description="A table of it")],
    ) -> ToolResult:
        """Describe one table: its columns with their types."""
        config = await self._catalog.find(self._ctx, connector)
        with at(config.connector):
            source = self._catalog.source(self._ctx, config)
            found = _named(await source.describe(), table)
        most = _DESCRIBED if len(found.columns) <= _FEW_COLUMNS else 0
        columns: list[Json] = [
            {"name": c.name, "type": c.type, "description": c.description[:most]}
            for c in found.columns
        ]
        content: Json = {
            "connector": connector,
            "table": found.name,
            "rows": found.rows,
            "columns": columns,
        }
        rows = len(columns)
        origin = f"connector:{connector}"
        return ToolResult(content, origin, (), rows, connector=config.connector)


class QueryData:
    """Runs one read-only statement; the tenant is inside."""

    name = "query_data"

    def __init__(
        self,
        ctx: TenantContext,
        catalog: ConnectorCatalog,
        results: ResultFiles,
        references: References,
    ) -> None:
        self._ctx = ctx
        self._catalog = catalog
        self._results = results
        self._references = references

    async def run(
        self,
        connector: ConnectorName,
        sql: Annotated[str, Field(min_length=1, max_length=20_000, description="One SELECT")],
        download: Annotated[
            bool, Field(description="Keep all rows for download; you see the first")
        ] = False,
    ) -> ToolResult:
        """Run one read-only SQL statement over the tables of a connector."""
        config = await self._catalog.find(self._ctx, connector)
        limits = _FILE_LIMITS if download else _LIMITS
        with at(config.connector):
            found = await self._catalog.source(self._ctx, config).query(sql, limits)
        ref = self._references.of("query", (connector, found.sql))
        shown = _fitting(found.rows) if download else found.rows
        content: dict[str, Json] = {
            "ref": ref,
            "columns": list(found.columns),
            "rows": [list(row) for row in shown],
            "row_count": len(found.rows),
            "truncated": found.truncated,
            "sql": found.sql,
        }
        attachments: tuple[Attachment, ...] = ()
        if download:
            attachments = (await self._kept(connector, found),)
            content |= {"rows_shown": len(shown), "file": attachments[0].ref}
        rows = len(found.rows)
        citation = Citation(ref, "query", connector, found.sql, 0, rows)
        origin = f"connector:{connector}"
        return ToolResult(
            content,
            origin,
            (citation,),
            rows,
            connector=config.connector,
            attachments=attachments,
        )

    async def _kept(self, connector: str, found: QueryResult) -> Attachment:
        kept = await self._results.keep(self._ctx, connector, found)
        return Attachment(
            self._references.of("file", kept.result_id),
            "file",
            f"{connector}.csv",
            connector,
            kept.sql,
            kept.row_count,
            result_id=str(kept.result_id),
        )


def _fitting(rows: Sequence[Sequence[Json]]) -> Sequence[Sequence[Json]]:
    """The first rows that fit into a prompt beside a file."""
    size, shown = 0, rows[:_ROWS_BESIDE_FILE]
    for count, row in enumerate(shown):
        size += len(orjson.dumps(row))
        if size > _LIMITS.max_bytes:
            return shown[:count]
    return shown


def _named(tables: Sequence[Table], name: str) -> Table:
    for table in tables:
        if table.name == name:
            return table
    known = ", ".join(table.name for table in tables[:_NAMES_SHOWN])
    raise NotFound(f"There is no table of this name. Known: {known or 'none'}.")
