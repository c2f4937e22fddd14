"""`list_data`, `describe_data`, `query_data`: the tenant's own connectors, read only."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import Field

from tenantry.connectors.base import ConnectorConfig, QueryLimits, Table
from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.core.errors import NotFound
from tenantry.core.events import Json
from tenantry.isolation.context import TenantContext
from tenantry.tools.base import Citation, ToolResult
from tenantry.tools.references import References

_MOST_CONNECTORS = 50
_FIRST = UUID(int=0)
_LIMITS = QueryLimits(max_rows=200, max_bytes=40_000)
ConnectorName = Annotated[str, Field(max_length=63, description="Name given by list_data")]


class ListData:
    """Lists connectors and tables; the tenant is inside."""

    name = "list_data"

    def __init__(self, ctx: TenantContext, catalog: ConnectorCatalog) -> None:
        self._ctx = ctx
        self._catalog = catalog

    async def run(self) -> ToolResult:
        """List the organisation's data: connectors, and the tables in each."""
        found = await connectors_of(self._ctx, self._catalog)
        shown: list[Json] = []
        for config in found:
            tables = await self._catalog.source(self._ctx, config).describe()
            listed: list[Json] = [
                {"name": t.name, "rows": t.rows, "description": t.description} for t in tables
            ]
            shown.append({"name": config.name, "kind": config.kind, "tables": listed})
        return ToolResult({"connectors": shown}, "connectors", (), len(found))


class DescribeData:
    """Describes one table; the tenant is inside."""

    name = "describe_data"

    def __init__(self, ctx: TenantContext, catalog: ConnectorCatalog) -> None:
        self._ctx = ctx
        self._catalog = catalog

    async def run(
        self,
        connector: ConnectorName,
        table: Annotated[str, Field(max_length=63, description="A table of it")],
    ) -> ToolResult:
        """Describe one table: its columns with their types."""
        source = await self._catalog.open(self._ctx, connector)
        found = _named(await source.describe(), table)
        columns: list[Json] = [
            {"name": c.name, "type": c.type, "description": c.description} for c in found.columns
        ]
        content: Json = {
            "connector": connector,
            "table": found.name,
            "rows": found.rows,
            "columns": columns,
        }
        return ToolResult(content, f"connector:{connector}", (), len(columns))


class QueryData:
    """Runs one read-only statement; the tenant is inside."""

    name = "query_data"

    def __init__(
        self, ctx: TenantContext, catalog: ConnectorCatalog, references: References
    ) -> None:
        self._ctx = ctx
        self._catalog = catalog
        self._references = references

    async def run(
        self,
        connector: ConnectorName,
        sql: Annotated[str, Field(min_length=1, max_length=20_000, description="One SELECT")],
    ) -> ToolResult:
        """Run one read-only SQL statement over the tables of a connector."""
        source = await self._catalog.open(self._ctx, connector)
        found = await source.query(sql, _LIMITS)
        ref = self._references.of("query", (connector, found.sql))
        content: Json = {
            "ref": ref,
            "columns": list(found.columns),
            "rows": [list(row) for row in found.rows],
            "row_count": len(found.rows),
            "truncated": found.truncated,
            "sql": found.sql,
        }
        rows = len(found.rows)
        citation = Citation(ref, "query", connector, found.sql, 0, rows)
        return ToolResult(content, f"connector:{connector}", (citation,), rows)


async def connectors_of(ctx: TenantContext, catalog: ConnectorCatalog) -> list[ConnectorConfig]:
    """The tenant's connectors, oldest first, 50 at most."""
    return await catalog.list_connectors(ctx, _FIRST, _MOST_CONNECTORS)


def _named(tables: Sequence[Table], name: str) -> Table:
    for table in tables:
        if table.name == name:
            return table
    raise NotFound(f"There is no table of this name. Known: {', '.join(t.name for t in tables)}.")
