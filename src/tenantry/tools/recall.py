"""`recall_verified_query`: the tenant's own verified question nearest to the one asked."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from tenantry.connectors.catalog import ConnectorCatalog
from tenantry.core.errors import NotFound
from tenantry.core.events import Json
from tenantry.isolation.context import TenantContext
from tenantry.memory.patterns import Patterns
from tenantry.tools.base import ToolResult
from tenantry.tools.references import References


class RecallVerifiedQuery:
    """Recalls; the tenant is inside."""

    name = "recall_verified_query"

    def __init__(
        self,
        ctx: TenantContext,
        patterns: Patterns,
        catalog: ConnectorCatalog,
        references: References,
    ) -> None:
        self._ctx = ctx
        self._patterns = patterns
        self._catalog = catalog
        self._references = references

    async def run(
        self,
        question: Annotated[str, Field(min_length=1, max_length=2000, description="The question")],
    ) -> ToolResult:
        """Recall the verified query nearest to a question: its wording, SQL and similarity."""
        found = await self._patterns.match(self._ctx, question)
        connector = await self._connector(found.pattern.connector_id) if found else None
        if found is None or connector is None:
            return ToolResult({"match": None}, "patterns")
        pattern = found.pattern
        match: Json = {
            "ref": self._references.of("verified", (pattern.pattern_id, pattern.version)),
            "question": pattern.question,
            "similarity": round(found.similarity, 4),
            "connector": connector,
            "sql": pattern.sql,
        }
        return ToolResult({"match": match}, f"pattern:{pattern.version}", (), 1)

    async def _connector(self, connector: UUID) -> str | None:
        try:
            return (await self._catalog.get(self._ctx, connector)).name
        except NotFound:
            return None  # removed since the match was read, with its patterns
