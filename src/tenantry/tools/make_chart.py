"""`make_chart`: a chart of a query's rows, as data for the member's own renderer."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from tenantry.connectors.base import QueryLimits, QueryResult
from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.isolation.context import TenantContext
from tenantry.tools.base import Attachment, Citation, ToolResult, at
from tenantry.tools.data import ConnectorName
from tenantry.tools.references import References
from tenantry.tools.vega import ChartKind, Series, chart

_LIMITS = QueryLimits(max_rows=1_000, max_bytes=60_000)
_NAMES_SHOWN = 30
Column = Annotated[str, Field(min_length=1, max_length=200)]


class MakeChart:
    """Draws; the tenant is inside."""

    name = "make_chart"

    def __init__(
        self, ctx: TenantContext, catalog: ConnectorCatalog, references: References
    ) -> None:
        self._ctx = ctx
        self._catalog = catalog
        self._references = references

    async def run(  # noqa: PLR0913  # each is an argument of the model's
        self,
        connector: ConnectorName,
        sql: Annotated[str, Field(min_length=1, max_length=20_000, description="One SELECT")],
        kind: Annotated[ChartKind, Field(description="How it is drawn")],
        x: Annotated[Column, Field(description="Column across, or of a pie's slices")],
        y: Annotated[Column, Field(description="Column of numbers")],
        title: Annotated[str, Field(min_length=1, max_length=200, description="What it shows")],
        split: Annotated[str, Field(max_length=200, description="Column of one colour each")] = "",
    ) -> ToolResult:
        """Show the member a chart of the rows of one read-only SQL statement."""
        config = await self._catalog.find(self._ctx, connector)
        with at(config.connector):
            found = await self._catalog.source(self._ctx, config).query(sql, _LIMITS)
        spec = _spec(found, kind, title, (x, y, split))
        rows = len(found.rows)
        ref = self._references.of("query", (connector, found.sql))
        drawn = Attachment(
            self._references.of("chart", (ref, kind, title, x, y, split)),
            "chart",
            title,
            connector,
            found.sql,
            rows,
            spec,
        )
        content: Json = {
            "ref": ref,
            "chart": drawn.ref,
            "rows": rows,
            "truncated": found.truncated,
            "note": "The member sees the chart beside your answer.",
        }
        citation = Citation(ref, "query", connector, found.sql, 0, rows)
        origin = f"connector:{connector}"
        return ToolResult(
            content, origin, (citation,), rows, connector=config.connector, attachments=(drawn,)
        )


def _spec(
    found: QueryResult, kind: ChartKind, title: str, names: tuple[str, str, str]
) -> Mapping[str, Json]:
    if not found.rows:
        raise InvalidRequest("The statement gave no rows to draw.")
    x, y, split = (_series(found, name) if name else None for name in names)
    if x is None or y is None or y.field_type != "quantitative":
        raise InvalidRequest(f"The column {names[1][:60]} holds no numbers; draw another as y.")
    return chart(kind, title, x, y, split)


def _series(found: QueryResult, name: str) -> Series:
    if name not in found.columns:
        known = ", ".join(found.columns[:_NAMES_SHOWN])
        raise InvalidRequest(f"The statement gives no column {name[:60]}. Its columns: {known}.")
    place = found.columns.index(name)
    kind = found.types[place] if found.types else ""
    return Series(name, [row[place] for row in found.rows], kind)
